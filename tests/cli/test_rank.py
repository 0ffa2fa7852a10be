"""`urgentmos rank`: folders, manifests, predictions, and each recording encoded once."""

import argparse
import json
from pathlib import Path

import numpy as np
import pytest
import soundfile

from tests.helpers.corpus import speech_like
from tests.helpers.counting import count_encoded
from tests.helpers.rated_sets import COLUMNS, DATA
from urgentmos_jax.cli import main, rank
from urgentmos_jax.manifests.records import Utterance
from urgentmos_jax.manifests.writing import write_utterances
from urgentmos_jax.ranking.systems import read_systems
from urgentmos_jax.scoring.loading import load_model

NOISE = {"clean": 0.0, "some": 0.1, "much": 0.5}
REFERENCES = ("a", "b", "deep/c", "d")


@pytest.fixture(scope="module")
def folders(tmp_path_factory) -> list[Path]:
    """Three systems, four references; the last has one clip less."""
    root = tmp_path_factory.mktemp("systems")
    for seed, (name, noise) in enumerate(NOISE.items()):
        for number, reference in enumerate(REFERENCES):
            if (name, reference) == ("much", "d"):
                continue
            path = root / name / f"{reference}.{'flac' if noise else 'wav'}"
            path.parent.mkdir(parents=True, exist_ok=True)
            samples = 4000 + 700 * number
            clip = speech_like(number, samples) + noise * np.random.default_rng(seed).standard_normal(samples)
            soundfile.write(path, 0.5 * clip / np.abs(clip).max(), 16000)
    return [root / name for name in NOISE]


@pytest.fixture(scope="module")
def model(model_folder):
    return load_model(model_folder)


@pytest.fixture
def encoded(monkeypatch) -> list[list[int]]:
    """Samples of each window that the model of the command encodes."""
    lengths: list[list[int]] = []
    load = rank.load

    def watched(arguments):
        model = load(arguments)
        lengths.append(count_encoded(model))
        return model

    monkeypatch.setattr(rank, "load", watched)
    return lengths


def ranked(output: Path, *arguments: object, status: int = 0) -> dict:
    assert main(["rank", *map(str, arguments), "--output", str(output)]) == status
    return json.loads(output.read_text())


def test_folders_are_scored_and_compared_and_each_clip_is_encoded_once(
    folders, model_folder, model, encoded, tmp_path, capsys
):
    found = ranked(tmp_path / "F.json", *folders, "--model", model_folder)
    assert len(encoded[0]) == 11
    text = capsys.readouterr().out
    systems = {system["name"]: system for system in found["systems"]}
    assert set(systems) == set(NOISE) and [systems[name]["clips"] for name in NOISE] == [4, 4, 3]
    assert found["missing"] == [{"system": "much", "reference": "d"}] and "much: d" in text
    assert found["model"] == str(model_folder) and found["failed"] == {} and found["references"] == 4
    assert any("10 comparisons by the CMOS head of mos_overall" in note for note in found["notes"])
    for folder in folders:
        rows = model.score(sorted(path for path in folder.rglob("*") if path.is_file()))
        wanted = np.mean([row["scores"]["mos_overall"] for row in rows])
        assert systems[folder.name]["mean"]["value"] == pytest.approx(wanted, abs=1e-5)
    names = [system["name"] for system in found["systems"]]
    for one, other in ((0, 1), (0, 2), (1, 2)):
        pairs = [
            (clip, partner)
            for clip in folders[0].parent.joinpath(names[one]).rglob("*.*")
            for partner in folders[0].parent.joinpath(names[other]).rglob(f"{clip.stem}.*")
        ]
        rows = [row["comparison"]["mos_overall"] for row in model.compare(pairs)]
        assert found["shared"][one][other] == len(rows) == (3 if "much" in (names[one], names[other]) else 4)
        wanted = np.mean([row["p_a"] + row["p_tie"] / 2 for row in rows])
        assert found["wins"][one][other] == pytest.approx(wanted, abs=1e-5)
        assert found["wins"][other][one] == pytest.approx(1 - wanted, abs=1e-5)


