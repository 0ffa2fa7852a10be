"""Objective metrics against hand-made cases and the packages that define them."""

import importlib.util
import math
import sys

import numpy as np
import pystoi
import pytest
import scipy.linalg
import soxr

from tests.helpers.corpus import speech_like
from urgentmos_jax.labels import packages
from urgentmos_jax.labels.alignment import NotAligned, delay_of, same_length, without_delay
from urgentmos_jax.labels.intrusive import (
    METRICS,
    SI_SDR_RANGE_DB,
    available,
    estoi,
    lsd,
    mcd,
    measure,
    pesq,
    sdr,
    si_sdr,
    stoi,
    why_without,
)

with_pesq = pytest.mark.skipif(
    importlib.util.find_spec("pesq") is None, reason="the package pesq is not installed; it needs a C compiler"
)


@pytest.fixture(scope="module")
def pair() -> tuple[np.ndarray, np.ndarray]:
    """A noisy clip and its reference."""
    reference = speech_like(1, 24000)
    return reference + 0.1 * speech_like(2, 24000), reference


def test_intelligibility_is_that_of_pystoi(pair):
    degraded, reference = pair
    assert stoi(degraded, reference) == pytest.approx(pystoi.stoi(reference, degraded, 16000), abs=1e-12)
    np.random.seed(0)
    assert estoi(degraded, reference) == pystoi.stoi(reference, degraded, 16000, extended=True)


def test_intelligibility_repeats_and_leaves_the_random_numbers_of_others_alone(pair):
    np.random.seed(7)
    expected = np.random.random(3)
    np.random.seed(7)
    values = {estoi(*pair) for _ in range(2)}
    np.testing.assert_array_equal(np.random.random(3), expected)
    assert len(values) == 1


def test_the_noise_that_pystoi_draws_is_always_the_same(pair, monkeypatch):
    monkeypatch.setattr(pystoi, "stoi", lambda *_, **__: np.random.random())
    assert estoi(*pair) == stoi(*pair) == np.random.RandomState(0).random()


def test_too_little_speech_has_no_intelligibility(pair):
    assert measure(pair[0][:3000], pair[1][:3000], ["estoi", "stoi", "si_sdr"]).keys() == {"si_sdr"}


@pytest.mark.parametrize("samples", [400, 405, 409, 410])
def test_clips_of_about_one_frame_keep_their_other_metrics(pair, samples):
    """pystoi raised AxisError for 400 to 409 samples, and all metrics of the clip were lost."""
    assert "si_sdr" in measure(pair[0][:samples], pair[1][:samples], ["estoi", "stoi", "si_sdr", "lsd"])


def test_silence_has_no_metrics(pair):
    """ESTOI gave -0.008 or 0 for it."""
    silence = np.zeros_like(pair[0])
    for sides in ((silence, pair[1]), (pair[0], silence), (silence, silence)):
        assert measure(*sides, ["estoi", "stoi", "si_sdr", "lsd"]) == {}


def test_what_has_no_value_has_a_reason(pair):
    silence = np.zeros_like(pair[0])
    assert why_without("lsd", silence, pair[1]) == "the clip is silent"
    assert why_without("lsd", pair[0], silence) == "its reference is silent"
    assert why_without("estoi", *pair) == "under about 0.4 s of speech"
    assert why_without("si_sdr", *pair) == "no finite value"


def test_si_sdr_by_hand():
    # Noise of a third of the amplitude and orthogonal to the reference: 10 log10(9).
    reference = np.array([3.0, 3.0, 0.0, 0.0])
    degraded = reference + np.array([0.0, 0.0, 1.0, -1.0])
    assert si_sdr(degraded, reference) == pytest.approx(10 * math.log10(9))
    # What is along the reference is target, not noise: [3, 1] = 2 [1, 1] + [1, -1].
    assert si_sdr(np.array([3.0, 1.0]), np.array([1.0, 1.0])) == pytest.approx(10 * math.log10(4))


@pytest.mark.parametrize("scale", [1e-3, 1, -20])
def test_si_sdr_is_invariant_to_scale(pair, scale):
    degraded, reference = pair
    assert si_sdr(scale * degraded, reference) == pytest.approx(si_sdr(degraded, reference), abs=1e-6)
    assert si_sdr(degraded, scale * reference) == pytest.approx(si_sdr(degraded, reference), abs=1e-6)


def test_si_sdr_is_finite(pair):
    _, reference = pair
    assert si_sdr(reference, reference) == si_sdr(0.3 * reference, reference) == SI_SDR_RANGE_DB[1]
    assert si_sdr(np.array([1.0, -1.0]), np.array([1.0, 1.0])) == SI_SDR_RANGE_DB[0]
    assert si_sdr(np.zeros(5), np.ones(5)) is None and si_sdr(np.ones(5), np.zeros(5)) is None


