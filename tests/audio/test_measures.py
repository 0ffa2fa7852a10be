"""Bandwidth and clipping: ten recordings made for each flag, and ten of the like that must not have it."""

import numpy as np
import pytest
import scipy.signal
import soundfile
import soxr

from tests.helpers.corpus import speech_like
from urgentmos_jax.audio.loading import AudioBlocks, load_audio
from urgentmos_jax.audio.measures import Bandwidth

SEEDS = range(10)
RATES_HZ = (16000, 22050, 24000, 44100, 48000)


def measured(samples: np.ndarray, rate_hz: int = 16000) -> AudioBlocks:
    blocks = AudioBlocks(samples, rate_hz, measured=True)
    for _ in blocks:
        pass
    return blocks


def hissing(seed: int, seconds: float = 2.0, rate_hz: int = 16000) -> np.ndarray:
    """Vowels, and every fourth of them a hiss up to half the rate: little of all energy is above 4 kHz. [T]."""
    rng = np.random.default_rng(seed)
    vowels = soxr.resample(speech_like(seed, round(16000 * seconds)), 16000, rate_hz)
    hiss = rng.standard_normal(len(vowels)) * (np.arange(len(vowels)) * 8 // rate_hz % 4 == 0)
    return (vowels + 10 ** rng.uniform(-1.6, -1.2) * hiss).astype(np.float32)


def limited(samples: np.ndarray, from_hz: int, edge_hz: float, to_hz: int) -> np.ndarray:
    """The same up to an edge, in 16 bits at another rate."""
    low = scipy.signal.sosfiltfilt(scipy.signal.butter(12, edge_hz, fs=from_hz, output="sos"), samples)
    found = soxr.resample(low.astype(np.float32), from_hz, to_hz)
    return np.round(found * 32767).astype(np.float32) / 32768


@pytest.mark.parametrize("seed", SEEDS)
def test_narrowband(seed):
    rate_hz = RATES_HZ[seed % len(RATES_HZ)]
    telephone = limited(hissing(seed), 16000, 3300, rate_hz)
    found = measured(telephone, rate_hz)
    assert found.flags == ("narrowband",) and found.bandwidth_hz < 4200
    assert measured(limited(hissing(seed), 16000, 3300, 8000), 8000).flags == ()
    # The rate of a telephone, its samples taken as they are, and the level and the offset of a bad card.
    assert measured(0.01 * telephone + 0.2, rate_hz).flags == ("narrowband",)
    for wide in (hissing(seed), np.repeat(hissing(seed)[:, None], 2, axis=1)):
        assert measured(wide).flags == () and 6000 < measured(wide).bandwidth_hz <= 8000


@pytest.mark.parametrize("seed", SEEDS)
def test_above_8khz_lost(seed):
    rate_hz = (24000, 32000, 44100, 48000)[seed % 4]
    full = hissing(seed, rate_hz=rate_hz)
    assert measured(full, rate_hz).flags == ("above_8khz_lost",)
    assert measured(full, rate_hz).bandwidth_hz > 0.4 * rate_hz
    assert measured(soxr.resample(hissing(seed), 16000, rate_hz), rate_hz).flags == ()


@pytest.mark.parametrize("seed", SEEDS)
def test_clipped(seed):
    clip = hissing(seed)
    level = np.quantile(np.abs(clip), 0.85 + 0.01 * seed)
    cut = np.clip(clip, -level, level)
    assert "clipped" in measured(cut).flags
    bits = np.round(0.2 * cut / level * 32767).astype(np.int16)  # Made soft after it was clipped.
    assert "clipped" in measured(bits).flags
    assert "clipped" in measured(np.stack([bits, np.round(4000 * clip).astype(np.int16)], 1)).flags
    one_side = np.minimum(clip, level)
    assert "clipped" in measured(one_side).flags
    # Peaks that stay at one value since they are soft, slow or both.
    slow = np.sin(2 * np.pi * (40 + 5 * seed) * np.arange(48000) / 48000)
    for peaks in (clip, np.round(100 * slow), np.round(20000 * slow), np.round(30 * clip), np.full(4000, 9)):
        whole = peaks if peaks is clip else peaks.astype(np.int16)
        assert "clipped" not in measured(whole).flags


def test_it_is_measured_at_the_rate_of_the_file_in_flat_memory(tmp_path):
    loud = hissing(1, 30.0, 48000)
    soundfile.write(tmp_path / "a.flac", loud, 48000, subtype="PCM_16")
    blocks = AudioBlocks(tmp_path / "a.flac", measured=True)
    for _ in blocks:
        assert blocks.bandwidth_hz is None and blocks.flags == ()
    assert blocks.flags == ("above_8khz_lost",)
    assert blocks.bandwidth_hz == pytest.approx(measured(loud, 48000).bandwidth_hz, rel=0.02)
    assert load_audio(tmp_path / "a.flac").flags == ()


@pytest.mark.parametrize("samples", [400, 511, 512, 5000])
def test_short_clips_have_a_bandwidth(samples):
    noise = np.random.default_rng(0).standard_normal(samples) / 8
    assert measured(noise).bandwidth_hz > 7000
    assert measured(limited(noise, 16000, 2000, 16000)).bandwidth_hz < 4200


def test_silence_has_none():
    for samples in (np.zeros(16000), np.full(16000, 0.25)):
        found = measured(samples)
        assert found.bandwidth_hz is None and found.flags == ("silent",)


def test_softer_frames_than_speech_do_not_count():
    """Hiss of 60 dB below speech fills the pauses, before and after it is loud."""
    rng = np.random.default_rng(0)
    hiss, vowels = 1e-4 * rng.standard_normal(16000), limited(speech_like(1, 16000), 16000, 3300, 16000)
    for order in ([hiss, vowels], [vowels, hiss]):
        bandwidth = Bandwidth(16000)
        for part in order:
            bandwidth.add((0.3 * part).astype(np.float32))
        assert bandwidth.edge_hz < 4200
