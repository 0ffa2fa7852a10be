"""Generated clips that a speech model can be run on: no recording needed."""

from collections.abc import Iterator

import numpy as np

from urgentmos_jax.audio.loading import SAMPLE_RATE_HZ


def generated(count: int, *, seconds: float | None = None) -> Iterator[np.ndarray]:
    """Harmonics of a gliding pitch under syllables, in noise; seeded, float32 at 16 kHz.

    Args:
        count: Clips.
        seconds: Length of each; None draws lengths as speech corpora have them, log-normal around 4.5 s.
    """
    rng = np.random.default_rng(0)
    for _ in range(count):
        length = seconds or float(np.clip(rng.lognormal(np.log(4.5), 0.45), 1, 20))
        at = np.arange(round(length * SAMPLE_RATE_HZ)) / SAMPLE_RATE_HZ
        pitch = rng.uniform(90, 250) * (1 + 0.1 * np.sin(2 * np.pi * at))
        phase = 2 * np.pi * np.cumsum(pitch) / SAMPLE_RATE_HZ
        tone = sum(np.sin(k * phase) / k for k in range(1, 12)) * (1 + np.sin(2 * np.pi * rng.uniform(2, 6) * at))
        yield (0.1 * tone + rng.uniform(0, 0.1) * rng.standard_normal(len(at))).astype(np.float32)
