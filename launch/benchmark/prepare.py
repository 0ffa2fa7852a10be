"""Preparing a corpus of the size of PSTN: time, and memory that does not grow with the audio."""

import shutil
import struct
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from launch.benchmark.settings import Settings

_RATE_HZ = 8000
_BYTES_A_SAMPLE = 2
_PREPARE = """
import sys
from launch.benchmark.peak import peak_memory_mb
from urgentmos_jax.cli import main
code = main(["prepare", "pstn", "--source", sys.argv[1], "--output", sys.argv[2]])
print(peak_memory_mb())
sys.exit(code)
"""


def measure(settings: Settings, *, seconds: float = 10.0, times_longer: int = 60) -> dict[str, Any]:
    """Prepares a corpus in a process of its own, and again with recordings many times as long.

    Recordings are WAV headers, and samples that take no room on a disk that knows holes.

    Args:
        settings: PSTN has 58,709 recordings.
        seconds: Of each; those of PSTN are 163 h in all.
        times_longer: The second time.

    Returns:
        Seconds, recordings a second, and peak memory of both.
    """
    scratch, clips = settings.scratch, settings.clips
    source = scratch / "pstn"
    folder = source / "pstn_train"
    folder.mkdir(parents=True)
    rows = [f"{place:06}_call.wav,{1 + place % 5},0.5,0.4,6\n" for place in range(clips)]
    (folder / "pstn_train.csv").write_text("filename,MOS,std,95%CI,votes\n" + "".join(rows))
    figures: dict[str, Any] = {"clips": clips, "hours": clips * seconds / 3600}
    for name, length in (("", seconds), (f"_{times_longer}_times_as_long", seconds * times_longer)):
        for place in range(clips):
            _write_header(folder / f"{place:06}_call.wav", round(length * _RATE_HZ))
        started = time.perf_counter()
        output = scratch / "out"
        command = [sys.executable, "-c", _PREPARE, str(source), str(output)]
        done = subprocess.run(command, check=False, capture_output=True, text=True)
        if done.returncode:
            raise SystemExit(done.stderr)
        taken = time.perf_counter() - started
        figures |= {f"prepare_seconds{name}": taken, f"clips_a_second{name}": clips / taken}
        figures[f"peak_memory_mb{name}"] = float(done.stdout)
        shutil.rmtree(output)
    return figures


def _write_header(path: Path, samples: int) -> None:
    size = samples * _BYTES_A_SAMPLE
    rates = (_RATE_HZ, _RATE_HZ * _BYTES_A_SAMPLE, _BYTES_A_SAMPLE, 8 * _BYTES_A_SAMPLE)
    form = struct.pack("<4sIHHIIHH", b"fmt ", 16, 1, 1, *rates)
    with path.open("wb") as file:
        file.write(b"RIFF" + struct.pack("<I", 36 + size) + b"WAVE" + form + b"data" + struct.pack("<I", size))
        file.truncate(44 + size)
