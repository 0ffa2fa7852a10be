"""`urgentmos score`: rows, exit status, errors."""

import csv
import io
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile

from tests.helpers.commands import refused, run, write_recording
from tests.helpers.corpus import speech_like
from urgentmos_jax.cli import main
from urgentmos_jax.evaluation.predictions import read_predictions
from urgentmos_jax.manifests.inputs import expand


@pytest.fixture(autouse=True)
def _one_device(monkeypatch):
    """Eight devices are not what these tests are about, and take longer to compile for."""
    import jax

    monkeypatch.setattr(jax, "local_devices", lambda: jax.devices()[:1])


@pytest.fixture
def mixed(tmp_path) -> Path:
    """Three good clips and five bad ones."""
    folder = tmp_path / "mixed"
    for name, seed in (("b", 1), ("e", 2), ("h", 3)):
        write_recording(folder / f"{name}.wav", seed)
    (folder / "a.wav").write_bytes(b"")
    (folder / "c.wav").write_text("<!DOCTYPE html><html><body>404 Not Found</body></html>\n" * 20)
    whole = write_recording(folder / "d.wav", 4, 16000).read_bytes()
    (folder / "d.wav").write_bytes(whole[: len(whole) // 2])
    broken = speech_like(5, 8000)
    broken[4000] = np.nan
    soundfile.write(folder / "f.wav", broken, 16000, subtype="FLOAT")
    write_recording(folder / "g.wav", 6, 100)
    return folder


def test_bad_files_leave_good_ones_alone(mixed, model_folder, tmp_path, capsys):
    output = tmp_path / "scores.jsonl"
    status, _, err = run(capsys, "score", mixed, "--model", model_folder, "--output", output)
    rows = [json.loads(line) for line in output.read_text().splitlines()]
    assert status == 1 and "8 rows, 3 done, 5 failed" in err
    assert [row["uid"] for row in rows] == list("abcdefgh")
    codes = [row["error"] and row["error"]["code"] for row in rows]
    assert codes == ["empty", None, "undecodable", "truncated", None, "non_finite", "too_short", None]
    for row in rows:
        assert (row["scores"] is None) == (row["error"] is not None)
        assert row["error"] is None or f"{row['uid']}.wav" in row["error"]["message"]
    good = [mixed / f"{name}.wav" for name in "beh"]
    status, alone, _ = run(capsys, "score", *good, "--model", model_folder)
    assert status == 0
    assert [row["scores"] for row in rows if row["scores"]] == [pytest.approx(r["scores"], abs=2e-6) for r in alone]
    meta = json.loads((tmp_path / "scores.jsonl.meta.json").read_text())
    assert meta["counts"] == {
        "rows": 8, "done": 3, "failed": 5, "error:empty": 1, "error:undecodable": 1, "error:truncated": 1,
        "error:non_finite": 1, "error:too_short": 1, "flag:narrowband": 1,
    }  # fmt: skip
    assert meta["resampler"] == "soxr_hq" and "60 s" in meta["window_rule"] and len(meta["model_sha256"]) == 64


def test_csv_has_the_same_rows(mixed, model_folder, tmp_path, capsys):
    output = tmp_path / "scores.csv"
    assert run(capsys, "score", mixed, "--model", model_folder, "--output", output, "--metrics", "utmos,scoreq")[0] == 1
    rows = list(csv.DictReader(output.open()))
    assert list(rows[0]) == [
        *("uid", "path", "utmos", "scoreq", "duration_s", "windows", "bandwidth_hz", "flags", "model", "error"),
        "message",
    ]
    assert [row["error"] for row in rows].count("") == 3 and len(rows) == 8
    assert all((row["utmos"] == "") == (row["error"] != "") for row in rows)


@pytest.mark.slow
def test_every_kind_of_input(model_folder, tmp_path, capsys, monkeypatch):
    a = write_recording(tmp_path / "audio" / "a.wav", 1)
    b = write_recording(tmp_path / "audio" / "deep" / "b.flac", 2)
    (tmp_path / "l.jsonl").write_text(
        '\ufeff{"uid": "A", "audio_path": "audio/a.wav"}\r\n\r\n' + json.dumps({"audio_path": str(b)}) + "\n"
    )
    (tmp_path / "l.csv").write_text("uid,path\nA,audio/a.wav\nB,audio/deep/b.flac\n")
    (tmp_path / "l.scp").write_text("A audio/a.wav\nB audio/deep/b.flac\n")
    (tmp_path / "l.txt").write_text("audio/a.wav\naudio/deep/b.flac\n")
    _, wanted, _ = run(capsys, "score", a, b, "--model", model_folder)
    uids = {"l.jsonl": ["A", str(b)], "l.csv": ["A", "B"], "l.scp": ["A", "B"], "audio": ["a", "deep/b"]}
    for name in ("l.jsonl", "l.csv", "l.scp", "l.txt", "audio"):
        status, rows, _ = run(capsys, "score", tmp_path / name, "--model", model_folder)
        assert status == 0 and [row["scores"] for row in rows] == [row["scores"] for row in wanted]
        assert [row["uid"] for row in rows] == uids.get(name, ["audio/a.wav", "audio/deep/b.flac"])
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(f"{a}\n{b}\n".encode())))
    _, rows, _ = run(capsys, "score", "-", "--model", model_folder)
    assert [row["path"] for row in rows] == [str(a), str(b)]
    shutil.move(tmp_path / "l.txt", tmp_path / "audio" / "l.txt")
    _, rows, _ = run(capsys, "score", tmp_path / "audio" / "l.txt", "--model", model_folder, "--audio-root", tmp_path)
    assert [row["scores"] for row in rows] == [row["scores"] for row in wanted]


