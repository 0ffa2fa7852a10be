"""The flag `unlike_training`: where it is set, what it leaves alone, and the file it comes from."""

import shutil
from pathlib import Path

import jax
import numpy as np
import pytest

from tests.helpers.corpus import speech_like
from urgentmos_jax.scoring.model import Model
from urgentmos_jax.scoring.rows import UNLIKE
from urgentmos_jax.scoring.stored import add_distribution, read_stored
from urgentmos_jax.scoring.unlike import fit_distribution, recording_features
from urgentmos_jax.statistics.training_distribution import TrainingDistribution
from urgentmos_jax.weights.model_folder import DISTRIBUTION_FILE, ModelFolderError, load_folder

SAMPLES = (8000, 8000, 6000, 5200)


@pytest.fixture(scope="module")
def plain(model_folder: Path) -> Model:
    return Model(load_folder(model_folder)[0], folder=model_folder, devices=jax.devices()[:1])


@pytest.fixture(scope="module")
def clips() -> list[np.ndarray]:
    return [speech_like(seed, SAMPLES[seed % 4]) for seed in range(24)]


@pytest.fixture(scope="module")
def odd() -> np.ndarray:
    """A tone."""
    return (0.5 * np.sin(np.arange(8000) * 0.9)).astype(np.float32)


@pytest.fixture(scope="module")
def model(plain: Model, clips: list[np.ndarray]) -> Model:
    return plain.with_distribution(fit_distribution(plain, clips[:16], clips[16:]))


def test_what_is_unlike_is_flagged_and_scores_stay(
    model: Model, plain: Model, clips: list[np.ndarray], odd: np.ndarray
):
    with_flags, without = (one.score([*clips[:3], odd], sample_rate=16000) for one in (model, plain))
    assert [UNLIKE in row["flags"] for row in with_flags] == [False, False, False, True]
    for found, expected in zip(with_flags, without, strict=True):
        assert found.pop("scores") == pytest.approx(expected.pop("scores"), abs=1e-5)
        found["flags"] = [flag for flag in found["flags"] if flag != UNLIKE]
        assert found == expected


def test_comparisons_say_which_side(model: Model, clips: list[np.ndarray], odd: np.ndarray):
    (row,) = model.compare([(clips[0], odd)], sample_rate=16000)
    assert f"b_{UNLIKE}" in row["flags"] and f"a_{UNLIKE}" not in row["flags"]


def test_features_are_of_the_clip_and_of_all_its_windows(model: Model, plain: Model, clips: list[np.ndarray], caplog):
    together = recording_features(plain, [*clips[:4], np.zeros(3)])
    assert np.isnan(together[4]).all() and "it has 3 samples" in caplog.text
    alone = np.concatenate([recording_features(plain, [clip]) for clip in clips[:4]])
    np.testing.assert_allclose(together[:4], alone, rtol=0, atol=1e-4)
    windowed = Model(load_folder(plain.folder)[0], window_seconds=0.5, devices=jax.devices()[:1])
    (found,) = recording_features(windowed, [np.concatenate([clips[0], clips[3]])])
    np.testing.assert_allclose(found, np.average(alone[[0, 3]], axis=0, weights=[8000, 5200]), rtol=0, atol=1e-4)


def test_it_lies_in_the_folder_and_goes_with_the_weights(model: Model, plain: Model, tmp_path: Path, odd: np.ndarray):
    folder = shutil.copytree(plain.folder, tmp_path / "added")
    add_distribution(folder, model.distribution)
    model.save(tmp_path / "saved")
    for path in (folder, tmp_path / "saved"):
        loaded = Model.from_pretrained(path, compile_cache=False)
        np.testing.assert_array_equal(loaded.distribution.whitening, model.distribution.whitening)
        assert loaded.describe()["training_distribution"] == model.distribution.digest
        assert loaded.with_calibrations({}).distribution is not None
        assert loaded.with_params(loaded.params).distribution is None
    plain.save(tmp_path / "saved")  # In place of the other.
    assert {path.name for path in (tmp_path / "saved").iterdir()} == {"config.json", "model.safetensors"}
    assert "training_distribution" not in plain.describe()


@pytest.mark.parametrize("fault", ["cut", "other", "keys"])
def test_a_file_that_does_not_fit(plain: Model, tmp_path: Path, fault: str):
    folder = shutil.copytree(plain.folder, tmp_path / "model")
    add_distribution(folder, TrainingDistribution(np.zeros(3, np.float32), np.eye(3, dtype=np.float32)))
    path, says = folder / DISTRIBUTION_FILE, "of another model"
    if fault == "cut":
        path.write_bytes(path.read_bytes()[:-5])
        says = "not a whole safetensors file"
    elif fault == "keys":
        path.write_bytes((folder / "model.safetensors").read_bytes())
        says = "unexpected keyword"
    with pytest.raises(ModelFolderError, match=says):
        read_stored(folder, None)
