"""Predictions: their files, and how they are joined to records."""

import csv
import json
from pathlib import Path

import pytest

from tests.helpers.evaluations import evaluate_records, utterances, write_dataset
from urgentmos_jax.evaluation.datasets import read_datasets
from urgentmos_jax.evaluation.evaluating import EvaluationError
from urgentmos_jax.evaluation.predictions import PredictionsError, join, read_predictions
from urgentmos_jax.manifests.records import Utterance


def test_predictions_are_found_by_path_where_uids_differ(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    records = utterances(6)
    file = tmp_path / "scores.csv"
    with file.open("w", newline="") as out:
        writer = csv.writer(out)
        ends = ("duration_s", "windows", "bandwidth_hz", "flags", "model", "error", "message")
        writer.writerow(["uid", "path", "mos_overall", *ends])
        writer.writerows(
            [Path(one.audio_path).stem, one.audio_path, place, 1, 1, 7812.5, "", "m 12ab", "", ""]
            for place, one in enumerate(records)
        )
    manifest = write_dataset(tmp_path, records)
    corpora = read_datasets([Path(manifest.name)], check_files=False)
    (values,) = join(corpora, read_predictions(file))
    assert values == [{"mos_overall": float(place)} for place in range(6)]


def test_uids_of_several_corpora_need_paths():
    corpora = {name: [Utterance("u", f"{name}/u.wav", 1.0, metrics={"mos_overall": 3.0})] for name in "ab"}
    with pytest.raises(PredictionsError, match="uid 'u' is of several recordings; give predictions with paths"):
        evaluate_records(corpora, {"u": {"mos_overall": 2.0}})
    with pytest.raises(PredictionsError, match=r"2 uids are in no manifest, 'v', 'w'; take them out"):
        evaluate_records(corpora["a"], {name: {"mos_overall": 2.0} for name in "uvw"})
    with pytest.raises(PredictionsError, match="predictions: holds none"):
        evaluate_records(corpora["a"], {})
    with pytest.raises(PredictionsError, match="1 uids are in no manifest, 'u'"):
        evaluate_records([], {"u": {"mos_overall": 2.0}})
    with pytest.raises(EvaluationError, match="no record has a label of pesq; there are mos_overall"):
        evaluate_records(corpora["a"], {"u": {"mos_overall": 2.0}}, metrics=["pesq"])


@pytest.mark.parametrize(
    ("name", "text", "fault"),
    [
        (
            "a.jsonl",
            '{"uid": "u", "scores": {"m": 1}}\n{"uid": "u", "scores": {"m": 2}}\n',
            "a.jsonl:2: uid 'u' is that",
        ),
        ("a.jsonl", '{"uid": "u", "scores": {"m": "high"}}\n', "m is 'high', give a finite number"),
        ("a.jsonl", '{"uid": "u", "scores": {"m": true}}\n', "m is True, give a finite number"),
        ("a.jsonl", '{"uid": "u", "value": 3}\n', "no scores, comparison or metrics"),
        ("a.jsonl", '{"scores": {"m": 3}}\n', "no uid, give a string"),
        ("a.jsonl", '{"uid": "u", "scores": {"m": 1}\n', "broken JSON"),
        ("a.jsonl", "", "holds no predictions"),
        ("a.csv", "uid,m\nu,nan\n", "a.csv:2: m is 'nan', give a finite number"),
        ("a.csv", "uid,m\nu,1,2\n", "a.csv:2: has 3 cells, the header has 2"),
        ("a.csv", "name,m\nu,1\n", "no column 'uid'; the columns are"),
    ],
)
def test_files_of_predictions_that_cannot_be_used(tmp_path, name, text, fault):
    (tmp_path / name).write_text(text)
    with pytest.raises(PredictionsError) as error:
        read_predictions(tmp_path / name)
    assert fault in str(error.value)


def test_files_of_score_and_compare_are_read(tmp_path):
    rows = [
        {"uid": "a b", "paths": ["a.wav", "b.wav"], "comparison": {"m": {"cmos": 0.5, "p_a": 0.7}}, "error": None},
        {"uid": "a c", "paths": ["a.wav", "c.wav"], "comparison": None, "error": {"code": "missing"}},
    ]
    (tmp_path / "pairs.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    header = "uid,path_a,path_b,m_cmos,m_p_a,m_p_b,m_p_tie,duration_a_s,duration_b_s,windows,flags,error,message"
    (tmp_path / "pairs.csv").write_text(
        f"{header}\na b,a.wav,b.wav,0.5,0.7,0.1,0.2,1,1,1,,,\na c,a.wav,c.wav{',' * 10}\n"
    )
    for name in ("pairs.jsonl", "pairs.csv"):
        assert read_predictions(tmp_path / name) == {"a b": {"m": 0.5}, "a c": {}}
    # Where all probabilities are there, the value knows its head.
    assert read_predictions(tmp_path / "pairs.csv")["a b"]["m"].probabilities == (0.7, 0.1, 0.2)
    assert not hasattr(read_predictions(tmp_path / "pairs.jsonl")["a b"]["m"], "probabilities")
    (tmp_path / "more.csv").write_text("uid,m_cmos,m_p_a,m_p_b,m_p_tie,m_score_difference\na b,0.5,0.7,0.1,0.2,-0.4\n")
    known = read_predictions(tmp_path / "more.csv")
    assert known["a b"]["m"].score_difference == -0.4 and known.metrics == ["m"]
    whole = {"cmos": 0.5, "p_a": 0.7, "p_b": 0.1, "p_tie": 0.2, "score_difference": 2}
    (tmp_path / "more.jsonl").write_text(json.dumps({"uid": "a b", "comparison": {"m": whole}}) + "\n")
    assert read_predictions(tmp_path / "more.jsonl")["a b"]["m"].score_difference == 2
    (tmp_path / "scores.csv").write_text("uid,path,m,p_808,duration_s\na,a.wav,3.5,2,1\nb,b.wav,,1,1\n")
    found = read_predictions(tmp_path / "scores.csv")
    assert found == {"a": {"m": 3.5, "p_808": 2.0}, "b": {"p_808": 1.0}} and found.metrics == ["m", "p_808"]