def parsed(*arguments: object) -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    rank.add_arguments(parser)
    return parser.parse_args([str(argument) for argument in arguments])


def test_scores_only_and_a_metric_without_cmos_head_compare_scores(folders, model_folder, encoded, tmp_path):
    for flags in (["--scores-only"], ["--metric", "utmos"]):
        encoded.clear()
        found = ranked(tmp_path / "F.json", *folders, "--model", model_folder, *flags)
        assert len(encoded[0]) == 11 and "10 comparisons of the scores" in found["notes"][0]
        thirds_and_quarters = {None, *(n / d for d in (3, 4) for n in range(d + 1))}
        assert {share for row in found["wins"] for share in row} <= thirds_and_quarters


def test_most_pairs_are_drawn_and_said(folders, model_folder, tmp_path):
    found = ranked(tmp_path / "F.json", *folders, "--model", model_folder, "--most-pairs", 5, "--seed", 3)
    assert sum(map(sum, found["shared"])) == 10 and found["seed"] == 3
    assert "5 comparisons, sampled from 10 (seed 3" in found["notes"][0]


def test_a_broken_recording_is_told_and_counted(folders, model_folder, tmp_path, capsys):
    broken = tmp_path / "broken"
    broken.mkdir()
    for name in ("a", "b"):
        (broken / f"{name}.wav").write_bytes(b"nothing")
    found = ranked(tmp_path / "F.json", *folders[:2], broken, "--model", model_folder, status=1)
    captured = capsys.readouterr()
    assert set(found["failed"]) == {"broken/a", "broken/b"} and "2 recordings have no score" in captured.err
    assert found["systems"][-1] == {
        **{"name": "broken", "group": "", "clips": 0, "place_by_mean": 3},
        **{key: {"value": None, "low": None, "high": None} for key in ("mean", "strength", "win_rate")},
    }
    assert {"system": "broken", "reference": "a"} in found["missing"] and len(found["missing"]) == 4
    assert "n/a" in captured.out and "4 comparisons (4 more failed) by" in captured.out


def test_predictions_are_found_by_uid_or_path(folders, model_folder, tmp_path, capsys):
    scores = tmp_path / "scores.jsonl"
    assert main(["score", str(folders[0].parent), "--model", str(model_folder), "--output", str(scores)]) == 0
    by_uid = ranked(tmp_path / "uid.json", *folders, "--predictions", scores)
    rows = [json.loads(line) for line in scores.read_text().splitlines()]
    renamed = tmp_path / "renamed.jsonl"
    renamed.write_text("".join(json.dumps(row | {"uid": f"x{n}"}) + "\n" for n, row in enumerate(rows)))
    by_path = ranked(tmp_path / "path.json", *folders, "--predictions", renamed)
    by_model = ranked(tmp_path / "model.json", *folders, "--model", model_folder, "--scores-only")
    for name in ("systems", "wins", "missing", "notes"):
        assert by_uid[name] == by_path[name]
    assert [s["name"] for s in by_uid["systems"]] == [s["name"] for s in by_model["systems"]]
    capsys.readouterr()
    fewer = tmp_path / "fewer.csv"
    fewer.write_text("uid,mos_overall\nclean/a,4\nclean/b,4\nsome/a,3\nsome/b,4\n")
    markdown = tmp_path / "new" / "F.md"
    found = ranked(tmp_path / "F.json", *folders[:2], "--predictions", fewer, "--markdown", markdown, status=1)
    assert len(found["failed"]) == 4 and len(found["missing"]) == 4
    assert found["wins"][0][1] == 0.75 and "has no mos_overall of it" in capsys.readouterr().err
    assert markdown.read_text().startswith("|")


