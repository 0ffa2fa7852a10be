"""`urgentmos score --ray` on this machine against the plain command with as many cores, once both compute."""

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import soundfile

from launch.benchmark.clips import generated
from launch.benchmark.measuring import tell
from launch.benchmark.settings import Settings
from urgentmos_jax.audio.loading import SAMPLE_RATE_HZ
from urgentmos_jax.distributed.parts import PART_ROWS

ROWS = 4 * PART_ROWS
_FILES = 64
_POLL_SECONDS = 0.02
_RUN = "import sys; from urgentmos_jax.cli import main; sys.exit(main(sys.argv[1:]))"


def measure(settings: Settings, *, rows: int = ROWS, warm_up: int = PART_ROWS) -> dict[str, Any]:
    """Scores a list by each command in turns, after a round that compiles.

    Args:
        settings: Without a model, urgentmos-small is taken; its rounds are those of both commands.
        rows: Of the list, which repeats files of 0.4 to 1.2 s.
        warm_up: Rows after which time counts: the start of the command, of the cluster and of its workers does not.

    Returns:
        Rows a second of each command, and the median over rounds of their ratio.
    """
    lengths = np.random.default_rng(0).uniform(0.4, 1.2, _FILES)
    for number, seconds in enumerate(lengths):
        (clip,) = generated(1, seconds=float(seconds))
        soundfile.write(settings.scratch / f"{number}.wav", clip, SAMPLE_RATE_HZ)
    listed = settings.scratch / "list.txt"
    listed.write_text("".join(f"{number % _FILES}.wav\n" for number in range(rows)), encoding="utf-8")
    rates: dict[str, list[float]] = {"plain": [], "ray": []}
    ratios: list[float] = []
    for number in range(settings.rounds + 1):
        if number and settings.time_is_over():
            break
        for name in rates:
            rate = _rate(settings, listed, name, rows, warm_up)
            tell(f"round {number} of {settings.rounds}: {name} {rate:.1f} rows a second")
            if number:
                rates[name].append(rate)
        if number:
            ratios.append(rates["ray"][-1] / rates["plain"][-1])
            settings.partial({"ratios": ratios})
    return {
        "model": str(settings.model or "urgentmos-small"),
        "rows": rows,
        "cores": os.cpu_count(),
        **{f"{name}_rows_a_second": float(np.median(found)) for name, found in rates.items() if found},
        "ray_over_plain": float(np.median(ratios)) if ratios else float("nan"),
    }


def _rate(settings: Settings, listed: Path, name: str, rows: int, warm_up: int) -> float:
    """Rows a second of a command, from the time that it has `warm_up` rows to its last."""
    folder = Path(tempfile.mkdtemp(dir=settings.scratch))
    output = folder / "rows.jsonl"
    command = [sys.executable, "-c", _RUN, "score", str(listed), "--model", str(settings.model or "urgentmos-small")]
    command += ["--output", str(output), *(["--ray"] if name == "ray" else [])]
    # Ray would give way to all else on the machine, and to this.
    environment = {**os.environ, "RAY_worker_niceness": "0"}
    count = _parts(output) if name == "ray" else _lines(output)
    seen: list[tuple[float, int]] = []
    with (folder / "log").open("w") as log:
        process = subprocess.Popen(command, env=environment, stdout=log, stderr=log)
        while process.poll() is None and (not seen or seen[-1][1] < rows):
            if (found := count()) > (seen[-1][1] if seen else 0):
                seen.append((time.perf_counter(), found))
            time.sleep(_POLL_SECONDS)
    if process.wait() or not seen or seen[-1][1] < rows:
        raise SystemExit((folder / "log").read_text())
    begin = next(one for one in seen if one[1] >= min(warm_up, rows - 1))
    return (rows - begin[1]) / (seen[-1][0] - begin[0])


def _lines(output: Path) -> Callable[[], int]:
    """Rows of a file that grows, and is renamed at the end."""
    part, found, at = Path(f"{output}.part"), 0, 0

    def count() -> int:
        nonlocal found, at
        for path in (part, output):
            if path.exists():
                with path.open("rb") as file:
                    file.seek(at)
                    text = file.read()
                found, at = found + text.count(b"\n"), at + len(text)
                break
        return found

    return count


def _parts(output: Path) -> Callable[[], int]:
    """Rows of a folder of parts that grows, and is renamed at the end."""
    known: dict[str, int] = {}

    def count() -> int:
        for folder in (Path(f"{output}.part"), output):
            for path in folder.glob("part-*.jsonl"):
                if path.name not in known:
                    known[path.name] = path.read_bytes().count(b"\n")
        return sum(known.values())

    return count
