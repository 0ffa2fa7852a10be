"""A run remembers what it learns from; a clip that goes, comes or changes is seen."""

import json
import shutil
from pathlib import Path

import pytest

from tests.helpers.corpus import write_corpus
from urgentmos_jax.data.training_set import find_source, read_training_set
from urgentmos_jax.metrics import Metric
from urgentmos_jax.training.data_record import DataChanged, check_same_data
from urgentmos_jax.training.validation import read_validation_sets

METRICS = {"mos_overall": Metric(1.0, 5.0, True)}


@pytest.fixture
def manifests(tmp_path) -> dict[str, Path]:
    """Two data sets that are learnt from, the second with a pair, and one that is validated on."""
    found = {
        name: write_corpus(tmp_path / name, [8000] * 4, seed=seed)
        for name, seed in {"one/train": 0, "two/train": 10, "two/dev": 20}.items()
    }
    pairs = tmp_path / "two" / "pairs" / "data_pairs.jsonl"
    pairs.parent.mkdir()
    row = {
        "uids": ["a", "b"],
        "audio_paths": [str(tmp_path / "two" / "train" / f"{i}.wav") for i in (0, 1)],
        "durations": [0.5, 0.5],
    }
    pairs.write_text(json.dumps(row | {"metrics": {"mos_overall": 1.0}}) + "\n")
    return found | {"two/pairs": pairs}


def check(root: Path, **settings) -> None:
    train = [find_source(name, root) for name in ("one/train", "two/train", "two/pairs")]
    valid = [find_source("two/dev", root)]
    data = read_training_set(train, METRICS, audio_root=None)
    validation = read_validation_sets(valid, METRICS, audio_root=None, scope="corpus", seed=0)
    check_same_data(root, data, validation, **{"begun": True, "allow_changed": False} | settings)


def edit(manifest: Path, change) -> None:
    """Changes the list of rows of a manifest in place."""
    rows = [json.loads(line) for line in manifest.read_text().splitlines()]
    change(rows)
    manifest.write_text("".join(json.dumps(row) + "\n" for row in rows))


def test_what_has_changed_is_named_by_data_set(manifests, tmp_path, caplog):
    check(tmp_path, begun=False)
    before = (tmp_path / "data.json").read_text()
    check(tmp_path)

    def change(rows):
        rows[2]["metrics"]["mos_overall"] = 1.5
        del rows[1]

    edit(manifests["one/train"], change)
    shutil.copy(tmp_path / "two" / "train" / "3.wav", tmp_path / "two" / "train" / "4.wav")
    edit(manifests["two/train"], lambda rows: rows.append(rows[3] | {"uid": "new", "audio_path": "4.wav"}))
    edit(manifests["two/pairs"], lambda rows: rows[0]["metrics"].update(mos_overall=-1.0))
    wanted = (
        rf"{tmp_path} holds a run on other data: one/train: 1 removed \(u1\), 1 with other labels, pairs or duration "
        r"\(u2\); two/pairs: 1 with other labels, pairs or duration \(a\); two/train: 1 added \(new\)\. .*"
        "--allow_changed_data"
    )
    for _ in range(2):  # A refusal leaves the record as it is.
        with pytest.raises(DataChanged, match=wanted):
            check(tmp_path)
    assert (tmp_path / "data.json").read_text() == before
    check(tmp_path, allow_changed=True)
    assert "resuming on other data, by --allow_changed_data: one/train: 1 removed (u1)" in caplog.text
    check(tmp_path)


def test_order_and_references_are_compared_too(manifests, tmp_path):
    """They change the batches, though each clip is as it was."""
    check(tmp_path)
    edit(manifests["one/train"], lambda rows: rows.reverse())
    with pytest.raises(DataChanged, match="one/train: clips in another order, or other reference ids"):
        check(tmp_path)
    edit(manifests["one/train"], lambda rows: rows.reverse())
    check(tmp_path)
    edit(manifests["two/train"], lambda rows: rows[0].update(reference_id="r1"))
    with pytest.raises(DataChanged, match="data: two/train: clips in another order, or other reference ids"):
        check(tmp_path)


def test_what_is_no_reason_to_stop(manifests, tmp_path, caplog):
    check(tmp_path)
    (tmp_path / "data.json").unlink()
    check(tmp_path)  # The folder of an earlier release.
    edit(manifests["two/dev"], lambda rows: rows.pop())
    check(tmp_path)
    assert "validation sets have changed since this run began: two/dev: 1 removed (u23)" in caplog.text
    edit(manifests["one/train"], lambda rows: rows.pop())
    check(tmp_path, begun=False)  # No update was made yet.
    (tmp_path / "data.json").write_text("{")
    with pytest.raises(DataChanged, match=r"data\.json cannot be read"):
        check(tmp_path)
    check(tmp_path, allow_changed=True)
    check(tmp_path)
