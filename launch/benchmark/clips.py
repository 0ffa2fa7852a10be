"""Clips to measure with: recordings, or generated ones that a speech model can be run on."""

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import soundfile

from launch.benchmark.settings import Settings
from urgentmos_jax.audio.loading import SAMPLE_RATE_HZ, load_audio
from urgentmos_jax.manifests.lists import find_recordings

GENERATED = "generated, lengths log-normal around 4.5 s"


def generated(count: int, *, seconds: float | None = None) -> Iterator[np.ndarray]:
    """Harmonics of a gliding pitch under syllables, in noise; seeded, float32 at 16 kHz.

    Args:
        count: Clips.
        seconds: Length of each; None samples lengths as speech corpora have them, log-normal around 4.5 s.
    """
    rng = np.random.default_rng(0)
    for _ in range(count):
        length = seconds or float(np.clip(rng.lognormal(np.log(4.5), 0.45), 1, 20))
        at = np.arange(round(length * SAMPLE_RATE_HZ)) / SAMPLE_RATE_HZ
        pitch = rng.uniform(90, 250) * (1 + 0.1 * np.sin(2 * np.pi * at))
        phase = 2 * np.pi * np.cumsum(pitch) / SAMPLE_RATE_HZ
        tone = sum(np.sin(k * phase) / k for k in range(1, 12)) * (1 + np.sin(2 * np.pi * rng.uniform(2, 6) * at))
        yield (0.1 * tone + rng.uniform(0, 0.1) * rng.standard_normal(len(at))).astype(np.float32)


def speech(settings: Settings) -> tuple[list[np.ndarray], dict[str, Any]]:
    """Returns clips to score, and how fast they were decoded."""
    if not settings.audio:
        return list(generated(settings.clips)), {"audio": GENERATED}
    chosen = chosen_recordings(settings)
    start = time.perf_counter()
    clips = [load_audio(path).waveform for path in chosen]
    return clips, {
        "audio": f"{len(clips)} recordings",
        "decoded_files_a_second": len(clips) / (time.perf_counter() - start),
    }


def recordings(settings: Settings) -> tuple[list[Path], str]:
    """Returns files of the clips, and what they are; generated ones are written."""
    if settings.audio:
        paths = chosen_recordings(settings)
        return paths, f"{len(paths)} recordings"
    paths = [settings.scratch / f"{number}.wav" for number in range(settings.clips)]
    for path, clip in zip(paths, generated(settings.clips), strict=True):
        soundfile.write(path, clip, SAMPLE_RATE_HZ)
    return paths, GENERATED


def chosen_recordings(settings: Settings) -> list[Path]:
    """Returns recordings below --audio, evenly over their names."""
    paths = find_recordings(settings.audio)
    return [paths[i] for i in np.linspace(0, len(paths) - 1, min(settings.clips, len(paths))).astype(int)]
