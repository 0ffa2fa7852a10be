"""Plans and batches of training."""

import dataclasses
import json
import time
from concurrent.futures import ThreadPoolExecutor

import jax
import numpy as np
import pytest

from tests.helpers.corpus import write_corpus
from urgentmos_jax.audio.loading import load_audio
from urgentmos_jax.data.loader import LoadedBatches
from urgentmos_jax.data.plan import Plan
from urgentmos_jax.data.reading import BatchReader
from urgentmos_jax.data.training_set import Source, TrainingSet, find_source, read_training_set
from urgentmos_jax.manifests.records import ManifestError
from urgentmos_jax.metrics import Metric

METRICS = {"mos_overall": Metric(1, 5, comparative=True), "pesq": Metric(1, 4.5)}
LENGTHS = [8000 + 2111 * i for i in range(14)]


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    root = tmp_path_factory.mktemp("data")
    write_corpus(root / "one" / "train", LENGTHS[:9], metrics=("mos_overall", "pesq"))
    write_corpus(root / "two" / "train", LENGTHS[9:], seed=50)
    row = {"audio_paths": ["0.wav", "3.wav"], "metrics": {"mos_overall": -1.0}}
    (root / "two" / "pairs").mkdir()
    (root / "two" / "pairs" / "data_pairs.jsonl").write_text(json.dumps(row) + "\n")
    return root


@pytest.fixture(scope="module")
def data(root) -> TrainingSet:
    names = ("one/train", "two/train", "two/pairs")
    sources = [find_source(name, root) for name in names]
    assert [source.pairs for source in sources] == [False, False, True]
    return read_training_set(sources, METRICS, audio_root=root / "one" / "train")


def plan(data: TrainingSet, **changes) -> Plan:
    settings = {"scope": "corpus", "seconds": 6.0, "max_rows": 4, "max_seconds": 60.0, "seed": 5}
    return Plan(data, **settings | changes)


def reader(data: TrainingSet, **changes) -> BatchReader:
    return BatchReader(plan(data, **changes), min_samples=400)


def synthetic(count: int) -> TrainingSet:
    """Labels and lengths without audio."""
    rng = np.random.default_rng(2)
    seconds = np.clip(rng.lognormal(np.log(4.5), 0.45, count), 1, 20)
    return TrainingSet(
        uids=[f"c:{i}" for i in range(count)],
        paths=[""] * count,
        seconds=seconds,
        labels=rng.uniform(1, 5, (count, 2)).astype(np.float32),
        corpora=np.zeros(count, np.int64),
        references=np.arange(count) // 6,
        systems=[None] * count,
        alone=np.ones(count, bool),
        pairs=np.zeros((0, 2), np.int64),
        cmos=np.zeros((0, 1), np.float32),
        metrics=tuple(METRICS),
        comparative=("mos_overall",),
        clipped={},
    )


def test_training_set(data: TrainingSet):
    assert data.label_counts() == {"mos_overall": 14, "pesq": 9, "mos_overall (pairs)": 1}
    assert data.alone.sum() == 14 and len(data.uids) == 16 and len(set(data.keys.tolist())) == 16
    assert data.uids[0] == "one/train:u0" and data.corpora.tolist() == [0] * 9 + [1] * 7
    assert data.references[0] == data.references[1] != data.references[9] and data.references[-1] == -1


@pytest.mark.parametrize("scope", ["corpus", "reference", "any", "none"])
def test_each_clip_is_there_once_an_epoch(data: TrainingSet, scope: str):
    chosen = plan(data, scope=scope)
    for epoch in range(3):
        batches = chosen.epoch(epoch)
        first = np.concatenate([batch.clips[:, 0] for batch in batches])
        given = [tuple(row) for batch in batches for row in batch.clips if not data.alone[row[0]]]
        assert sorted(first[data.alone[first]]) == np.flatnonzero(data.alone).tolist()
        assert given == [tuple(data.pairs[0])]
        for batch in batches:
            n, sides = batch.clips.shape
            assert n == len(batch.cmos) <= batch.rows <= 4 and chosen.lengths[batch.clips].max() <= batch.samples
            assert batch.rows == 1 or batch.rows * batch.samples <= 6 * 16000
            assert (sides == 2) == np.isfinite(batch.cmos).any() and np.isfinite(batch.cmos).all(1).sum() in (0, n)
            if sides == 2:
                assert (batch.clips[:, 0] != batch.clips[:, 1]).all()
                own = data.alone[batch.clips[:, 0]]
                difference = data.labels[batch.clips[:, 0], 0] - data.labels[batch.clips[:, 1], 0]
                np.testing.assert_allclose(batch.cmos[own, 0], difference[own], rtol=1e-6)


def test_plan_is_a_function_of_its_arguments(data: TrainingSet):
    one, other = plan(data), plan(data)
    later = other[40]  # Asked for first, it is the same.
    assert all(np.array_equal(one[i].clips, other[i].clips) and one[i].samples == other[i].samples for i in range(40))
    assert np.array_equal(one[40].clips, later.clips) and one[40].epoch == later.epoch > 3
    assert any(not np.array_equal(one[i].clips, plan(data, seed=6)[i].clips) for i in range(5))
    assert any(not np.array_equal(one.epoch(0)[i].clips, one.epoch(1)[i].clips) for i in range(3))