@pytest.mark.slow
def test_no_input_is_lost_beyond_the_first_groups(model_folder, tmp_path, capsys):
    # Decoded in groups of 32 and then 256; every seventh fails.
    for i in range(300):
        path = tmp_path / f"{i:03}.wav"
        path.write_bytes(b"") if i % 7 == 0 else soundfile.write(path, speech_like(i, 1600), 16000)
    status, rows, err = run(capsys, "score", tmp_path, "--model", model_folder, "--metrics", "utmos")
    assert status == 1 and "300 rows, 257 done, 43 failed" in err
    assert [row["uid"] for row in rows] == [f"{i:03}" for i in range(300)]
    assert all((row["scores"] is None) == (i % 7 == 0) for i, row in enumerate(rows))
    assert len({row["scores"]["utmos"] for row in rows if row["scores"]}) > 200, "each has a score of its own"


def test_a_file_name_that_is_not_utf8(model_folder, tmp_path, capsys):
    folder = tmp_path / "audio"
    write_recording(folder / "b.wav", 1)
    try:
        shutil.copy(folder / "b.wav", os.fsencode(folder) + b"/caf\xe9.wav")
    except OSError:
        pytest.skip("file names are UTF-8 on this disk")
    for output in (tmp_path / "o.jsonl", tmp_path / "o.csv"):
        assert run(capsys, "score", folder, "--model", model_folder, "--output", output)[0] == 0
        assert len(output.read_text().splitlines()) == 2 + (output.suffix == ".csv")
    rows = [json.loads(line) for line in (tmp_path / "o.jsonl").read_text().splitlines()]
    assert os.fsencode(rows[1]["path"]) == os.fsencode(folder) + b"/caf\xe9.wav"


def test_frames(model_folder, tmp_path, capsys):
    clip = write_recording(tmp_path / "a.wav", 1)
    _, (row,), _ = run(capsys, "score", clip, "--model", model_folder, "--frames", "--metrics", "mos_overall")
    frames = row["frames"]["mos_overall"]
    assert row["frame_rate_hz"] == 50 and len(frames["scores"]) == len(frames["weights"]) == 24
    assert sum(frames["weights"]) == pytest.approx(1, abs=1e-4)


