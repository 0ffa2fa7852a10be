"""Where a recording is cut into windows, and what its row says of it."""

from collections.abc import Iterable, Iterator

import numpy as np

from urgentmos_jax.audio.loading import SAMPLE_RATE_HZ, AudioBlocks
from urgentmos_jax.model.urgentmos import ModelConfig

VERY_SHORT_SECONDS = 0.5
WINDOW_SECONDS = 60.0
MIN_SAMPLES = 400


def cut_windows(blocks: Iterable[np.ndarray], *, longest: int, shortest: int) -> Iterator[np.ndarray]:
    """Parts of a waveform of at most `longest` samples, as its blocks [n] come; a last one under `shortest` is left
    out."""
    held: list[np.ndarray] = []
    samples, cut = 0, False
    for block in blocks:
        held.append(block)
        samples += len(block)
        if samples >= longest:
            joined, cut = np.concatenate(held), True
            samples %= longest
            rest = len(joined) - samples
            yield from (joined[start : start + longest] for start in range(0, rest, longest))
            held = [joined[rest:].copy()]
    if samples >= shortest or not cut:
        yield np.concatenate(held)


def recording_flags(clip: AudioBlocks, *, longest: int, shortest: int) -> list[str]:
    """Flags of a row: those of the clip, read to its end; `very_short` under 0.5 s; `windowed` if it is cut,
    `tail_left_out` if a last part is too short."""
    flags = list(clip.flags)
    if clip.duration_s < VERY_SHORT_SECONDS:
        flags.append("very_short")
    if clip.samples > longest:
        flags.append("windowed")
        if 0 < clip.samples % longest < shortest:
            flags.append("tail_left_out")
    return flags


def min_samples(config: ModelConfig) -> int:
    """Samples of the shortest clip that is scored: one frame of each encoder, and at least 400 (25 ms)."""
    return max(
        next(n for n in range(MIN_SAMPLES, SAMPLE_RATE_HZ) if encoder.architecture.frame_lengths(n) > 0)
        for encoder in config.encoders
    )


def max_samples(config: ModelConfig) -> int | None:
    """Samples of the longest clip that every encoder takes, None without a limit."""
    return min((m for e in config.encoders if (m := e.architecture.max_samples) is not None), default=None)


def window_samples(config: ModelConfig, window_seconds: float | None) -> int:
    """Samples of the longest window; None: 60 s, or less where an encoder takes less.

    Raises:
        ValueError: An encoder takes less than was asked for.
    """
    samples, longest = round((window_seconds or WINDOW_SECONDS) * SAMPLE_RATE_HZ), max_samples(config)
    if longest is None or samples <= longest:
        return samples
    if window_seconds is not None:
        raise ValueError(f"window_seconds is {window_seconds:g}, an encoder takes {longest / SAMPLE_RATE_HZ:g}")
    return longest
