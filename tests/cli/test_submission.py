"""`urgentmos submission vmc2026-track1`: predictions of small local parts against `Model.score` and `compare`."""

import json
import zipfile
from pathlib import Path

import numpy as np
import pytest

from tests.helpers.vmc2026 import (
    COMPARED,
    SCORED,
    SECONDS,
    TOLERANCE,
    build,
    expected_predictions,
    parquet,
    read,
    recording,
    sounds,
)
from urgentmos_jax.cli import main
from urgentmos_jax.scoring.loading import load_model
from urgentmos_jax.scoring.model import Model


@pytest.fixture(scope="module")
def source(tmp_path_factory) -> Path:
    return build(tmp_path_factory.mktemp("dataset"), *sounds())


@pytest.fixture(scope="module")
def expected(model_folder) -> dict[str, dict[str, float]]:
    return expected_predictions(load_model(model_folder, compile_cache=False))


def run(source: Path, output: Path, model_folder: Path, *flags: str) -> int:
    paths = ["--source", str(source), "--output", str(output), "--model", str(model_folder)]
    return main(["submission", "vmc2026-track1", *paths, *flags])


def checked(source: Path, file: Path) -> int:
    return main(["submission", "vmc2026-track1", "--source", str(source), "--check", str(file)])


@pytest.mark.slow
@pytest.mark.parametrize("named", [False, True])
def test_predictions_are_those_of_score_and_compare(named, source, expected, model_folder, tmp_path, capsys):
    if named:
        source = build(tmp_path / "named", *sounds(), named=True)
    assert run(source, tmp_path / "predictions.csv", model_folder) == 0
    found = read(tmp_path / "predictions.csv")
    assert list(found) == [*SCORED, *COMPARED]
    assert found == pytest.approx(expected["both"], abs=TOLERANCE)
    assert found["p01"] == -found["p10"] and found["p22"] == 0
    err = capsys.readouterr().err
    assert "5 acr rows (as published 1008 or 4032) and 6 ccr rows" in err and "recordings: 5, each encoded once" in err
    assert "-0.0000" not in (tmp_path / "predictions.csv").read_text()
    about = json.loads((tmp_path / "predictions.csv.meta.json").read_text())
    assert about["counts"] == {"acr": 5, "ccr": 6, "recordings": 5, "clamped": 0, "failed": {}}
    assert about["order"] == "both" and len(about["model_sha256"]) == 64
    assert checked(source, tmp_path / "predictions.csv") == 0
    assert "in order" in capsys.readouterr().err


@pytest.mark.slow
def test_the_authors_order(source, expected, model_folder, tmp_path):
    assert run(source, tmp_path / "p.csv", model_folder, "--order", "ab") == 0
    found = read(tmp_path / "p.csv")
    assert found == pytest.approx(expected["ab"], abs=TOLERANCE)
    assert found["p22"] != 0 and found["p01"] != -found["p10"]


@pytest.mark.slow
def test_a_folder_of_recordings_and_tables(expected, model_folder, tmp_path, capsys):
    root = tmp_path / "mine"
    (root / "wavs").mkdir(parents=True)
    for number in range(len(SECONDS)):
        (root / "wavs" / f"{number}.wav").write_bytes(recording(number))
    (root / "wavs" / "copy.wav").write_bytes(recording(0))
    rows = [f"{name},wavs/{number}.wav" for name, number in SCORED.items() if name != "s0 again"]
    (root / "acr.csv").write_text("\n".join(["sample_id,audio", *rows, "s0 again,wavs/copy.wav", ""]))
    rows = [f"{name},wavs/{a}.wav,wavs/{b}.wav" for name, (a, b) in COMPARED.items()]
    (root / "ccr.csv").write_text("\n".join(["sample_id,audio_a,audio_b", *rows, ""]))
    assert run(root, tmp_path / "p.csv", model_folder) == 0
    assert read(tmp_path / "p.csv") == pytest.approx(expected["both"], abs=TOLERANCE)
    assert "recordings: 5, each encoded once" in capsys.readouterr().err