def test_lsd_by_hand():
    # Two impulses far apart: each in two windows, in each the magnitude is flat, that of the impulse times the window.
    window = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(512) / 512)
    first, second, length = 512 + 56, 512 * 5 + 56, 512 * 8
    reference, degraded = np.zeros(length), np.zeros(length)
    reference[first], reference[second] = 1, 1
    degraded[first], degraded[second] = 1, 0.5
    scale = 1.5 / 1.25
    frames = np.zeros(1 + length // 256)
    for place, ratio in ((first, scale), (second, scale / 2)):
        for frame in (place // 256, place // 256 + 1):
            magnitude = window[place - 256 * frame + 256]
            frames[frame] = abs(math.log(magnitude**2 / (ratio * magnitude + 1e-8) ** 2 + 1e-8))
    silent = abs(math.log(1e-8))  # 0 / (0 + 1e-8)^2 + 1e-8: how the definition treats digital silence.
    frames[frames == 0] = silent
    assert lsd(degraded, reference) == pytest.approx(frames.mean(), rel=1e-6)


def test_lsd_is_zero_for_the_same_and_invariant_to_scale(pair):
    degraded, reference = pair
    assert lsd(reference, reference) == pytest.approx(0, abs=1e-4)
    assert lsd(0.2 * degraded, reference) == pytest.approx(lsd(degraded, reference), rel=1e-4)
    assert lsd(degraded, reference) > 0.1
    assert lsd(np.zeros(1000), reference[:1000]) is None


@with_pesq
def test_pesq_of_clean_and_noisy(pair):
    from pesq import pesq as package

    degraded, reference = pair
    assert pesq(degraded, reference) == package(16000, reference, degraded, "wb")
    assert pesq(reference, reference) == pytest.approx(4.644, abs=0.001)
    assert 1 < pesq(degraded, reference) < 4


@with_pesq
def test_pesq_without_an_utterance_has_no_value(pair):
    degraded, reference = pair
    burst = np.zeros(24000)
    burst[12000:14000] = 0.1 * np.random.default_rng(0).standard_normal(2000)
    assert measure(burst, burst, ["pesq", "si_sdr"]).keys() == {"si_sdr"}
    assert measure(degraded[:2000], reference[:2000], ["pesq"]) == {}
    assert measure(np.zeros(24000), reference, ["pesq", "si_sdr", "lsd"]) == {}


@with_pesq
def test_pesq_of_telephone_band_is_narrow_band(pair):
    from pesq import pesq as package

    at_8_khz = [soxr.resample(side, 16000, 8000) for side in pair]
    at_16_khz = [soxr.resample(side, 8000, 16000) for side in at_8_khz]  # As `load_audio` gives them.
    expected = package(8000, at_8_khz[1], at_8_khz[0], "nb")
    found = measure(*at_16_khz, ["pesq", "estoi"], narrow_band=True)
    assert found["pesq"] == pytest.approx(expected, abs=0.01)
    assert abs(found["pesq"] - measure(*at_16_khz, ["pesq"])["pesq"]) > 0.1
    assert found["estoi"] == measure(*at_16_khz, ["estoi"])["estoi"]


def test_pesqc2_is_that_of_the_package(pair):
    package = pytest.importorskip("pesqc2")
    degraded, reference = pair
    found = measure(degraded, reference, ["pesqc2"])
    assert found == {"pesqc2": pytest.approx(package.pesq(16000, reference, degraded, "wb"), abs=1e-6)}
    assert 1 < found["pesqc2"] < measure(reference, reference, ["pesqc2"])["pesqc2"]
    at_8_khz = [soxr.resample(side, 16000, 8000) for side in pair]
    at_16_khz = [soxr.resample(side, 8000, 16000) for side in at_8_khz]
    narrow = measure(*at_16_khz, ["pesqc2"], narrow_band=True)["pesqc2"]
    assert narrow == pytest.approx(package.pesq(8000, at_8_khz[1], at_8_khz[0], "nb"), abs=0.01)
    assert measure(degraded[:2000], reference[:2000], ["pesqc2"]) == {}


def test_sdr_is_that_of_the_library_and_of_its_definition(pair):
    package = pytest.importorskip("fast_bss_eval")
    degraded, reference = (side.astype(np.float64) for side in pair)
    assert sdr(degraded, reference) == pytest.approx(-float(package.sdr_loss(degraded, reference, clamp_db=50)))
    # The best filter of 512 taps, by the normal equations of all shifts, the waveforms zero beyond their ends.
    echo = np.convolve(reference, [0.5, 0.0, -0.3])[: len(reference)] + 0.05 * speech_like(5, len(reference))
    for one in (degraded, echo):
        full = len(one) + 511
        spectra = np.fft.rfft(one, 2 * full), np.fft.rfft(reference, 2 * full)
        autocorrelation = np.fft.irfft(np.abs(spectra[1]) ** 2)[:512]
        crosscorrelation = np.fft.irfft(spectra[0] * spectra[1].conj())[:512]
        target = crosscorrelation @ scipy.linalg.solve_toeplitz(autocorrelation, crosscorrelation)
        assert sdr(one, reference) == pytest.approx(10 * math.log10(target / (np.sum(one**2) - target)), abs=1e-3)
    assert sdr(echo, reference) > si_sdr(echo, reference) + 1  # An echo is no distortion.
    assert sdr(reference, reference) == pytest.approx(50) and sdr(-0.1 * reference, reference) == pytest.approx(50)
    assert sdr(0 * reference, reference) is None and sdr(reference, 0 * reference) is None


def test_mcd_is_that_of_the_libraries(pair):
    pysptk, fastdtw = pytest.importorskip("pysptk"), pytest.importorskip("fastdtw")
    degraded, reference = (side.astype(np.float64) for side in pair)
    degraded = degraded[:10000]
    reference = reference[: len(degraded)]
    scale = (degraded @ reference) / (degraded @ degraded)
    window = np.hamming(1024) / np.linalg.norm(np.hamming(1024))
    cepstra = [
        [pysptk.mcep(window * side[start : start + 1024], 23, 0.42, eps=1e-6, etype=1) for start in starts]
        for starts in [range(0, len(reference) - 1023, 256)]
        for side in (scale * degraded, reference)
    ]
    _, path = fastdtw.fastdtw(*cepstra, dist=2)
    distances = [math.dist(cepstra[0][i], cepstra[1][j]) for i, j in path]
    expected = 10 * math.sqrt(2) / math.log(10) * math.fsum(distances) / len(path)
    assert mcd(degraded, reference) == pytest.approx(expected, rel=1e-6) and expected > 0.1
    assert mcd(-3 * degraded, reference) == pytest.approx(expected, rel=1e-6)
    assert mcd(reference, reference) == pytest.approx(0, abs=1e-6)
    assert mcd(degraded[:1023], reference[:1023]) is None and mcd(0 * degraded, reference) is None


@pytest.mark.parametrize("delay", [275, 1, 0, -6, -1599])
def test_a_delay_is_found_and_taken_out(pair, delay):
    degraded, reference = pair
    sides = (degraded[: len(degraded) - delay], reference[delay:]) if delay > 0 else (degraded[-delay:], reference)
    late, clean = same_length(*sides) if abs(delay) <= 320 else (side[:20000] for side in sides)
    assert delay_of(late, clean) == delay
    found = without_delay(late, clean, delay)
    assert len(found[0]) == len(found[1]) == len(late) - abs(delay)
    assert si_sdr(*found) == pytest.approx(si_sdr(degraded, reference), abs=0.5)
    if delay:
        assert si_sdr(late, clean) < si_sdr(*found) - 1


def test_no_delay_is_found_where_none_is_clear(pair):
    _, reference = pair
    noise = np.random.default_rng(0).standard_normal(len(reference))
    assert delay_of(noise, reference) is None and delay_of(0 * reference, reference) is None
    tone = np.sin(0.2 * np.arange(len(reference)))  # As late by one period as by none.
    assert delay_of(tone, tone) is None


def test_measure_takes_what_is_asked_in_order(pair):
    values = measure(*pair, ["lsd", "si_sdr"])
    assert list(values) == ["lsd", "si_sdr"]
    assert all(type(value) is float for value in values.values())
    assert measure(*pair, []) == {}


def test_measure_checks_its_input(pair):
    degraded, reference = pair
    assert measure(degraded[:-320], reference, ["si_sdr"]) == measure(degraded[:-320], reference[:-320], ["si_sdr"])
    with pytest.raises(NotAligned, match="23679 samples, its reference 24000"):
        measure(degraded[:-321], reference, ["si_sdr"])
    with pytest.raises(ValueError, match="no metric loudness"):
        measure(degraded, reference, ["loudness"])
    with pytest.raises(ValueError, match="shape"):
        measure(degraded[None], reference, ["si_sdr"])
    with pytest.raises(ValueError, match="reference: it holds NaN"):
        measure(degraded, reference * np.nan, ["si_sdr"])


def test_a_missing_package_is_named(pair, monkeypatch):
    assert set(available()) >= {"estoi", "stoi", "si_sdr", "lsd"} and set(available()) <= set(METRICS)
    monkeypatch.setitem(sys.modules, "pystoi", None)
    with pytest.raises(ModuleNotFoundError, match=r"pystoi.*urgentmos_jax\[labels\]"):
        measure(*pair, ["estoi"])
    monkeypatch.setattr(packages.importlib.util, "find_spec", lambda name: None)
    assert available() == ("si_sdr", "lsd")
