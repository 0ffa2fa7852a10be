"""Active speech level: the level of speech without its pauses, and what is set by it."""

import numpy as np
from scipy.signal import lfilter

from urgentmos_jax.audio.loading import SAMPLE_RATE_HZ

_TIME_CONSTANT_S = 0.03
_HANGOVER_S = 0.2
_MARGIN_DB = 15.9
_NOMINAL_DB = -26
_MAX_PEAK = 0.99


def active_speech_level(waveform: np.ndarray) -> float:
    """Measures the active speech level of [T] at 16 kHz by ITU-T P.56, method B, in dB relative to an RMS of 1.

    Thresholds lie 6 dB apart as in the recommendation, but follow the level of the waveform, so that a gain of
    x dB raises the result by exactly x dB.

    Raises:
        ValueError: The waveform is all zeros or empty.
    """
    samples = np.asarray(waveform, np.float64)
    energy = float(np.sum(samples**2))
    if not energy:
        raise ValueError("a waveform of zeros has no speech level")
    decay = np.exp(-1 / (_TIME_CONSTANT_S * SAMPLE_RATE_HZ))
    envelope = np.abs(samples)
    for _ in range(2):
        envelope = lfilter([1 - decay], [1, -decay], envelope)
    time = np.arange(len(samples))
    levels, excesses = [], []
    for threshold in np.sqrt(energy / len(samples)) * 2.0 ** np.arange(-10, 4):
        # Index of the last sample over the threshold; before the first, one too long ago for any hangover.
        last = np.maximum.accumulate(np.where(envelope >= threshold, time, -len(samples) - SAMPLE_RATE_HZ))
        active = np.count_nonzero(time - last <= _HANGOVER_S * SAMPLE_RATE_HZ)
        if not active:
            break
        levels.append(10 * np.log10(energy / active))
        excesses.append(levels[-1] - 20 * np.log10(threshold))
    return float(np.interp(_MARGIN_DB, np.minimum.accumulate(excesses)[::-1], levels[::-1]))


def add_at_snr(waveform: np.ndarray, noise: np.ndarray, snr_db: float) -> np.ndarray:
    """Adds noise [T] to [T], scaled so that its RMS lies `snr_db` below the active speech."""
    rms = 10 ** ((active_speech_level(waveform) - snr_db) / 20)
    return waveform + noise * (rms / np.sqrt(np.mean(noise**2)))


def nominal_gain(waveform: np.ndarray) -> float:
    """Returns the gain that brings [T] to -26 dB, the level at which ITU-T P.830 has codecs tested.

    Lower where the peak would exceed full scale, and 1 for a waveform of zeros.
    """
    peak = float(np.abs(waveform).max(initial=0))
    return min(10 ** ((_NOMINAL_DB - active_speech_level(waveform)) / 20), _MAX_PEAK / peak) if peak else 1.0
