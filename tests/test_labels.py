"""Objective metrics against hand-made cases and the packages that define them."""

import importlib.util
import math
import sys

import numpy as np
import pystoi
import pytest

from tests.conftest import speech_like
from urgentmos_jax.labels import intrusive
from urgentmos_jax.labels.alignment import NotAligned
from urgentmos_jax.labels.intrusive import METRICS, SI_SDR_RANGE_DB, available, estoi, lsd, measure, pesq, si_sdr, stoi

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
    monkeypatch.setattr(intrusive.importlib.util, "find_spec", lambda name: None)
    assert available() == ("si_sdr", "lsd")