def test_threads_see_the_same_plan(data: TrainingSet, monkeypatch):
    wanted = [plan(data)[index].clips.tolist() for index in range(24)]
    # The second thread comes while the first one counts the batches of an epoch.
    draw = Plan._epoch
    monkeypatch.setattr(Plan, "_epoch", lambda self, epoch: (time.sleep(0.01), draw(self, epoch))[1])
    for _ in range(5):
        shared = plan(data)
        with ThreadPoolExecutor(8) as threads:
            found = list(threads.map(lambda index, shared=shared: shared[index].clips.tolist(), range(24)))
        assert found == wanted


@pytest.mark.parametrize(("scope", "sides", "least"), [("none", 1, 0.85), ("corpus", 2, 0.70), ("reference", 2, 0.70)])
def test_padding_efficiency_on_lengths_of_a_speech_corpus(scope: str, sides: int, least: float):
    chosen = plan(synthetic(4000), scope=scope, seconds=300.0, max_rows=32)
    assert chosen.padding_efficiency(sides) >= least
    assert len(chosen.shapes(3)) <= 2 * len(chosen.sizes)
    assert all(rows % 8 == 0 for rows, _, _ in chosen.shapes())


def test_loaded_batches(data: TrainingSet):
    chosen = reader(data)
    for index in range(len(chosen.plan.epoch(0))):
        batch, arrays = chosen.plan[index], chosen.load(index).arrays
        n = len(batch.clips)
        assert arrays.waveform.shape == (batch.rows, batch.clips.shape[1], batch.samples)
        assert (arrays.lengths[n:] == 0).all() and not arrays.label_mask[n:].any()
        for row, side in np.ndindex(*batch.clips.shape):
            clip = batch.clips[row, side]
            samples = load_audio(data.paths[clip]).waveform
            length = arrays.lengths[row, side]
            assert length == len(samples) and (arrays.waveform[row, side, :length] == samples).all()
            assert (arrays.waveform[row, side, length:] == 0).all()
            known = ~np.isnan(data.labels[clip])
            assert (arrays.label_mask[row, side] == known).all()
            assert (arrays.labels[row, side] == np.where(known, data.labels[clip], 0)).all()
        assert (arrays.cmos_mask[:n] == ~np.isnan(batch.cmos)).all() and np.isfinite(arrays.cmos).all()


@pytest.mark.slow
@pytest.mark.parametrize("workers", [1, 2])
def test_same_batches_with_any_number_of_workers(data: TrainingSet, workers: int):
    chosen, start, stop = reader(data), 3, 3 + 2 * len(plan(data).epoch(0))
    wanted = list(LoadedBatches(chosen, start, stop, workers=0))
    assert len(wanted) == stop - start and wanted[0].uids == chosen.load(start).uids
    found = list(LoadedBatches(chosen, start, stop, workers=workers))
    assert [batch.uids for batch in found] == [batch.uids for batch in wanted]
    for one, other in zip(found, wanted, strict=True):
        assert jax.tree.all(jax.tree.map(lambda a, b: (a == b).all(), one.arrays, other.arrays))


def test_long_clips_are_cut_at_another_position_each_epoch(data: TrainingSet):
    chosen = reader(data, max_seconds=0.6, scope="none")
    starts = set()
    for index in range(3 * len(chosen.plan.epoch(0))):
        batch, arrays = chosen.plan[index], chosen.load(index).arrays
        assert arrays.lengths.max() <= 9600
        for row in np.flatnonzero(batch.clips[:, 0] == 8):
            whole = load_audio(data.paths[8]).waveform
            part = arrays.waveform[row, 0, :9600]
            starts |= {s for s in range(len(whole) - 9599) if (whole[s : s + 9600] == part).all()}
    assert len(starts) == 3


def test_a_file_that_vanished_is_masked_and_reported(data: TrainingSet):
    gone = dataclasses.replace(data, paths=["/nowhere.wav" if i == 2 else p for i, p in enumerate(data.paths)])
    chosen, skipped = reader(gone), 0
    for index in range(len(chosen.plan.epoch(0))):
        batch, loaded = chosen.plan[index], chosen.load(index)
        skipped += len(loaded.skipped)
        arrays, hit = loaded.arrays, np.argwhere(batch.clips == 2)
        for row, side in hit:
            assert arrays.lengths[row, side] == 0 and not arrays.label_mask[row, side].any()
            assert not arrays.cmos_mask[row].any()
            if batch.clips.shape[1] == 2:  # Its partner keeps its own labels.
                assert arrays.label_mask[row, 1 - side].any()
        assert all(one["code"] == "missing" and one["uid"] == "one/train:u2" for one in loaded.skipped)
        assert len(loaded.skipped) == len(hit)
    assert skipped


def test_a_wrong_duration_is_reported(data: TrainingSet):
    wrong = dataclasses.replace(data, seconds=np.where(np.arange(len(data.seconds)) == 1, 9.0, data.seconds))
    chosen = reader(wrong)
    skipped = [one for i in range(len(chosen.plan.epoch(0))) for one in chosen.load(i).skipped]
    assert skipped and {one["uid"] for one in skipped} == {"one/train:u1"}
    assert "its manifest says 9.00 s" in skipped[0]["message"]


def test_a_metric_without_any_label_is_named(root):
    source = Source("two/train", root / "two" / "train" / "data.jsonl", False)
    with pytest.raises(ManifestError, match="two/train has a label of pesq"):
        read_training_set([source], METRICS)
    assert read_training_set([source], METRICS, every_metric=False).label_counts()["pesq"] == 0


def test_a_source_that_is_not_there_is_named(root):
    with pytest.raises(FileNotFoundError, match=r"three/train is not there.*urgentmos prepare"):
        find_source("three/train", root)
