"""A recording and its reference in time: their lengths, and a constant delay between them.

PESQ finds delays itself, and SDR forgives up to 32 ms; the other metrics compare sample by sample.
"""

import numpy as np

from urgentmos_jax.audio.loading import SAMPLE_RATE_HZ

_MAX_EXCESS_SAMPLES = SAMPLE_RATE_HZ // 50
_MAX_DELAY_SAMPLES = SAMPLE_RATE_HZ // 10
_MIN_PEAK = 0.5
_MAX_RIVAL = 0.85
_PEAK_SAMPLES = SAMPLE_RATE_HZ // 2000


class NotAligned(ValueError):
    """A recording and its reference that differ in length."""


def same_length(degraded: np.ndarray, reference: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Cuts the longer of [T] and [T'], 16 kHz, by 20 ms at most: the last frame of a codec or a resampler.

    Raises:
        NotAligned: The lengths are further apart.
    """
    lengths = len(degraded), len(reference)
    if abs(lengths[0] - lengths[1]) > _MAX_EXCESS_SAMPLES:
        text = f"degraded has {lengths[0]} samples, its reference {lengths[1]}; align them first"
        raise NotAligned(f"{text} (up to {_MAX_EXCESS_SAMPLES} samples of difference are cut off)")
    return degraded[: min(lengths)], reference[: min(lengths)]


def delay_of(degraded: np.ndarray, reference: np.ndarray) -> int | None:
    """Finds by how much [T] at 16 kHz is late, up to 100 ms: where its cross-correlation with the reference [T] peaks.

    Returns:
        Samples, negative where it is early. None where no delay is clear, as with vocoders, whose waveforms do not
        follow the reference's: a peak below 0.5 of that of equal waveforms, or another one, more than 0.5 ms away, of
        over 0.85 of the peak.
    """
    from scipy.signal import correlate, correlation_lags

    norm = float(np.linalg.norm(degraded) * np.linalg.norm(reference))
    if not norm:
        return None
    lags = correlation_lags(len(degraded), len(reference))
    near = np.abs(lags) <= _MAX_DELAY_SAMPLES
    correlation, lags = np.abs(correlate(degraded, reference, method="fft"))[near] / norm, lags[near]
    best = int(correlation.argmax())
    rivals = correlation[np.abs(lags - lags[best]) > _PEAK_SAMPLES]
    if correlation[best] < _MIN_PEAK or rivals.max(initial=0) > _MAX_RIVAL * correlation[best]:
        return None
    return int(lags[best])


def without_delay(degraded: np.ndarray, reference: np.ndarray, delay: int) -> tuple[np.ndarray, np.ndarray]:
    """Leaves out of [T] and [T] what has no counterpart where the first is late by so many samples: [T - |delay|]."""
    if delay < 0:
        reference, degraded = without_delay(reference, degraded, -delay)
        return degraded, reference
    return degraded[delay:], reference[: len(reference) - delay]
