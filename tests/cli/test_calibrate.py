"""`urgentmos calibrate`: from pairs to a model folder whose scores and comparisons are calibrated everywhere."""

import json
from itertools import combinations

import jax
import numpy as np
import pytest

from tests.helpers.commands import refused, run, write_recording
from urgentmos_jax.cli import main
from urgentmos_jax.manifests.records import Pair
from urgentmos_jax.manifests.writing import write_pairs
from urgentmos_jax.scoring.loading import load_model
from urgentmos_jax.weights.model_folder import ModelFolderError

REFERENCES, SYSTEMS = 4, 6


@pytest.fixture(autouse=True)
def _one_device(monkeypatch):
    """Eight devices are not what these tests are about, and take longer to compile for."""
    monkeypatch.setattr(jax, "local_devices", lambda: jax.devices()[:1])


@pytest.fixture(scope="module")
def labelled(tmp_path_factory, model_folder):
    """Folder with recordings of systems, and pairs whose labels are a known distortion of the model's scores."""
    folder = tmp_path_factory.mktemp("calibrate")
    paths = {
        (r, s): write_recording(folder / f"s{s}" / f"r{r}.wav", 10 * r + s)
        for r in range(REFERENCES)
        for s in range(SYSTEMS)
    }
    model = load_model(model_folder)
    rows = model.score(list(paths.values()), metrics=["mos_overall"])
    scores = {key: row["scores"]["mos_overall"] for key, row in zip(paths, rows, strict=True)}
    spread = np.std(list(scores.values()))
    pairs = [
        Pair(
            (f"s{a}/r{r}", f"s{b}/r{r}"),
            (str(paths[r, a]), str(paths[r, b])),
            (0.5, 0.5),
            {"mos_overall": 0.8 * (scores[r, a] - scores[r, b]) / spread},
            {"reference_ids": [f"r{r}"] * 2},
        )
        for r in range(REFERENCES)
        for a, b in combinations(range(SYSTEMS), 2)
    ]
    write_pairs(folder / "pairs.jsonl", pairs)
    return folder, scores, 0.8 / spread


@pytest.mark.slow
def test_a_calibrated_model_is_used_and_told_everywhere(labelled, model_folder, tmp_path, capsys):
    folder, scores, slope = labelled
    output, report = tmp_path / "m2", tmp_path / "c.json"
    pairs = folder / "pairs.jsonl"
    arguments = ["calibrate", str(pairs), "--model", str(model_folder), "--output", str(output), "--json", str(report)]
    assert main(arguments) == 0
    text = capsys.readouterr().out
    assert "60 pairs, 4 groups" in text and "squared error of the CMOS, with less without calibration: -" in text
    assert "no gain is shown" not in text and f"{output}: calibrated mos_overall" in text
    held = json.loads((output / "config.json").read_text())["calibration"]["mos_overall"]
    assert held == json.loads(report.read_text())["mos_overall"]["calibration"]
    assert held["pairs"] == 60 and held["gain"]["mse"][2] < 0
    # Labels are a straight line of the scores: as many segments as there are lie on it.
    mean = np.mean(list(scores.values()))
    wanted = {key: mean + slope * (score - mean) for key, score in scores.items()}
    status, rows, err = run(capsys, "score", folder / "s0", "--model", output, "--metrics", "mos_overall")
    assert status == 0 and "calibrated: 4" in err and all(row["flags"][-1] == "calibrated" for row in rows)
    found = [row["scores"]["mos_overall"] for row in rows]
    assert found == pytest.approx([wanted[r, 0] for r in range(REFERENCES)], abs=0.02 * slope)
    a, b = (folder / f"s{s}" / "r1.wav" for s in (1, 2))
    _, (row,), _ = run(capsys, "compare", a, b, "--model", output)
    _, (back,), _ = run(capsys, "compare", b, a, "--model", output)
    one, other = (side["comparison"]["mos_overall"] for side in (row, back))
    assert row["flags"][-1] == "calibrated" and one["cmos"] == pytest.approx(-other["cmos"], abs=2e-6) != 0
    assert (one["p_a"], one["p_tie"]) == pytest.approx((other["p_b"], other["p_tie"]), abs=2e-6)
    assert one["cmos"] == pytest.approx(wanted[1, 1] - wanted[1, 2], abs=0.1)
    # `evaluate`: on what it was fitted to, nearly every class is right.
    evaluated = tmp_path / "e.json"
    assert main(["evaluate", str(pairs), "--model", str(output), str(model_folder), "--json", str(evaluated)]) == 0
    note = "mos_overall by 60 pairs"
    assert f"m2 is calibrated: {note}" in capsys.readouterr().out
    result = json.loads(evaluated.read_text())
    assert result["calibrated"] == {"m2": note}
    accuracies = [one["levels"]["pair"]["figures"]["acc_0"]["value"] for one in result["results"]]
    assert accuracies[0] > 0.95
    # `rank`, `info`, the record beside rows, Python.
    ranked = tmp_path / "r.json"
    systems = [str(folder / f"s{s}") for s in range(SYSTEMS)]
    assert main(["rank", *systems, "--model", str(output), "--output", str(ranked)]) == 0
    assert f"The model is calibrated: {note}." in capsys.readouterr().out
    assert json.loads(ranked.read_text())["calibration"] == {"mos_overall": held}
    assert main(["info", str(output)]) == 0
    assert f"calibrated   {note}, squared error of the CMOS -" in capsys.readouterr().out
    model, plain = load_model(output), load_model(model_folder)
    assert model.describe()["model_sha256"] == plain.describe()["model_sha256"]
    assert plain.describe()["calibration"] is None and model.with_calibrations({}).calibration_note == ""
    waveform, lengths = np.zeros((1, 8000), np.float32), np.array([8000], np.int32)
    calibrated, raw = (float(one.apply(waveform, lengths)["mos_overall"][0]) for one in (model, plain))
    assert calibrated == pytest.approx(model.calibrations["mos_overall"].score(raw), abs=1e-5) != raw
    # A model that is calibrated is calibrated anew, from its own scores.
    again = ["calibrate", str(pairs), "--model", str(output), "--output", str(tmp_path / "m3")]
    assert main(again) == 0
    assert json.loads((tmp_path / "m3" / "config.json").read_text())["calibration"]["mos_overall"] == held


