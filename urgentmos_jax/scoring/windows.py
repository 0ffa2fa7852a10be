"""Where a recording is cut into windows, and what its row says of it."""

from collections.abc import Iterable, Iterator

import numpy as np

from urgentmos_jax.audio.loading import AudioBlocks

VERY_SHORT_SECONDS = 0.5


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