def test_a_manifest_of_systems(tmp_path, capsys):
    clips = [
        Utterance(
            f"{s}{r}", f"{s}{r}.wav", 1.0, f"system {s}", f"r{r}", {"mos_overall": 1 + s + r / 10, "pesq": 3.0 - s}
        )
        for s in range(3)
        for r in range(7)
    ]
    data = tmp_path / "data.jsonl"
    write_utterances(data, clips)
    found = ranked(tmp_path / "F.json", data, "--predictions", data)
    assert [system["name"] for system in found["systems"]] == ["system 2", "system 1", "system 0"]
    assert [system["group"] for system in found["systems"]] == ["A", "B", "C"] and found["missing"] == []
    other = ranked(tmp_path / "G.json", data, "--predictions", data, "--metric", "pesq")
    assert [system["name"] for system in other["systems"]] == ["system 0", "system 1", "system 2"]
    lines = capsys.readouterr().out.splitlines()
    assert max(map(len, lines)) <= 120 and lines[1].split()[:3] == ["1", "system", "2"]


@pytest.mark.skipif(not DATA.is_dir(), reason="the rated sets are there in development and CI only")
def test_listeners_put_the_reference_first(tmp_path):
    source = str(DATA / "codec-mushra" / "ratings.csv")
    columns = ["--audio", "file", *COLUMNS["codec-mushra"]]
    assert main(["prepare", "custom", "--source", source, "--output", str(tmp_path / "mushra"), *columns]) == 0
    data = tmp_path / "mushra" / "data.jsonl"
    found = ranked(tmp_path / "F.json", data, "--predictions", data)
    first, *others = found["systems"]
    assert first["name"] == "Reference" and first["win_rate"]["value"] == 1.0 and first["place_by_mean"] == 1
    assert len(others) == 7 and {system["clips"] for system in found["systems"]} == {11}
    assert others[-1]["name"] == "Lyra 3" and not set(others[-1]["group"]) & set(first["group"])
    assert found["missing"] == [] and np.unique(found["shared"]).tolist() == [0, 11]


def test_the_folder_above_the_systems_is_asked_about(folders, tmp_path, caplog):
    read_systems(folders)
    read_systems([folders[1]])  # One folder in it is nothing to rank.
    assert not caplog.text
    assert {one.system_id for one in read_systems([folders[0].parent])} == {folders[0].parent.name}
    assert f"{folders[0].parent}: taken as one system; if the 3 folders in it are systems, give each" in caplog.text


def test_wrong_usage_is_named(folders, model_folder, tmp_path, capsys):
    def refused(*arguments: object, status: int = 2) -> str:
        assert main(["rank", *map(str, arguments)]) == status
        return capsys.readouterr().err

    clip = folders[0] / "a.wav"
    assert "no such folder" in refused(*folders, tmp_path / "none", "--model", model_folder)
    assert "not a folder" in refused(clip, "--model", model_folder)
    assert "the model has mos_overall" in refused(*folders, "--model", model_folder, "--metric", "volume")
    assert "--most-pairs" in refused(*folders, "--model", model_folder, "--most-pairs", "-1")
    twin = tmp_path / "clean"
    twin.mkdir()
    (twin / "a.wav").write_bytes(clip.read_bytes())
    assert "two systems named 'clean'" in refused(folders[0], twin, "--model", model_folder)
    (twin / "a.flac").write_bytes(clip.read_bytes())
    assert "of the same name" in refused(twin, "--model", model_folder)
    predictions = tmp_path / "p.csv"
    predictions.write_text("uid,pesq\nx,3\n")
    assert "has no mos_overall, but pesq" in refused(*folders, "--predictions", predictions)
    assert "uids are as 'x'" in refused(*folders, "--predictions", predictions, "--metric", "pesq")
    assert "not both" in refused(*folders, "--predictions", predictions, "--model", "m")
    predictions.write_text("uid,pesq\nx,loud\n")
    assert "p.csv:2" in refused(*folders, "--predictions", predictions)
    data = tmp_path / "data.jsonl"
    data.write_text(json.dumps({"uid": "u", "audio_path": str(clip), "duration": 1.0}) + "\n")
    assert "data.jsonl:1: no system_id" in refused(data, "--model", model_folder)
    (tmp_path / "file").touch()
    predictions.write_text("uid,mos_overall\nclean/a,3\n")
    named = ("--predictions", predictions, "--output", tmp_path / "file" / "F.json")
    assert "--output" in refused(folders[0], *named, status=4)
