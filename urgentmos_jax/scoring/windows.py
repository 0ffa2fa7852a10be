"""Where a recording is cut into windows, and what its row says of it."""

import numpy as np

from urgentmos_jax.audio.loading import Clip


def cut_windows(waveform: np.ndarray, *, longest: int, shortest: int) -> list[np.ndarray]:
    """Parts of a waveform [T] of at most `longest` samples; a last one under `shortest` is left out."""
    parts = [waveform[start : start + longest] for start in range(0, len(waveform), longest)]
    return parts if len(parts) == 1 or len(parts[-1]) >= shortest else parts[:-1]


def recording_flags(clip: Clip, *, longest: int, shortest: int) -> list[str]:
    """Flags of a row: those of the clip; `windowed` if it is cut, `tail_left_out` if a last part is too short."""
    flags, samples = list(clip.flags), len(clip.waveform)
    if samples > longest:
        flags.append("windowed")
        if 0 < samples % longest < shortest:
            flags.append("tail_left_out")
    return flags
