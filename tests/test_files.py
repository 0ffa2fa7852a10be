"""Files: written whole or not at all, one process at a time, lists of faults."""

import errno
import json
import os
import time
from pathlib import Path

import filelock
import pytest

from tests.helpers import processes
from urgentmos_jax.files import (
    InUse,
    Lock,
    atomic_write,
    file_hash,
    progress,
    read_json_lines,
    summarise_errors,
    write_json,
    write_text,
)


def test_a_file_is_written_whole_or_not_at_all(tmp_path):
    path = tmp_path / "a.txt"
    write_text(path, "é\n")
    assert path.read_bytes() == "é\n".encode()
    with pytest.raises(RuntimeError), atomic_write(path) as file:
        file.write("half")
        raise RuntimeError
    with pytest.raises(ValueError):
        write_json(path, {"x": float("nan")})
    assert path.read_text("utf-8") == "é\n" and os.listdir(tmp_path) == ["a.txt"]
    with atomic_write(path, binary=True, sync=False) as file:
        file.write(b"\x00")
    assert path.read_bytes() == b"\x00"
    assert file_hash(path) == "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d"


def test_names_that_are_not_utf8_come_back(tmp_path):
    name = os.fsdecode(b"\xff.wav")
    write_text(tmp_path / "a.jsonl", json.dumps({"path": name}, ensure_ascii=False) + "\n")
    assert list(read_json_lines(tmp_path / "a.jsonl")) == [(1, {"path": name})]


def test_json_lines_tell_what_is_wrong_with_a_line(tmp_path):
    path = tmp_path / "a.jsonl"
    path.write_bytes(b'\xef\xbb\xbf{"a": 1}\r\n\n[1]\n{\n"\xff"\n{"a": {"b": 1, "b": 2}}\n')
    found = dict(read_json_lines(path))
    assert found[1] == {"a": 1} and found[3] == "not a JSON object" and sorted(found) == [1, 3, 4, 5, 6]
    assert found[6] == "broken JSON (the key 'b' is there twice)"
    assert found[4].startswith("broken JSON") and found[5].startswith("is not UTF-8")


def test_twenty_faults_are_shown():
    assert summarise_errors(["a:1: x"], "faults") == "a:1: x"
    text = summarise_errors([f"a:{i}: x" for i in range(25)], "faults")
    assert text.startswith("25 faults:\n  a:0: x\n") and text.endswith("a:19: x\n  and 5 more")


def test_progress_goes_to_standard_error(capfd, monkeypatch):
    assert list(progress(iter("ab"), 2, "clip")) == ["a", "b"]
    assert capfd.readouterr() == ("", "")  # No terminal.
    monkeypatch.setattr("sys.stderr.isatty", lambda: True)
    assert list(progress(iter("ab"), 2, "clip", "title")) == ["a", "b"]
    assert list(progress(iter("ab"), 2, "clip", hidden=True)) == ["a", "b"]
    out, err = capfd.readouterr()
    assert not out and "title: 100%" in err and "2/2" in err


def hold(folder: str, ready: str) -> None:
    lock = Lock(Path(folder, ".lock"), held=Path(folder), option="--workdir")
    Path(ready).write_text("")
    time.sleep(600)
    lock.release()


def test_one_run_at_a_time_in_a_folder(tmp_path, caplog):
    """Case 23: the second is refused by name, the lock of a killed process is taken over."""
    holder = processes.start(tmp_path / "log", hold, str(tmp_path), str(tmp_path / "ready"))
    processes.wait_until((tmp_path / "ready").exists)
    with pytest.raises(InUse, match=rf"in use by process {holder.pid} on .+ --workdir"):
        Lock(tmp_path / ".lock", held=tmp_path, option="--workdir")
    processes.kill(holder)
    holder.join()
    with caplog.at_level("INFO"):
        lock = Lock(tmp_path / ".lock", held=tmp_path, option="--workdir")
    assert f"lock of process {holder.pid}" in caplog.text
    lock.release()
    Lock(tmp_path / ".lock", held=tmp_path, option="--workdir").release()


def test_a_file_system_without_locks(tmp_path, caplog, monkeypatch):
    def refuse(*_, **__):
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(filelock.FileLock, "acquire", refuse)
    lock = Lock(tmp_path / ".lock", held=tmp_path, option="--workdir")
    assert "has no locks; take care" in caplog.text
    lock.release()