@pytest.mark.slow
def test_the_way_of_an_entrant(model_folder, tmp_path, capsys):
    """A table of ratings to a manifest, its scores and how they agree, predictions of these recordings, the archive."""
    root = tmp_path / "mine"
    (root / "wavs").mkdir(parents=True)
    for number in range(len(SECONDS)):
        (root / "wavs" / f"{number}.wav").write_bytes(recording(number))
    rows = [f"wavs/{number}.wav,{'ab'[number % 2]},{4.5 - number / 2}" for number in range(len(SECONDS))]
    (root / "ratings.csv").write_text("\n".join(["file,system,rating", *rows, ""]))
    data, model = tmp_path / "data" / "mine" / "dev", ["--model", str(model_folder)]
    columns = ["--audio", "file", "--system", "system", "--metric", "mos_overall=rating"]
    assert main(["prepare", "custom", "--source", str(root / "ratings.csv"), "--output", str(data), *columns]) == 0
    assert main(["score", str(data / "data.jsonl"), "--output", str(tmp_path / "scores.jsonl"), *model]) == 0
    scores = {
        Path(row["path"]).stem: row["scores"]["mos_overall"]
        for row in map(json.loads, (tmp_path / "scores.jsonl").read_text().splitlines())
    }
    predictions = ["--predictions", str(tmp_path / "scores.jsonl")]
    assert main(["evaluate", str(data / "data.jsonl"), *predictions, "--json", str(tmp_path / "e.json")]) == 0

    items = [f"{name},wavs/{number}.wav" for name, number in SCORED.items()]
    (root / "acr.csv").write_text("\n".join(["sample_id,audio", *items, ""]))
    items = [f"{name},wavs/{a}.wav,wavs/{b}.wav" for name, (a, b) in COMPARED.items()]
    (root / "ccr.csv").write_text("\n".join(["sample_id,audio_a,audio_b", *items, ""]))
    assert run(root, tmp_path / "p.csv", model_folder, "--zip") == 0
    with zipfile.ZipFile(tmp_path / "p.zip") as archive:
        archive.extract("predictions.csv", tmp_path / "handed_in")
    found = read(tmp_path / "handed_in" / "predictions.csv")
    assert list(found) == [*SCORED, *COMPARED]
    wanted = {name: scores[str(number)] for name, number in SCORED.items()}
    assert {name: found[name] for name in SCORED} == pytest.approx(wanted, abs=TOLERANCE)
    assert checked(root, tmp_path / "handed_in" / "predictions.csv") == 0
    capsys.readouterr()


def test_the_archive_that_is_handed_in(source, model_folder, tmp_path, capsys):
    assert run(source, tmp_path / "mine.csv", model_folder, "--zip") == 0
    assert "mine.zip: to be handed in" in capsys.readouterr().err
    packed = (tmp_path / "mine.zip").read_bytes()
    with zipfile.ZipFile(tmp_path / "mine.zip") as archive:
        assert archive.namelist() == ["predictions.csv"] and archive.testzip() is None
        assert archive.read("predictions.csv") == (tmp_path / "mine.csv").read_bytes()
    (tmp_path / "mine.zip").unlink()
    paths = ["--source", str(source), "--check", str(tmp_path / "mine.csv"), "--zip"]
    assert main(["submission", "vmc2026-track1", *paths]) == 0
    assert (tmp_path / "mine.zip").read_bytes() == packed
    (tmp_path / "mine.zip").unlink()
    (tmp_path / "mine.csv").write_text("sample_id,pred_score\n")
    assert main(["submission", "vmc2026-track1", *paths]) == 1 and not (tmp_path / "mine.zip").exists()
    (tmp_path / "mine.zip").mkdir()
    assert run(source, tmp_path / "mine.csv", model_folder, "--zip") == 4
    assert "--zip" in capsys.readouterr().err


@pytest.mark.slow
def test_what_cannot_be_judged_keeps_its_row(expected, model_folder, tmp_path, capsys):
    scored, compared = sounds()
    scored |= {"page": b"<html>404</html>", "nothing": None, "short": recording(0)[:144]}
    compared |= {"half": (recording(4), b"<html>404</html>"), "none": (None, recording(0))}
    source = build(tmp_path / "source", scored, compared)
    assert run(source, tmp_path / "p.csv", model_folder) == 1
    found = read(tmp_path / "p.csv")
    assert list(found) == [*scored, *compared]
    middle = np.mean([expected["both"][name] for name in SCORED])
    wanted = dict.fromkeys(("page", "nothing", "short"), middle) | {"half": 0.0, "none": 0.0}
    assert found == pytest.approx(expected["both"] | wanted, abs=TOLERANCE)
    err = capsys.readouterr().err
    assert "5 rows could not be scored" in err and "acr nothing: audio: no recording in the row" in err
    assert "ccr half: audio_b: " in err and "acr page: audio: " in err and str(tmp_path / "source") not in err
    assert "ccr none: audio_a: no recording in the row" in err and "the mean of the other scores" in err
    failed = json.loads((tmp_path / "p.csv.meta.json").read_text())["counts"]["failed"]
    assert failed.keys() == {"acr page", "acr nothing", "acr short", "ccr half", "ccr none"}
    assert checked(source, tmp_path / "p.csv") == 0


