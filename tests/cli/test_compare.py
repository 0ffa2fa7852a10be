"""`urgentmos compare`: files, folders, lists of pairs, errors."""

import csv
import json

import pytest

from tests.helpers.commands import refused, run, write_recording


@pytest.fixture(autouse=True)
def _one_device(monkeypatch):
    """Eight devices are not what these tests are about, and take longer to compile for."""
    import jax

    monkeypatch.setattr(jax, "local_devices", lambda: jax.devices()[:1])


def test_compare(model_folder, tmp_path, capsys):
    a, b = write_recording(tmp_path / "x" / "1.wav", 1), write_recording(tmp_path / "y" / "1.flac", 2, 12000)
    model = ("--model", model_folder)
    status, (row,), _ = run(capsys, "compare", a, b, *model)
    values = row["comparison"]["mos_overall"]
    assert (
        status == 0
        and set(values) == {"cmos", "p_a", "p_b", "p_tie", "score_difference"}
        and row["durations_s"] == [0.5, 0.75]
    )
    _, (back,), _ = run(capsys, "compare", b, a, *model)
    assert back["comparison"]["mos_overall"]["cmos"] == pytest.approx(-values["cmos"], abs=2e-6)
    assert back["comparison"]["mos_overall"]["score_difference"] == -values["score_difference"] != 0
    _, (same,), _ = run(capsys, "compare", a, a, *model)
    assert same["comparison"]["mos_overall"]["cmos"] == 0
    _, (raw,), _ = run(capsys, "compare", a, b, *model, "--order", "ab")
    assert len(raw["comparison"]["mos_overall"]["logits"]) == 3
    (tmp_path / "p.jsonl").write_text('{"audio_paths": ["x/1.wav", "y/1.flac"], "uids": ["A", "B"]}\n')
    _, (listed,), _ = run(capsys, "compare", "--pairs", tmp_path / "p.jsonl", *model)
    assert listed["uid"] == "A B" and listed["comparison"] == row["comparison"]


def test_compare_folders_by_name(model_folder, tmp_path, capsys):
    for side, names in (("x", "123"), ("y", "124")):
        for name in names:
            write_recording(tmp_path / side / "deep" / f"{name}.wav", ord(name) + ord(side))
    arguments = ("compare", tmp_path / "x", tmp_path / "y", "--model", model_folder, "--output", tmp_path / "o.csv")
    status = run(capsys, *arguments)[0]
    rows = list(csv.DictReader((tmp_path / "o.csv").open()))
    assert status == 1 and [row["uid"] for row in rows] == [f"deep/{name}" for name in "1234"]
    values = [f"mos_overall_{value}" for value in ("cmos", "p_a", "p_b", "p_tie", "score_difference")]
    ends = ["duration_a_s", "duration_b_s", "windows", "bandwidth_a_hz", "bandwidth_b_hz"]
    ends += ["flags", "model", "error", "message"]
    assert list(rows[0]) == ["uid", "path_a", "path_b", *values, *ends]
    assert json.loads((tmp_path / "o.csv.meta.json").read_text())["counts"]["error:missing"] == 2
    assert [row["error"] for row in rows] == ["", "", "missing", "missing"]
    assert float(rows[0]["mos_overall_cmos"]) != 0 and rows[2]["mos_overall_cmos"] == ""


def test_wrong_usage_of_compare(model_folder, tmp_path, capsys):
    clip = write_recording(tmp_path / "x" / "a.wav", 1)
    write_recording(tmp_path / "y" / "b.wav", 2)
    model = ("--model", model_folder)
    assert "--pairs" in refused(capsys, "compare", clip, *model)
    assert "one of each" in refused(capsys, "compare", clip, tmp_path / "y", *model)
    assert "no recording of the same name" in refused(capsys, "compare", tmp_path / "x", tmp_path / "y", *model)
    write_recording(tmp_path / "twice" / "a.wav", 1)
    write_recording(tmp_path / "twice" / "a.flac", 1)
    error = refused(capsys, "compare", tmp_path / "x", tmp_path / "twice", *model)
    assert "a.wav" in error and "a.flac" in error
    assert "--pairs" in refused(capsys, "compare", clip, clip, "--pairs", tmp_path / "p.jsonl", *model)
    assert ".jsonl or .csv" in refused(capsys, "compare", clip, clip, *model, "--output", tmp_path / "x.txt")
    assert "'scoreq'" in refused(capsys, "compare", clip, clip, *model, "--metrics", "scoreq")
    (tmp_path / "p.jsonl").write_text('{"audio_paths": ["x/a.wav"]}\nx\n')
    error = refused(capsys, "compare", "--pairs", tmp_path / "p.jsonl", *model)
    assert "p.jsonl:1:" in error and "p.jsonl:2:" in error
