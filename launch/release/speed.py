"""How fast the model scores, on the machine that evaluates it."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from launch.benchmark.measuring import machine, timed
from urgentmos_jax.audio.loading import SAMPLE_RATE_HZ, load_audio
from urgentmos_jax.scoring.model import Model

__all__ = ["speed", "speed_text"]


def speed(model: Model, paths: Sequence[Path | str]) -> dict[str, Any]:
    """Scores recordings that are decoded, twice, and times the second pass.

    Returns:
        `clips`, `audio_seconds`, `audio_seconds_a_second`; date, device and version of jax.
    """
    waveforms = [load_audio(path).waveform for path in paths]

    def score() -> None:
        for _ in model.iter_scores(waveforms, sample_rate=SAMPLE_RATE_HZ):
            pass

    score()  # Compiles.
    taken, _ = timed(score)
    seconds = sum(map(len, waveforms)) / SAMPLE_RATE_HZ
    return {"clips": len(waveforms), "audio_seconds": seconds, "audio_seconds_a_second": seconds / taken, **machine()}


def speed_text(found: dict[str, Any]) -> str:
    """What `speed` found, in a sentence."""
    return (
        f"Scored at {found['audio_seconds_a_second']:.0f} times real time: {found['clips']} clips of "
        f"{found['audio_seconds']:.0f} s, decoded and compiled before ({found['device']}, {found['date']}, "
        f"jax {found['jax']})."
    )
