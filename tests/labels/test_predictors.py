"""Predictors of opinion against direct calls of the packages that define them."""

import numpy as np
import pytest
import soundfile

from tests.helpers.corpus import speech_like
from urgentmos_jax.labels import packages, predictors
from urgentmos_jax.labels.packages import WeightsMissing
from urgentmos_jax.labels.predictors import PREDICTORS, available, predict, why_without
from urgentmos_jax.metrics import CATALOGUE

RATE = 16000
DNSMOS = ["dnsmos_ovrl", "dnsmos_sig", "dnsmos_bak", "dnsmos_p808"]


@pytest.fixture(scope="module")
def clip() -> np.ndarray:
    return (speech_like(1, 24000) + 0.05 * speech_like(2, 24000)).astype(np.float32)


@pytest.fixture(scope="module")
def speechmos():
    """The package, with what it needs to be imported."""
    for name in ("speechmos", "onnxruntime", "librosa"):
        pytest.importorskip(name)
    from speechmos import dnsmos, plcmos

    return {"dnsmos": dnsmos, "plcmos": plcmos}


def test_dnsmos_is_that_of_the_package(clip, speechmos):
    wanted = speechmos["dnsmos"].run(clip, RATE)
    found = predict(clip, ["dnsmos_bak"])
    assert list(found) == DNSMOS  # All of them at once: the networks have run.
    for name in DNSMOS:
        assert found[name] == pytest.approx(wanted[f"{name.removeprefix('dnsmos_')}_mos"], abs=1e-6)
    assert all(1 < value < 5 for value in found.values())


@pytest.mark.slow
def test_dnsmos_of_several_windows_is_that_of_the_package(clip, speechmos):
    long = np.concatenate([clip, 0.1 * clip] * 4)[: round(11.3 * RATE)]
    wanted = speechmos["dnsmos"].run(long, RATE)
    assert predict(long, ["dnsmos_ovrl"])["dnsmos_ovrl"] == pytest.approx(wanted["ovrl_mos"], abs=1e-6)


def test_plcmos_is_that_of_the_package_and_repeats(clip, speechmos):
    np.random.seed(0)
    wanted = speechmos["plcmos"].run(clip, RATE)["plcmos"]
    np.random.seed(7)
    expected = np.random.random(3)
    np.random.seed(7)
    assert [predict(clip, ["plcmos"])["plcmos"] for _ in range(2)] == pytest.approx([wanted, wanted], abs=1e-6)
    np.testing.assert_array_equal(np.random.random(3), expected)


def test_clips_beyond_full_scale_are_those_of_the_package_for_files(clip, speechmos, tmp_path):
    """speechmos refuses such arrays and takes such files; clipping them would give other scores."""
    loud = 1.5 * clip / np.abs(clip).max()
    soundfile.write(tmp_path / "loud.wav", loud, RATE, subtype="FLOAT")
    wanted = speechmos["dnsmos"].run(str(tmp_path / "loud.wav"), RATE)["ovrl_mos"]
    assert predict(loud, DNSMOS)["dnsmos_ovrl"] == pytest.approx(wanted, abs=1e-6)
    assert abs(predict(loud.clip(-1, 1), DNSMOS)["dnsmos_ovrl"] - wanted) > 1e-3


def test_short_clips(clip, speechmos):
    """Of 80 ms the package raises an error of its convolutions."""
    assert predict(clip[:1280], ["plcmos"]) == {} and predict(clip[:1281], ["plcmos"]).keys() == {"plcmos"}
    assert why_without("plcmos", clip[:1280]) == "80 ms or less"
    assert predict(clip[:400], ["dnsmos_ovrl"]).keys() == set(DNSMOS)


def test_sessions_have_one_thread(speechmos):
    session = predictors._dnsmos().onnx_sess
    assert session.get_session_options().intra_op_num_threads == 1
    assert predictors._dnsmos() is predictors._dnsmos()


def test_silence_has_no_scores():
    assert predict(np.zeros(RATE), list(PREDICTORS)) == {}
    assert why_without("dnsmos_ovrl", np.zeros(RATE)) == "the clip is silent"


def test_what_is_predicted_is_in_the_catalogue_and_needs_no_reference():
    assert all(name in CATALOGUE and not CATALOGUE[name].needs_reference for name in PREDICTORS)


def test_a_missing_package_is_named(clip, monkeypatch):
    def missing(name):
        raise ModuleNotFoundError(f"No module named {name!r}", name=name)

    monkeypatch.setattr(packages.importlib, "import_module", missing)
    predictors._dnsmos.cache_clear()
    with pytest.raises(ModuleNotFoundError, match=r'speechmos is missing: pip install "urgentmos_jax\[predictors\]"'):
        predict(clip, ["dnsmos_ovrl"])
    monkeypatch.setattr(packages.importlib.util, "find_spec", lambda name: None)
    assert available() == ()


def test_weights_that_cannot_be_loaded_are_one_error():
    @packages.loaded_once("Weights of somebody")
    def load():
        raise ConnectionError("no network")

    with pytest.raises(
        WeightsMissing, match=r"Weights of somebody could not be loaded \(ConnectionError: no network\)"
    ):
        load()