def test_wrong_usage_of_score(model_folder, tmp_path, capsys, monkeypatch):
    clip = write_recording(tmp_path / "a.wav", 1)
    model = ("--model", model_folder)
    (tmp_path / "bad.jsonl").write_text('{"audio_path": 3}\n{"uid": "x"\n[]\n{"audio_path": "a.wav"}\n')
    (tmp_path / "empty").mkdir()
    error = refused(capsys, "score", tmp_path / "bad.jsonl", *model)
    assert all(f"bad.jsonl:{line}:" in error for line in (1, 2, 3)) and "bad.jsonl:4" not in error
    assert "bogus" in refused(capsys, "score", clip, *model, "--metrics", "utmos,bogus")
    assert ".jsonl or .csv" in refused(capsys, "score", clip, *model, "--output", tmp_path / "x.txt")
    assert "--frames" in refused(capsys, "score", clip, *model, "--frames", "--output", tmp_path / "x.csv")
    assert "no recordings" in refused(capsys, "score", tmp_path / "empty", *model)
    assert "cannot be read" in refused(capsys, "score", tmp_path / "none.jsonl", *model)
    assert "no such folder" in refused(capsys, "score", clip, "--model", tmp_path / "none")
    assert "urgentmos convert" in refused(capsys, "score", clip, "--model", tmp_path / "empty")
    for value in ("0", "-1", "nan", "inf"):
        assert "--batch-seconds" in refused(capsys, "score", clip, *model, "--batch-seconds", value)
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(b"\n")))
    assert "no paths" in refused(capsys, "score", "-", *model)
    assert "a file" in refused(capsys, "score", clip, "--model", clip)
    with pytest.raises(SystemExit) as stop:
        main(["score"])
    assert stop.value.code == 2


@pytest.mark.slow
def test_a_hub_id_without_network_says_what_to_do(tmp_path):
    environment = {**os.environ, "HF_ENDPOINT": "http://127.0.0.1:9", "HF_HOME": str(tmp_path)}
    command = [sys.executable, "-m", "urgentmos_jax.cli", "score", write_recording(tmp_path / "a.wav", 1)]
    found = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=120)
    assert found.returncode == 2 and found.stdout == "" and "Traceback" not in found.stderr
    assert "urgent-challenge/urgent-mos-f1c1m5dcorpus" in found.stderr and "folder" in found.stderr


def test_equal_names_of_two_folders_stay_apart(model_folder, tmp_path, monkeypatch):
    """They had equal ids, which the other commands refuse."""
    monkeypatch.chdir(tmp_path)
    for name in ("A/x.wav", "B/x.wav", "B/x.flac", "B/y.wav"):
        Path(name).parent.mkdir(exist_ok=True)
        soundfile.write(name, speech_like(1, 8000), 16000)
    assert main(["score", "A", "B", "--model", str(model_folder), "--output", "u.csv"]) == 0
    with open("u.csv", newline="") as file:
        uids = [row["uid"] for row in csv.DictReader(file)]
    assert uids == ["A/x", "B/x.flac", "B/x.wav", "y"]
    assert len(read_predictions("u.csv")) == 4


@pytest.mark.parametrize(
    ("data", "words"),
    [(b"a.wav\0b.wav\0", "find -print0"), (b"RIFF\0\0\0", "not a text"), (b"\n", "no paths"),
     ("a.wav\n".encode("utf-16"), "UTF-16")],
)  # fmt: skip
def test_standard_input_that_is_no_list_of_paths(model_folder, monkeypatch, capsys, data, words):
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(data)))
    assert main(["score", "-", "--model", str(model_folder)]) == 2
    captured = capsys.readouterr()
    assert words in captured.err and len(captured.err.splitlines()) == 1 and not captured.out


def test_a_byte_order_mark_on_standard_input(monkeypatch, tmp_path):
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(b"\xef\xbb\xbfa.wav\r\nb.wav\n")))
    assert expand("-", tmp_path) == [(name, str(tmp_path / name)) for name in ("a.wav", "b.wav")]
