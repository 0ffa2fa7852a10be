"""Log-mel front end against the definition, in float64."""

import numpy as np
import pytest

from tests.helpers.corpus import speech_like
from urgentmos_jax.encoders.log_mel import log_mel, mel_matrix


@pytest.mark.parametrize(("bins", "nonzero"), [(80, 391), (128, 394)])
def test_mel_matrix(bins: int, nonzero: int):
    found = mel_matrix(bins)
    assert found.shape == (201, bins) and np.count_nonzero(found) == nonzero
    from transformers.audio_utils import mel_filter_bank

    wanted = mel_filter_bank(201, bins, 0.0, 8000.0, 16000, norm="slaney", mel_scale="slaney")
    np.testing.assert_allclose(found, wanted, rtol=1e-5, atol=1e-8)


@pytest.mark.parametrize("samples", [400, 559, 560, 4001])
def test_log_mel(samples: int):
    clip = speech_like(1, samples)
    frames = (samples - 400) // 160 + 1
    window = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(400) / 400)
    wanted = []
    for start in range(0, 160 * frames, 160):
        power = np.abs(np.fft.rfft(clip[start : start + 400].astype(np.float64) * window)) ** 2
        wanted.append((np.log10(np.maximum(power @ mel_matrix(80), 1e-10)) + 4) / 4)
    found = log_mel(clip[None], 80)
    assert found.shape == (1, frames, 80)
    np.testing.assert_allclose(found[0], wanted, atol=2e-5)


def test_silence_is_the_floor():
    assert (np.asarray(log_mel(np.zeros((1, 800), np.float32), 80)) == -1.5).all()