def test_what_is_refused(model_folder, tmp_path, capsys):
    clips = [str(write_recording(tmp_path / f"{number}.wav", number)) for number in range(11)]
    label = {"mos_overall": 1.0}
    pairs = [Pair(sides, sides, (0.5, 0.5), label) for sides in combinations(clips, 2)][:49]
    few = tmp_path / "few.jsonl"
    write_pairs(few, pairs)
    lines = few.read_text().splitlines()
    # Both orders of a pair count once.
    turned = [json.loads(line) for line in lines]
    for one in turned:
        one.update(uids=one["uids"][::-1], audio_paths=one["audio_paths"][::-1])
        one["metrics"] = {name: -value for name, value in one["metrics"].items()}
    few.write_text("".join(f"{line}\n" for line in [*lines, *map(json.dumps, turned)]))
    options = ("--model", model_folder, "--output")
    err = refused(capsys, "calibrate", few, *options, tmp_path / "m2")
    assert "mos_overall: 49 labelled pairs, give at least 50" in err and not (tmp_path / "m2").exists()
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "x").touch()
    assert "holds other than a model" in refused(capsys, "calibrate", few, *options, tmp_path / "full")
    row = {"uid": "a", "audio_path": clips[0], "duration": 0.5, "metrics": {"mos_overall": 3}}
    (tmp_path / "data.jsonl").write_text(json.dumps(row) + "\n")
    err = refused(capsys, "calibrate", tmp_path / "data.jsonl", *options, tmp_path / "m2")
    assert "lists recordings; `urgentmos pairs` makes pairs of them" in err
    assert "no such file" in refused(capsys, "calibrate", tmp_path / "nothing.jsonl", *options, tmp_path / "m2")


def test_a_calibration_that_is_damaged_is_named(model_folder, tmp_path):
    for name, change in (
        ("unknown metrics \\['other'\\]", {"other": {}}),
        ("missing key calibration.mos_overall.scores", {"mos_overall": {}}),
        ("expected entries by name", [1]),
    ):
        config = json.loads((model_folder / "config.json").read_text()) | {"calibration": change}
        (tmp_path / "config.json").write_text(json.dumps(config))
        (tmp_path / "model.safetensors").write_bytes((model_folder / "model.safetensors").read_bytes())
        with pytest.raises(ModelFolderError, match=name):
            load_model(tmp_path)
