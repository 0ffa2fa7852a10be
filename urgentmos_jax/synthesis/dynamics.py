"""Levels and amplitudes: jumps, automatic gain, soft clipping and coarse samples; see `degradations`."""

import numpy as np
from scipy.ndimage import gaussian_filter1d

from urgentmos_jax.audio.loading import SAMPLE_RATE_HZ
from urgentmos_jax.synthesis.degradations import Degradation
from urgentmos_jax.synthesis.speech_level import active_speech_level

_JUMP_S = (0.3, 2.0)
_JUMP_RAMP_SAMPLES = 80
_BLOCK_SAMPLES = SAMPLE_RATE_HZ // 200
_ATTACK_S, _RELEASE_S = (0.005, 0.03), (0.1, 0.6)
_INT16 = 2**15


def level_jumps(waveform: np.ndarray, range_db: float, rng: np.random.Generator) -> np.ndarray:
    """Jumps between random levels within a range in dB, every 0.3 to 2 s; at least once.

    The active speech level stays.
    """
    samples = len(waveform)
    starts = [0, int(rng.integers(samples // 4, 3 * samples // 4 + 1))]
    while starts[-1] < samples:
        starts.append(starts[-1] + round(rng.uniform(*_JUMP_S) * SAMPLE_RATE_HZ))
    # From one half of the range to the other, so that each jump is heard.
    halves = (np.arange(len(starts)) + rng.integers(2)) % 2
    levels_db = range_db / 2 * (halves - rng.uniform(0, 1, len(starts)))
    gain_db = levels_db[np.searchsorted(starts, np.arange(samples), side="right") - 1]
    return _at_level_of(waveform * 10 ** (gaussian_filter1d(gain_db, _JUMP_RAMP_SAMPLES) / 20), waveform)


def automatic_gain(waveform: np.ndarray, gain_db: float, rng: np.random.Generator) -> np.ndarray:
    """Lifts what is quiet towards the active speech level, by at most a gain in dB, with audible pumping.

    Attack of 5 to 30 ms and release of 0.1 to 0.6 s, drawn; what is louder than the active level is turned down.
    """
    blocks = -(-len(waveform) // _BLOCK_SAMPLES)
    padded = np.pad(np.asarray(waveform, np.float64), (0, blocks * _BLOCK_SAMPLES - len(waveform)))
    powers = np.mean(padded.reshape(blocks, _BLOCK_SAMPLES) ** 2, axis=1)
    block_s = _BLOCK_SAMPLES / SAMPLE_RATE_HZ
    attack, release = (float(np.exp(-block_s / rng.uniform(*span))) for span in (_ATTACK_S, _RELEASE_S))
    envelope = np.empty(blocks)
    level = float(powers.max(initial=0))
    for block, power in enumerate(powers):
        keep = attack if power > level else release
        level = keep * level + (1 - keep) * float(power)
        envelope[block] = level
    wanted_db = active_speech_level(waveform) - 10 * np.log10(envelope + 1e-20)
    middles = (np.arange(blocks) + 0.5) * _BLOCK_SAMPLES
    gains_db = np.interp(np.arange(len(waveform)), middles, np.clip(wanted_db, -gain_db / 2, gain_db))
    return waveform * 10 ** (gains_db / 20)


def soft_clipping(waveform: np.ndarray, drive_db: float, rng: np.random.Generator) -> np.ndarray:
    """Saturates by tanh, the peak `drive_db` above where it begins, and more on one side, by up to 6 dB.

    The active speech level stays.
    """
    peak = float(np.abs(waveform).max(initial=0)) or 1.0
    driven = waveform / peak * 10 ** (drive_db / 20)
    softened = np.where(driven > 0, np.tanh(driven), np.tanh(driven * (uneven := rng.uniform(1, 2))) / uneven)
    return _at_level_of(softened, waveform)


def coarse_samples(waveform: np.ndarray, bits: float, rng: np.random.Generator) -> np.ndarray:
    """Rounds to 2^bits steps between the peak and its negative, without dither."""
    step = 2 * float(np.abs(waveform).max(initial=0)) / (2**bits - 1) or 1.0
    return np.round(waveform / step) * step


def faint_recording(waveform: np.ndarray, below_db: float, rng: np.random.Generator) -> np.ndarray:
    """Records at an active level of `below_db` below full scale in 16 bits, and amplifies to the level before."""
    gain = 10 ** ((-below_db - active_speech_level(waveform)) / 20)
    return np.round(waveform * gain * _INT16) / (gain * _INT16)


def _at_level_of(degraded: np.ndarray, waveform: np.ndarray) -> np.ndarray:
    """Scales to the active speech level of the waveform that was there before."""
    if not degraded.any():
        return degraded
    return degraded * 10 ** ((active_speech_level(waveform) - active_speech_level(degraded)) / 20)


DYNAMICS = (
    Degradation("level_jumps", "level", level_jumps, (6, 12, 20, 30), "db"),
    Degradation("automatic_gain", "level", automatic_gain, (6, 12, 20, 30), "db"),
    Degradation("faint_recording", "level", faint_recording, (60, 70, 78, 86), "db"),
    Degradation("soft_clipping", "clipping", soft_clipping, (0, 6, 12, 20), "db"),
    Degradation("coarse_samples", "clipping", coarse_samples, (8, 6, 4, 3), "bits"),
)