def test_everything_wrong_with_a_file_comes_at_once(source, tmp_path, capsys):
    file = tmp_path / "p.csv"
    good = [f"{name},3.1" for name in SCORED] + [f"{name},-3" for name in COMPARED]
    file.write_text("\n".join(["sample_id,pred_score", *good]))
    assert checked(source, file) == 0
    rows = ["id,score", "s0,0.9999", "s1,3.14159", "s2,good", "s3,nan", "s0,2", "x,3", "p01,3.1", "p10,1e0", "p12"]
    file.write_text("\n".join([*rows, "p22,-3.0001", ""]))
    capsys.readouterr()
    assert checked(source, file) == 1
    assert capsys.readouterr().err.splitlines() == [
        f"14 faults of {file}:",
        *(
            f"  {file}:{fault}"
            for fault in (
                "1: the header is 'id,score', it has to be 'sample_id,pred_score'",
                "2: 0.9999 is outside 1 to 5, the range of acr",
                "3: 3.14159: write it with at most 4 decimals, as 3.1416",
                "4: 'good' is not a number",
                "5: 'nan' is not a number",
                "6: sample_id 's0' is that of line 2 too",
                "7: sample_id 'x' is in neither part",
                "8: 3.1 is outside -3 to 3, the range of ccr",
                "9: 1e0: write it with at most 4 decimals, as 1.0000",
                "10: has 1 cells, 2 expected",
                "11: -3.0001 is outside -3 to 3, the range of ccr",
                " acr 's0 again' is missing",
                " ccr 'p40' is missing",
                " ccr 'p24' is missing",
            )
        ),
    ]


def test_files_that_are_no_predictions(source, tmp_path, capsys):
    file = tmp_path / "p.csv"
    file.write_text("")
    assert checked(source, file) == 1
    assert "the header is ''" in capsys.readouterr().err
    file.write_text("\ufeffsample_id,pred_score\n" + "".join(f"{name},1\n" for name in [*SCORED, *COMPARED]))
    assert checked(source, file) == 1
    assert capsys.readouterr().err == f"{file}:1: starts with a byte-order mark; save it as UTF-8 without one\n"
    file.write_bytes(b"sample_id,pred_score\n\xff,1\n")
    assert checked(source, file) == 2
    assert f"{file}:2: is not UTF-8" in capsys.readouterr().err
    assert checked(source, tmp_path / "none.csv") == 2
    assert "no such file" in capsys.readouterr().err


def test_wrong_sources(tmp_path, model_folder, capsys):
    def refused(source: Path, *flags: str) -> str:
        assert run(source, tmp_path / "p.csv", model_folder, *flags) == 2
        assert not (tmp_path / "p.csv").exists()
        err = capsys.readouterr().err
        assert "Traceback" not in err
        return err

    assert "--repo-type dataset --local-dir" in refused(tmp_path / "none")
    (tmp_path / "empty").mkdir()
    assert "(acr): cannot be read as a hub dataset" in refused(tmp_path / "empty")
    made = recording(0)
    half = tmp_path / "half"
    parquet(half / "acr" / "test-00000-of-00001.parquet", {"sample_id": ["a"], "audio": [made]})
    assert f"{half} (ccr): no such configuration" in refused(half)
    parquet(half / "ccr" / "test-00000-of-00001.parquet", {"sample_id": ["a"], "audio_a": [made]})
    assert "(ccr): no column 'audio_b'; the columns are ['sample_id', 'audio_a']" in refused(half)
    columns = {"sample_id": ["a", "b", "b"], "audio_a": [made] * 3, "audio_b": [made] * 3}
    parquet(half / "ccr" / "test-00000-of-00001.parquet", columns)
    err = refused(half)
    assert "'a' is that of" in err and "(acr):0 too" in err and "'b' is that of" in err and "(ccr):1 too" in err
    damaged = half / "ccr" / "test-00000-of-00001.parquet"
    damaged.write_bytes(damaged.read_bytes()[:-100])
    assert "(ccr): cannot be read as a hub dataset" in refused(half)


def test_a_model_without_comparisons(source, model_folder, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(Model, "comparative_metrics", ())
    assert run(source, tmp_path / "p.csv", model_folder) == 2
    assert "predicts no mos_overall of recordings and of pairs" in capsys.readouterr().err


def test_wrong_usage(source, tmp_path, capsys):
    with pytest.raises(SystemExit):
        main(["submission", "vmc2026-track1", "--source", str(source)])
    assert "one of the arguments --output --check is required" in capsys.readouterr().err
    assert run(source, tmp_path / "p.txt", tmp_path) == 2
    assert "ends in .csv" in capsys.readouterr().err
