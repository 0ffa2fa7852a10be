"""How near our resampling is to the authors', torchaudio's: sinc of six zero crossings, Hann window, roll-off 0.99."""

import math

import numpy as np
import pytest

from urgentmos_jax.audio.loading import load_audio


def theirs(samples: np.ndarray, rate_hz: int) -> np.ndarray:
    """[T] at 16 kHz, as `torchaudio.functional.resample` computes it with its defaults."""
    divisor = math.gcd(rate_hz, 16000)
    old, new = rate_hz // divisor, 16000 // divisor
    base = 0.99 * min(old, new)
    half = math.ceil(6 * old / base)
    time = (np.arange(0, -new, -1)[:, None] / new + np.arange(-half, half + old)[None] / old) * base
    time = np.clip(time, -6, 6)
    kernel = np.sinc(time) * np.cos(time * np.pi / 12) ** 2 * base / old
    padded = np.pad(samples.astype(np.float64), (half, half + old))
    pieces = np.lib.stride_tricks.sliding_window_view(padded, kernel.shape[1])[::old]
    return (pieces @ kernel.T).reshape(-1)[: math.ceil(new * len(samples) / old)]


@pytest.mark.figures
@pytest.mark.parametrize("rate_hz", [8000, 11025, 24000, 44100, 48000])
def test_near_the_authors_resampler(rate_hz: int):
    """White noise up to 6 kHz: above, the filter of the authors falls off earlier."""
    spectrum = np.fft.rfft(np.random.default_rng(0).standard_normal(2 * rate_hz))
    spectrum[np.fft.rfftfreq(2 * rate_hz, 1 / rate_hz) > min(6000, 0.375 * rate_hz)] = 0
    samples = 0.1 * np.fft.irfft(spectrum)
    ours, wanted = load_audio(samples, rate_hz).waveform, theirs(samples, rate_hz)
    assert len(ours) == len(wanted)
    level = 10 * np.log10((wanted**2).sum() / ((ours - wanted) ** 2).sum())
    print(f"{rate_hz} Hz: difference from the authors' resampler {level:.0f} dB below the samples")
    assert level > 45
