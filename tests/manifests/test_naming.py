"""Whether a manifest lists pairs is seen by its content, wherever it is read; and what its corpus is called."""

import json
from pathlib import Path

import pytest

from tests.helpers.corpus import write_corpus
from urgentmos_jax.cli import main
from urgentmos_jax.data.training_set import find_source, read_training_set
from urgentmos_jax.manifests.naming import corpus_folder, corpus_name, lists_pairs
from urgentmos_jax.metrics import Metric

METRICS = {"mos_overall": Metric(1, 5, True)}


@pytest.fixture
def folder(tmp_path) -> Path:
    """`preferences.jsonl` lists pairs, `repairs.jsonl` utterances."""
    folder = tmp_path / "mine"
    write_corpus(folder, [8000, 9000, 9500]).rename(folder / "repairs.jsonl")
    pairs = [
        {"uids": [f"u{a}", f"u{b}"], "audio_paths": [f"{a}.wav", f"{b}.wav"], "metrics": {"mos_overall": label}}
        for a, b, label in ((0, 1, 1.0), (1, 2, -1.0), (2, 0, 0.0))
    ]
    (folder / "preferences.jsonl").write_text("".join(json.dumps(pair) + "\n" for pair in pairs))
    return folder


@pytest.mark.parametrize(("name", "pairs"), [("preferences.jsonl", True), ("repairs.jsonl", False)])
def test_training_set(folder, name, pairs):
    source = find_source(name, folder)
    assert source.pairs == pairs
    found = read_training_set([source], METRICS)
    assert len(found.pairs) == 3 * pairs and found.alone.tolist() == [not pairs] * 3
    # Under the names that `urgentmos prepare` gives it is no other.
    for standard in ("data.jsonl", "data_pairs.jsonl"):
        (folder / name).rename(folder / standard)
        assert find_source(".", folder).pairs == pairs
        (folder / standard).rename(folder / name)


def test_check(folder, tmp_path, capsys):
    for name, kind in (("preferences.jsonl", "pairs"), ("repairs.jsonl", "utterances")):
        assert main(["check", str(folder / name), "--json", str(tmp_path / "found.json")]) == 0, capsys.readouterr().err
        (found,) = json.loads((tmp_path / "found.json").read_text())["manifests"]
        assert (found["kind"], found["rows"]) == (kind, 3)


def test_evaluate(folder, tmp_path, capsys):
    rows = [{"uid": f"u{n}", "scores": {"mos_overall": score}} for n, score in enumerate((4.0, 3.0, 4.5))]
    (tmp_path / "scores.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    data = [str(folder / name) for name in ("preferences.jsonl", "repairs.jsonl")]
    output = tmp_path / "found.json"
    predictions = ["--predictions", str(tmp_path / "scores.jsonl")]
    assert main(["evaluate", *data, *predictions, "--json", str(output)]) == 0, capsys.readouterr().err
    found = {row["corpus"]: row["kind"] for row in json.loads(output.read_text())["results"]}
    assert found == {f"{data[0]} (pairs)": "pairs", data[1]: "utterances"}


def test_a_line_that_cannot_be_read_decides_nothing(folder):
    path = folder / "preferences.jsonl"
    path.write_text('\ufeff{"uid": \n[]\n{}\n\n' + path.read_text())
    assert lists_pairs(path)
    path.write_text("{}\n[]\n")
    assert not lists_pairs(path) and not lists_pairs(folder / "gone.jsonl") and not lists_pairs(folder)


def test_names_of_corpora(tmp_path):
    assert corpus_name(tmp_path / "bvcc" / "train" / "data_pairs.jsonl") == "bvcc/train"
    assert corpus_folder(tmp_path / "bvcc" / "train" / "data.jsonl") == tmp_path / "bvcc"
    own = tmp_path / "bvcc" / "mine.jsonl"
    assert corpus_name(own) == str(own) and corpus_folder(own) == tmp_path / "bvcc"
