"""`urgentmos report`, and `--report` of rank, evaluate and score."""

import json
from pathlib import Path

import pytest

from tests.helpers.pages import NONE, QUALITY, Page, corpus, predicted
from urgentmos_jax.cli import main, reporting
from urgentmos_jax.manifests.records import Utterance
from urgentmos_jax.manifests.writing import write_utterances
from urgentmos_jax.report import EMBED_MB


@pytest.fixture(scope="module")
def clips(tmp_path_factory) -> list[Utterance]:
    return corpus(tmp_path_factory.mktemp("corpus"))


@pytest.fixture
def report(capsys):
    """Runs a subcommand; exit status, standard output and standard error."""

    def run(*arguments: str | Path) -> tuple[int, str, str]:
        code = main([str(argument) for argument in arguments])
        found = capsys.readouterr()
        assert "Traceback" not in found.err
        return code, found.out, found.err

    return run


def test_folders_of_recordings_are_reported_by_a_model(report, model_folder, tmp_path):
    corpus(tmp_path / "data", references=3)
    (tmp_path / "data" / "codec" / "1.wav").write_bytes(b"RIFF, but no more")
    (tmp_path / "data" / "noisy" / "2.wav").unlink()
    folders = [tmp_path / "data" / name for name in QUALITY]
    page = tmp_path / "new" / "page.html"
    code, out, err = report("report", *folders, "--model", model_folder, "--output", page, "--embed-mb", 0.05)
    assert code == 1 and out == "" and "codec/1: " in err
    page = Page(page)
    assert page.text.startswith("clean, codec, noisy") and "Clips 8 of 3 systems, 1 without a score" in page.text
    failed, lacking = page.tables["failed"]
    assert failed[1][:2] == ["codec/1", "codec"] and "1.wav" in failed[1][2]
    assert sorted(lacking[1:]) == [["codec", "1"], ["noisy", "2"]]
    # Scores of frames, on one axis, over the waveform of each clip that is shown; labels there are none.
    curves, waves = page.all("polyline"), page.all("path", **{"class": "outline"})
    assert len(curves) == len(waves) == 7 and not {"agreement", "predicted"} & page.tables.keys()
    heights = [float(point.split(",")[1]) for curve in curves for point in curve["points"].split()]
    assert min(heights) >= 0 and max(heights) <= 100 and max(heights) - min(heights) > 80
    seconds = {row[1]: row[4] for row in page.tables["clips"][0][1:]}
    assert seconds["clean/0"] == "0.4" and seconds["clean/2"] == "0.5" and seconds["codec/1"] == NONE
    assert "by the CMOS head" in page.text


def test_a_manifest_is_reported_by_predictions(report, clips, tmp_path):
    write_utterances(tmp_path / "data.jsonl", clips)
    lines = [json.dumps({"uid": uid, "scores": scores}) + "\n" for uid, scores in predicted(clips).items()]
    (tmp_path / "scores.jsonl").write_text("".join(lines))
    named = ["--predictions", tmp_path / "scores.jsonl"]
    code, out, err = report("report", tmp_path / "data.jsonl", *named, "--output", tmp_path / "r.html")
    assert (code, out, err) == (0, "", "")
    page = Page(tmp_path / "r.html")
    assert f"Predictions {tmp_path / 'scores.jsonl'}" in page.text
    assert set(page.tables) == {"ranking", "agreement", "predicted", "distributions", "listen", "clips"}
    assert not page.all("polyline") and len(page.all("path", **{"class": "outline"})) >= 10
    # `rank` writes the same page, but for the minute.
    code, out, _ = report("rank", tmp_path / "data.jsonl", *named, "--report", tmp_path / "ranked.html")
    assert code == 0 and "codec" in out
    assert Page(tmp_path / "ranked.html").tables == page.tables


def test_clips_without_a_system_are_reported_without_a_ranking(report, clips, tmp_path):
    bare = [Utterance(one.uid, one.audio_path, one.duration, metrics=one.metrics) for one in clips]
    write_utterances(tmp_path / "data.jsonl", bare)
    lines = [json.dumps({"uid": one.uid, "scores": one.metrics}) + "\n" for one in bare]
    (tmp_path / "scores.jsonl").write_text("".join(lines))
    named = ["--predictions", tmp_path / "scores.jsonl", "--output", tmp_path / "r.html"]
    assert report("report", tmp_path / "data.jsonl", *named)[0] == 0
    page = Page(tmp_path / "r.html")
    assert set(page.tables) == {"agreement", "predicted", "distributions", "listen", "clips"}
    assert page.tables["agreement"][0][1][6].startswith("1.000") and len(page.tables["clips"][0]) == 1 + len(clips)


