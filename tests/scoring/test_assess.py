"""`Model.assess`: each recording is encoded once, whoever asks; features wait in memory or on disk."""

import json
from pathlib import Path

import jax
import numpy as np
import pytest

from tests.helpers.corpus import speech_like, write_corpus
from tests.helpers.counting import count_encoded
from urgentmos_jax.data.training_set import Source
from urgentmos_jax.evaluation.datasets import read_datasets
from urgentmos_jax.evaluation.predicting import predict
from urgentmos_jax.scoring import decoding
from urgentmos_jax.scoring.feature_store import FeatureStore
from urgentmos_jax.scoring.model import Model
from urgentmos_jax.scoring.pairs import unique_recordings
from urgentmos_jax.scoring.rows import Compared, Scored
from urgentmos_jax.training.validation import read_validation_sets, validate
from urgentmos_jax.weights.model_folder import load_folder

LENGTHS = [9000, 12000, 7000, 15000, 11000, 8000]
PAIRS = [(4, 1), (1, 4), (0, 1), (3, 3), (4, 0)]


@pytest.fixture(scope="module")
def whole(model_folder) -> Model:
    module, _ = load_folder(model_folder)
    model = Model(module, devices=jax.devices()[:1], batch_seconds=3.0)
    model.engine.bucket_sizes = (16000,)
    return model


@pytest.fixture
def model(whole: Model) -> Model:
    """Without what an earlier test counts."""
    encode = whole.engine.encode
    yield whole
    whole.engine.encode = encode


@pytest.fixture(scope="module")
def clips() -> list[np.ndarray]:
    return [speech_like(seed, samples) for seed, samples in enumerate(LENGTHS)]


def test_scores_and_comparisons_are_those_of_score_and_compare(model: Model, clips: list[np.ndarray]):
    results = list(model.assess(clips, PAIRS, sample_rate=16000))
    scored = {one.index: one.row for one in results if isinstance(one, Scored)}
    compared = [one.row for one in results if isinstance(one, Compared)]
    for index, row in enumerate(model.score(clips, sample_rate=16000)):
        assert scored[index] | {"scores": None} == row | {"scores": None}
        assert scored[index]["scores"] == pytest.approx(row["scores"], abs=1e-6)
    wanted = model.compare([(clips[a], clips[b]) for a, b in PAIRS], sample_rate=16000)
    for found, row in zip(compared, wanted, strict=True):
        assert found["comparison"]["mos_overall"] == pytest.approx(row["comparison"]["mos_overall"], abs=1e-6)
    assert [row["uid"] for row in compared] == [f"array-{a} array-{b}" for a, b in PAIRS]


def test_pairs_come_in_order_as_soon_as_both_sides_are_encoded(model: Model, clips: list[np.ndarray]):
    encoded = count_encoded(model)
    known, order = set(), []
    for result in model.assess(clips, PAIRS, sample_rate=16000):
        if isinstance(result, Scored):
            known.add(result.index)
        else:
            assert set(PAIRS[result.index]) <= known
            order.append(result.index)
    assert order == list(range(len(PAIRS))) and sorted(encoded) == sorted(LENGTHS)


@pytest.mark.parametrize("max_feature_bytes", [0, 10_000])
def test_features_beyond_the_limit_wait_on_disk(model: Model, clips, tmp_path: Path, max_feature_bytes: int):
    wanted = list(model.assess(clips, PAIRS, sample_rate=16000))
    results = model.assess(clips, PAIRS, sample_rate=16000, max_feature_bytes=max_feature_bytes, spill_dir=tmp_path)
    found, most = [], 0
    for result in results:
        found.append(result)
        most = max(most, len(list(tmp_path.glob("*/*.npz"))))
    assert found == wanted and most > 0 and not list(tmp_path.iterdir())


