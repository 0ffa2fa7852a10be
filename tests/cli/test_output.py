"""Outputs of the commands: stopped and resumed, places that cannot be written, closed pipes, ASCII terminals."""

import importlib
import io
import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.helpers.commands import refused, run
from tests.helpers.pages import Page
from urgentmos_jax.cli import SUBCOMMANDS, main
from urgentmos_jax.manifests.records import Utterance
from urgentmos_jax.manifests.writing import write_utterances

PATHS = [f"{number}.wav" for number in range(6)]


def stopping(index: int, number: int):
    return lambda now: os.kill(os.getpid(), number) if now == index else None


def one_line(err: str) -> str:
    assert "Traceback" not in err and len(err.strip().splitlines()) == 1, err
    return err


def pairs_file(folder: Path) -> Path:
    path = folder / "pairs.jsonl"
    path.write_text("".join(json.dumps({"audio_paths": [one, "9.wav"]}) + "\n" for one in PATHS))
    return path


@pytest.mark.parametrize("suffix", [".jsonl", ".csv"])
@pytest.mark.parametrize("command", ["score", "compare"])
@pytest.mark.parametrize(("number", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_stopped_run_is_resumed(stub, tmp_path, capsys, monkeypatch, command, suffix, number, status):
    monkeypatch.chdir(tmp_path)
    output = tmp_path / f"o{suffix}"
    inputs = PATHS if command == "score" else ["--pairs", pairs_file(tmp_path)]
    first = run(capsys, command, *inputs, "--output", output)
    whole, about = output.read_bytes(), json.loads(Path(f"{output}.meta.json").read_text())
    assert {"rows", "done", "failed"} <= about["counts"].keys() and about["command"] == command

    handlers = [signal.getsignal(one) for one in (signal.SIGINT, signal.SIGTERM)]
    stub(before=stopping(3, number))
    again = [command, *inputs, "--output", output, "--metrics", "utmos"]
    stopped, _, err = run(capsys, *again)
    assert stopped == status and one_line(err.splitlines()[-1])
    assert f"interrupted; 3 of 6 rows are in {output}.part, --resume continues from them" in err
    assert [signal.getsignal(one) for one in (signal.SIGINT, signal.SIGTERM)] == handlers
    assert output.read_bytes() == whole and json.loads(Path(f"{output}.meta.json").read_text()) == about

    computed = []
    stub(before=computed.append)
    assert "metrics: " in refused(capsys, command, *inputs, "--output", output, "--resume")
    stub(before=computed.append, sha256="34cd")
    assert 'model_sha256: "12ab" there, "34cd" here' in refused(capsys, *again, "--resume")
    stub(before=computed.append)
    resumed = run(capsys, *again, "--resume")
    assert resumed[0] == first[0] and computed == [3, 4, 5] and "after 3 of 6 rows" in resumed[2]
    assert {f"{output.name}.part", f"{output.name}.part.meta.json"}.isdisjoint(os.listdir(tmp_path))
    rows = output.read_bytes()
    counts = json.loads(Path(f"{output}.meta.json").read_text())["counts"]
    assert run(capsys, *again)[0] == first[0] and output.read_bytes() == rows != whole
    assert json.loads(Path(f"{output}.meta.json").read_text())["counts"] == counts == about["counts"]
    computed.clear()
    left = run(capsys, *again, "--resume")
    assert left[0] == first[0] and "finished before, left alone" in left[2] and not computed


def test_a_stopped_run_without_a_file_leaves_a_line(stub, capsys):
    stub(before=stopping(3, signal.SIGINT))
    status, rows, err = run(capsys, "score", *PATHS)
    assert status == 130 and len(rows) == 3 and err.splitlines()[-1] == "urgentmos score: interrupted"
    assert "--output of the run" in refused(capsys, "score", *PATHS, "--resume")


def test_a_second_run_says_that_rows_wait(stub, tmp_path, capsys):
    output = tmp_path / "o.jsonl"
    stub(before=stopping(3, signal.SIGTERM))
    run(capsys, "score", *PATHS, "--output", output)
    stub()
    assert "o.jsonl.part: rows of a run that was stopped" in run(capsys, "score", *PATHS, "--output", output)[2]


def test_a_report_has_the_rows_of_the_stopped_run_too(stub, tmp_path, capsys):
    output = tmp_path / "o.csv"
    asked = ["score", *PATHS, "--output", output, "--resume", "--report", tmp_path / "r.html"]
    stub(before=stopping(3, signal.SIGTERM))
    assert run(capsys, *asked)[0] == 143 and not (tmp_path / "r.html").exists()
    stub()
    for _ in range(2):
        (tmp_path / "r.html").unlink(missing_ok=True)
        assert run(capsys, *asked)[0] == 1
        page = Page(tmp_path / "r.html")
        assert "Clips 6, 1 without a score" in page.text
        assert sorted(row[1] for row in page.tables["clips"][0][1:]) == PATHS


ARGUMENTS = {
    "score": ["a.wav"], "compare": ["a.wav", "b.wav"], "info": ["m"], "convert": ["m.pt", "out"],
    "prepare": ["custom", "--source", "x.csv", "--output", "out"], "label": ["d.jsonl"],
    "pairs": ["d.jsonl", "o.jsonl", "--scope", "any"], "check": ["d.jsonl"], "evaluate": ["d.jsonl"],
    "calibrate": ["p.jsonl", "--output", "m2"], "card": ["m"], "fetch": ["m"],
    "export": ["m", "--format", "onnx"],
    "serve": [], "rank": ["a", "b"], "report": ["a", "--output", "o.html"],
    "submission": ["vmc2026-track1", "--source", "d", "--output", "o.csv"],
}  # fmt: skip


@pytest.mark.parametrize("command", SUBCOMMANDS)
def test_every_command_ends_with_one_line(command, capsys, monkeypatch):
    module = importlib.import_module(f"urgentmos_jax.cli.{command}")
    for number, status in ((signal.SIGINT, 130), (signal.SIGTERM, 143)):
        monkeypatch.setattr(module, "run", lambda _, number=number: os.kill(os.getpid(), number))
        assert main([command, *ARGUMENTS[command]]) == status
        assert one_line(capsys.readouterr().err) == f"urgentmos {command}: interrupted\n"


def test_an_ignored_signal_stays_ignored(capsys, monkeypatch):
    module = importlib.import_module("urgentmos_jax.cli.check")
    monkeypatch.setattr(module, "run", lambda _: os.kill(os.getpid(), signal.SIGINT) or 7)
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        assert main(["check", "d.jsonl"]) == 7
    finally:
        signal.signal(signal.SIGINT, before)


@pytest.mark.parametrize(
    ("command", "flag"),
    [
        (["score", "a.wav"], "--output {}.jsonl"),
        (["score", "a.wav"], "--report {}.html"),
        (["compare", "a.wav", "b.wav"], "--output {}.csv"),
        (["rank", "A", "B"], "--output {}"),
        (["rank", "A", "B"], "--markdown {}"),
        (["rank", "A", "B"], "--report {}.html"),
        (["report", "A", "B"], "--output {}.html"),
        (["evaluate", "d.jsonl"], "--json {}"),
        (["evaluate", "d.jsonl"], "--markdown {}"),
        (["evaluate", "d.jsonl"], "--report {}.html"),
        (["check", "d.jsonl"], "--json {}"),
        (["check", "d.jsonl"], "--plot {}"),
        (["label", "d.jsonl", "--metrics", "lsd", "--reference-system", "A"], "--output {}.jsonl"),
        (["pairs", "--scope", "any", "d.jsonl"], "{}"),
        (["submission", "vmc2026-track1", "--source", "A"], "--output {}.csv"),
        (["prepare", "custom", "--source", "d.csv", "--audio", "file"], "--output {}"),
        (["convert", "m.pt"], "{}"),
        (["export", "m", "--format", "onnx"], "--output {}"),
    ],
)
def test_a_place_that_cannot_be_written_is_found_before_the_work(tmp_path, capsys, monkeypatch, command, flag):
    """Status 4, one line, and no model is loaded."""
    monkeypatch.chdir(tmp_path)
    for name in ("A", "B"):
        Path(name).mkdir()
    Path("file").touch()
    write_utterances("d.jsonl", [Utterance("u", "file", 1.0, metrics={"mos_overall": 3.0})])
    monkeypatch.setattr("urgentmos_jax.scoring.loading.load_model", lambda *_, **__: pytest.fail("a model is loaded"))
    before = sorted(os.listdir())
    status, rows, err = run(capsys, *command, *flag.format("file/x").split())
    assert (status, rows) == (4, []) and "cannot be written (Not a directory)" in one_line(err)
    if command[0] not in ("prepare", "convert"):
        Path(name := flag.split()[-1].format("folder")).mkdir()
        status, rows, err = run(capsys, *command, *flag.format("folder").split())
        assert (status, rows) == (4, []) and "cannot be written (Is a directory)" in one_line(err)
        Path(name).rmdir()
    assert sorted(os.listdir()) == before


def test_a_disk_that_gets_full(stub, tmp_path, capsys, monkeypatch):
    output = tmp_path / "o.jsonl"
    run(capsys, "score", *PATHS, "--output", output)
    old = output.read_bytes()

    def fill(index: int) -> None:
        if index == 4:
            monkeypatch.setattr(os, "fsync", full)

    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    stub(before=fill)
    status, _, err = run(capsys, "score", *PATHS, "--output", output)
    kept = f"6 of 6 rows are in {output}.part, --resume continues from them"
    assert status == 4 and err.splitlines()[-1].endswith(f"cannot be written (No space left on device); {kept}")
    assert output.read_bytes() == old and len(Path(f"{output}.part").read_text().splitlines()) == 6
    manifest = tmp_path / "d.jsonl"
    manifest.write_text("")
    status, _, err = run(capsys, "check", manifest, "--json", "/dev/full")
    assert status == 4 and "--json /dev/full: cannot be written (No space left on device)" in err


class Output(io.TextIOWrapper):
    """Standard output that is a device, or a pipe."""

    def __init__(self, name: str | int, encoding: str = "utf-8"):
        super().__init__(open(name, "wb", buffering=0), encoding=encoding)  # noqa: SIM115


def test_standard_output_is_full_or_closed(stub, capsys, monkeypatch):
    monkeypatch.setattr(sys, "stdout", Output("/dev/full"))
    assert main(["score", *PATHS]) == 4
    reading, writing = os.pipe()
    os.close(reading)
    err = capsys.readouterr().err
    assert "standard output: cannot be written (No space left on device)" in one_line(err)
    monkeypatch.setattr(sys, "stdout", Output(writing))
    assert main(["score", *PATHS]) == 0
    assert not capsys.readouterr().err
    monkeypatch.setattr(sys, "stdout", None)
    assert main(["score", *PATHS]) == 4


def test_a_terminal_without_letters(stub, tmp_path, capsys, monkeypatch):
    """Names are escaped: in rows as JSON has it, in tables with backslashes."""
    manifest = tmp_path / "é.jsonl"
    write_utterances(manifest, [Utterance("u", __file__, 1.0, metrics={"mos_overall": 3.0})])
    for encoding, name in (("ascii", "é"), ("utf-8", "é"), ("utf-8", os.fsdecode(b"\xff"))):
        file = tmp_path / "out"
        monkeypatch.setattr(sys, "stdout", Output(str(file), encoding))
        (tmp_path / name).mkdir(exist_ok=True)
        assert main(["score", str(tmp_path / name / "2.wav")]) == 0
        assert json.loads(file.read_bytes())["path"] == str(tmp_path / name / "2.wav")
        main(["check", str(manifest)])
    assert b"\xc3\xa9" in file.read_bytes()
    capsys.readouterr()


def test_a_process_whose_output_is_full_or_closed():
    """Python itself would complain of what it cannot write at its end."""
    command = f"{sys.executable} -m urgentmos_jax.cli"
    text = f"{command} prepare --list | head -1; echo ${{PIPESTATUS[0]}}; {command} prepare --list > /dev/full; echo $?"
    environment = {**os.environ, "PYTHONIOENCODING": "ascii"}
    found = subprocess.run(["bash", "-c", text], env=environment, capture_output=True, text=True, timeout=120)
    assert found.stdout.split() == ["bc19", "0", "4"], found
    assert "standard output: cannot be written (No space left on device)" in one_line(found.stderr)