def test_what_cannot_be_written_is_refused_before_anything_is_computed(report, tmp_path):
    no_model = ("--model", tmp_path / "none")
    for arguments, wanted in (
        (("report", tmp_path, *no_model, "--output", "a.txt"), "--output a.txt: give a name that ends in .html"),
        (("rank", tmp_path, *no_model, "--report", "a.txt"), "--report a.txt: give a name that ends in .html"),
        (("report", tmp_path, *no_model, "--output", "a.html", "--embed-mb=-1"), "--embed-mb is -1"),
        (("report", tmp_path / "no", *no_model, "--output", "a.html"), "no such folder"),
    ):
        code, out, err = report(*arguments)
        assert code == 2 and out == "" and wanted in err
    assert reporting._EMBED_MB == EMBED_MB
    corpus(tmp_path / "data", references=1)
    (tmp_path / "scores.jsonl").write_text('{"uid": "clean/0", "scores": {"mos_overall": 3}}\n')
    (tmp_path / "file").write_text("")
    named = ["--predictions", tmp_path / "scores.jsonl", "--output", tmp_path / "file" / "a.html"]
    code, _, err = report("report", tmp_path / "data" / "clean", *named)
    assert code == 4 and f"--output {tmp_path / 'file' / 'a.html'}: cannot be written" in err


def test_evaluate_writes_a_page_of_several_corpora(report, clips, tmp_path):
    """Of the same uids and systems, with clips that have no label and one that has no prediction."""
    named = []
    for name, quality in (("a", 0.0), ("b", 0.3)):
        part = [
            Utterance(one.uid, one.audio_path, one.duration, one.system_id, one.reference_id,
                      {"mos_overall": one.metrics["mos_overall"] - quality} if place != 4 else {})
            for place, one in enumerate(clips)
        ]  # fmt: skip
        (tmp_path / name / "dev").mkdir(parents=True)
        named.append(tmp_path / name / "dev" / "data.jsonl")
        write_utterances(named[-1], part)
    rows = [
        {"uid": one.uid, "path": one.audio_path, "scores": {"mos_overall": 5 - place / 5} if place != 7 else None}
        for place, one in enumerate(clips)
    ]
    predictions = tmp_path / "scores.jsonl"
    predictions.write_text("".join(json.dumps(row) + "\n" for row in rows))
    options = ["--predictions", predictions, "--allow-missing", "--report", tmp_path / "r.html"]
    code, out, _ = report("evaluate", *named, *options)
    assert code == 0 and "a/dev" in out
    page = Page(tmp_path / "r.html")
    assert page.text.startswith("a/dev, b/dev") and "Clips 30 of 6 systems, 2 without a score" in page.text
    assert [table[1][:4] for table in page.tables["agreement"][:2]] == [["mos_overall", "clips", "13", "1"]] * 2
    assert len(page.all("circle")) == 2 * (13 + 3) and "mos_overall, b/dev by systems" in page.text
    lines = {row[1]: row for row in page.tables["clips"][0][1:]}
    assert len(lines) == 30 and lines["b/dev: clean/0"][5] == "b/dev: clean"
    assert float(lines["a/dev: clean/0"][3]) == pytest.approx(float(lines["b/dev: clean/0"][3]) + 0.3, abs=0.011)
    assert sorted(row[0] for row in page.tables["failed"][0][1:]) == ["a/dev: codec/2", "b/dev: codec/2"]


def test_evaluate_has_no_page_of_pairs_alone(report, clips, tmp_path):
    pair = {"uids": ["a", "b"], "audio_paths": [one.audio_path for one in clips[:2]], "metrics": {"mos_overall": 1.0}}
    (tmp_path / "data_pairs.jsonl").write_text(json.dumps(pair) + "\n")
    (tmp_path / "scores.jsonl").write_text(json.dumps({"uid": "a b", "scores": {"mos_overall": 3.0}}) + "\n")
    options = ["--predictions", tmp_path / "scores.jsonl", "--report", tmp_path / "r.html"]
    code, _, err = report("evaluate", tmp_path / "data_pairs.jsonl", *options)
    assert code == 2 and "--report shows recordings and their labels" in err


def test_score_writes_a_page_of_its_rows(report, model_folder, tmp_path):
    """Recordings of one name in two folders; one is listed twice, one cannot be read."""
    corpus(tmp_path, references=2)
    (tmp_path / "noisy" / "1.wav").write_bytes(b"")
    folders = [tmp_path / "clean", tmp_path / "noisy", tmp_path / "clean"]
    options = ["--model", model_folder, "--output", tmp_path / "rows.jsonl", "--report", tmp_path / "r.html"]
    assert report("score", *folders, *options)[0] == 1
    rows = [json.loads(line) for line in (tmp_path / "rows.jsonl").read_text().splitlines()]
    page = Page(tmp_path / "r.html")
    assert len(rows) == 6 and page.text.startswith("clean, noisy") and len(page.all("polyline")) == 3
    head, *lines = page.tables["clips"][0]
    # Equal names of two folders are told apart by their folders.
    assert {row["uid"] + ".wav" for row in rows} == {row["path"] for row in rows}
    scores = {row["uid"]: row["scores"] and f"{row['scores']['mos_overall']:.2f}" for row in rows}
    assert {line[1]: None if line[2] == NONE else line[2] for line in lines} == scores
    assert head[2] == "mos_overall" and page.tables["failed"][0][1][0] == str(tmp_path / "noisy" / "1")