def test_few_recordings_wait_for_their_pairs(model: Model, monkeypatch: pytest.MonkeyPatch):
    """However far apart the sides of a pair are listed."""
    waiting, most = set(), 0
    put, drop = FeatureStore.put, FeatureStore.drop

    def watched_put(self, index, *args):
        nonlocal most
        waiting.add(index)
        most = max(most, len(waiting))
        put(self, index, *args)

    def watched_drop(self, index):
        waiting.discard(index)
        drop(self, index)

    monkeypatch.setattr(decoding, "_GROUP_WINDOWS", 8)
    monkeypatch.setattr(FeatureStore, "put", watched_put)
    monkeypatch.setattr(FeatureStore, "drop", watched_drop)
    short = [speech_like(seed, 2000) for seed in range(40)]
    list(model.assess(short, [(index, 39 - index) for index in range(20)], sample_rate=16000))
    assert 2 <= most <= 9 and not waiting


def test_a_failed_side_fails_its_pairs_alone(model: Model, clips: list[np.ndarray]):
    broken = [*clips[:2], np.full(9000, np.nan, np.float32)]
    rows = [one.row for one in model.assess(broken, [(0, 1), (2, 1)], sample_rate=16000) if isinstance(one, Compared)]
    assert rows[0]["error"] is None and rows[1]["comparison"] is None and rows[1]["error"]["code"] == "non_finite"


def test_pairs_of_recordings_that_are_not_there(model: Model, clips: list[np.ndarray]):
    with pytest.raises(IndexError, match="recordings 0 to 5, found 0 to 6"):
        list(model.assess(clips, [(0, 6)], sample_rate=16000))


def test_files_and_arrays_are_known_again(clips: list[np.ndarray]):
    pairs = [("a.wav", Path("b.wav")), (Path("a.wav"), clips[0]), (clips[0], clips[0].copy())]
    recordings, sides = unique_recordings(pairs)
    assert len(recordings) == 4 and sides == [(0, 1), (0, 2), (2, 3)]


def test_other_parameters_share_what_is_compiled(model: Model, clips: list[np.ndarray]):
    rows, shapes = model.score(clips, sample_rate=16000), model.compiled_shapes
    other = model.with_params(jax.tree.map(lambda x: 1.1 * x, model.params))
    changed = other.score(clips, sample_rate=16000)
    assert model.compiled_shapes == other.compiled_shapes == shapes
    assert all(
        abs(a["scores"]["mos_overall"] - b["scores"]["mos_overall"]) > 1e-4 for a, b in zip(rows, changed, strict=True)
    )
    assert model.score(clips, sample_rate=16000) == rows


@pytest.fixture(scope="module")
def manifests(tmp_path_factory) -> list[Path]:
    """Clips, and pairs of them."""
    folder = tmp_path_factory.mktemp("corpus") / "dev"
    data = write_corpus(folder, LENGTHS)
    pairs = folder / "data_pairs.jsonl"
    with pairs.open("w") as file:
        for a, b in PAIRS[:3]:
            paths, seconds = [f"{a}.wav", f"{b}.wav"], [LENGTHS[a] / 16000, LENGTHS[b] / 16000]
            row = {"uids": [f"u{a}", f"u{b}"], "audio_paths": paths, "durations": seconds}
            file.write(json.dumps({**row, "metrics": {"mos_overall": 0.7}}) + "\n")
    return [data, pairs]


def test_evaluate_encodes_clips_and_pairs_once(model: Model, manifests: list[Path]):
    encoded = count_encoded(model)
    datasets = read_datasets(manifests)
    found, failed = predict(model, datasets, ["mos_overall"])
    assert sorted(encoded) == sorted(LENGTHS) and not failed
    assert [len(values) for values in found] == [len(LENGTHS), 3] and all(value for values in found for value in values)


def test_validation_encodes_each_clip_once(model: Model, manifests: list[Path]):
    metrics = {"mos_overall": model.config.metrics["mos_overall"]}
    source = Source("dev", manifests[0], pairs=False)
    sets = read_validation_sets([source], metrics, audio_root=None, scope="any", seed=0)
    encoded = count_encoded(model)
    results = validate(model, sets)
    assert sorted(encoded) == sorted(LENGTHS)
    assert results["dev"]["mos_overall"]["n"] == len(LENGTHS) and results["dev"]["mos_overall"]["pairs"] > 0
