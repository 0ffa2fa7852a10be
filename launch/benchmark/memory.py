"""Peak memory of scoring and of comparing recordings: it must follow neither their number nor their length."""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import soundfile
from flax import nnx

from configs import compact
from launch.benchmark.clips import generated
from launch.benchmark.measuring import command_figures, tell
from launch.benchmark.settings import Settings
from urgentmos_jax.model.urgentmos import UrgentMOS
from urgentmos_jax.training.config import read_config
from urgentmos_jax.training.start import with_sizes
from urgentmos_jax.weights.model_folder import save_folder

# (Seconds of each recording, fewer recordings, more of them.)
CASES = ((120, 30, 300), (1200, 3, 20))
_RATE_HZ = 24000


def measure(settings: Settings, *, cases: tuple[tuple[int, int, int], ...] = CASES) -> dict[str, Any]:
    """Scores folders of recordings, and compares each with itself, in processes of their own.

    Args:
        settings: Without a model, a tiny one with random weights is taken.
        cases: (seconds, fewer, more): length of the recordings, and how many there are the first and the second time.

    Returns:
        Peak memory of each run, and the ratios of more to fewer recordings.
    """
    model = settings.model or small_model(settings.scratch / "model")
    figures: dict[str, Any] = {}
    for seconds, *counts in cases:
        for command in ("score", "compare"):
            if settings.time_is_over():
                return figures
            for count in counts:
                folder = settings.scratch / f"{count}x{seconds}"
                inputs = [str(folder)] * (1 if command == "score" else 2)
                if not folder.exists():
                    _write_recordings(folder, count, seconds)
                name = f"{command}_{count}_of_{seconds}_s_mb"
                output = ("--output", str(settings.scratch / f"{name}.csv"))
                figures[name] = command_figures(command, *inputs, "--model", str(model), *output)[-1]
                tell(f"{name} {figures[name]:.0f}")
                settings.partial(figures)
            fewer, more = (figures[f"{command}_{count}_of_{seconds}_s_mb"] for count in counts)
            figures[f"{command}_{seconds}_s_{counts[1]}_over_{counts[0]}"] = more / fewer
    return figures


def small_model(folder: Path) -> Path:
    """Writes a tiny model with random weights; returns its folder."""
    run = compact.get_config()
    sizes = dict(hidden_size=8, num_attention_heads=2, intermediate_size=12, num_hidden_layers=1, mel_bins=16)
    run.model.encoders.compact.architecture.update(sizes)
    run.model.width = 8
    run.model.category.update(dict(heads=2, feedforward=12))
    config = with_sizes(read_config(run).model, offline=True)
    save_folder(folder, UrgentMOS(config, rngs=nnx.Rngs(0)), {"kind": "random weights"})
    return folder


def _write_recordings(folder: Path, count: int, seconds: int) -> None:
    """Three recordings at 24 kHz under many names, so that they take little room."""
    folder.mkdir()
    for number, minute in enumerate(_minutes(3)):
        first = folder / f"{number}.wav"
        with soundfile.SoundFile(first, "w", _RATE_HZ, 1, "PCM_16") as file:
            for _ in range(seconds // 60):
                file.write(minute)
            file.write(minute[: seconds % 60 * _RATE_HZ])
        for name in range(number + 3, count, 3):
            os.link(first, folder / f"{name}.wav")


def _minutes(count: int) -> Iterator[Any]:
    # Made for 16 kHz, it sounds higher: nobody listens.
    return generated(count, seconds=60 * _RATE_HZ / 16000)
