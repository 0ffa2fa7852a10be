"""Files of rows: the old one or a whole one, and what a stopped run leaves is resumed."""

import json
import os
from pathlib import Path

import pytest

from urgentmos_jax.files import InUse
from urgentmos_jax.scoring.row_files import OtherRun, RowFile
from urgentmos_jax.scoring.row_formats import Csv, JsonLines, comparison_cells, score_cells

ABOUT = {"model": "m", "model_sha256": "12ab", "command": "score", "metrics": ["utmos", "pesq"]}
FAILED = {"code": "empty", "message": 'a "bad",\nfile'}


def score(path: str, number: int) -> dict:
    row = {"uid": f"u{number}", "path": path, "scores": {"utmos": number / 8, "pesq": 0.5}, "duration_s": 2.0}
    row |= {"windows": 1, "bandwidth_hz": None if number else 7812.5, "flags": ["silent", "windowed"]}
    row["model"] = "m 12ab"
    failed = {"scores": None, "duration_s": None, "windows": 0, "bandwidth_hz": None, "flags": [], "error": FAILED}
    return row | (failed if number == 2 else {"error": None})


def comparison(path: str, number: int) -> dict:
    row = {"uid": f"u{number}", "paths": [path, "b.wav"], "durations_s": [1.0, 2.5], "windows": 1, "flags": []}
    row |= {"bandwidths_hz": [7812.5, None], "model": "m 12ab"}
    row["comparison"] = {"utmos": {"cmos": 0.5, "p_a": 0.25, "p_b": 0.5, "p_tie": 0.25, "score_difference": -0.5}}
    return row | {"error": None}


# A path comes twice, one has the end of a line, one is not UTF-8.
PATHS = ["é.wav", "b\r\n.wav", "b\r\n.wav", os.fsdecode(b"\xff.wav"), 'c,".wav', "d.wav"]
ROWS = [score(path, number) for number, path in enumerate(PATHS)]
INPUTS = [(row["uid"], row["path"]) for row in ROWS]
FORMS = {".jsonl": JsonLines(), ".csv": Csv(score_cells, ABOUT["metrics"])}


def write(path: Path, *, upto: int | None = None, resume: bool = False, about: dict = ABOUT, inputs: list = INPUTS):
    """Writes rows; with `upto` the run stops there. The rows that were there."""
    with RowFile(path, resume=resume) as file:
        kept = list(file.begin(about, inputs, FORMS[path.suffix]))
        assert len(kept) == file.count
        for row in ROWS[file.count : upto]:
            file.add(row)
        if upto is None:
            file.finish({"rows": file.count})
        return kept


@pytest.mark.parametrize(
    ("form", "rows"),
    [
        (JsonLines(), [*ROWS[:3], comparison("a.wav", 0)]),
        (JsonLines(ascii_only=True), ROWS),
        (Csv(score_cells, ["utmos", "pesq"]), ROWS[:3]),
        (Csv(comparison_cells, ["utmos"]), [comparison("x,y.wav", 1)]),
    ],
)
def test_a_row_that_is_written_is_read_again(form, rows):
    for row in rows:
        assert form.row(form.line(row)) == row
    assert not isinstance(form, JsonLines) or JsonLines(ascii_only=True).line(ROWS[0]).isascii()


@pytest.mark.parametrize("suffix", FORMS)
def test_the_old_file_stands_until_the_new_one_is_whole(tmp_path, suffix):
    path = tmp_path / "new" / f"f{suffix}"
    write(path)
    old = path.read_bytes(), Path(f"{path}.meta.json").read_text()
    about = json.loads(old[1])
    assert about["counts"] == {"rows": 6} and about["inputs"]["count"] == 6 and about["size_bytes"] == len(old[0])
    assert sorted(os.listdir(path.parent)) == [path.name, f"{path.name}.meta.json"]
    write(path, upto=4, about=ABOUT | {"metrics": ["utmos"]})
    assert (path.read_bytes(), Path(f"{path}.meta.json").read_text()) == old
    assert Path(f"{path}.part").read_bytes() == old[0][: len(Path(f"{path}.part").read_bytes())]
    write(path, upto=0)  # It starts anew, and has nothing to leave.
    assert sorted(os.listdir(path.parent)) == [path.name, f"{path.name}.meta.json"]
    with RowFile(path) as file, pytest.raises(ValueError, match="0 rows of 6 inputs"):
        list(file.begin(ABOUT, INPUTS, FORMS[suffix]))
        file.finish({})
    assert path.read_bytes() == old[0]


@pytest.mark.parametrize("suffix", FORMS)
@pytest.mark.parametrize("name", ["f{}.part", "f{}"])
def test_what_is_there_is_resumed_wherever_it_is_cut(tmp_path, suffix, name):
    path, cut = tmp_path / f"f{suffix}", tmp_path / name.format(suffix)
    write(path)
    whole, about = path.read_bytes(), Path(f"{path}.meta.json").read_text()
    for end in range(0, len(whole), 11):
        path.unlink(missing_ok=True)
        cut.write_bytes(whole[:end])
        Path(f"{cut}.meta.json").write_text(about)
        kept = write(path, resume=True)
        assert path.read_bytes() == whole
        assert json.loads(Path(f"{path}.meta.json").read_text()) == json.loads(about)
        lines = [FORMS[suffix].line(row).encode() for row in ROWS]
        header = len(FORMS[suffix].header)
        assert len(kept) == sum(header + len(b"".join(lines[: i + 1])) <= end for i in range(len(lines)))
        assert [row["uid"] for row in kept] == [row["uid"] for row in ROWS[: len(kept)]]


def test_a_finished_file_is_left_alone_and_an_unfinished_one_goes_first(tmp_path):
    path = tmp_path / "f.jsonl"
    assert write(path, resume=True) == []
    before = path.stat().st_mtime_ns
    with RowFile(path, resume=True) as file:
        assert len(list(file.begin(ABOUT, INPUTS, FORMS[".jsonl"]))) == 6 and file.left_alone
        file.finish({})
    assert path.stat().st_mtime_ns == before and len(os.listdir(tmp_path)) == 2
    write(path, upto=2)
    assert len(write(path, resume=True)) == 2


def test_another_run_is_refused_by_what_differs(tmp_path):
    path = tmp_path / "f.jsonl"
    write(path, upto=3)
    for about, inputs, words in [
        (ABOUT | {"model_sha256": "34cd"}, INPUTS, 'model_sha256: "12ab" there, "34cd" here'),
        (ABOUT | {"metrics": ["utmos"], "order": "ab"}, INPUTS, 'metrics: .* here; order: null there, "ab" here'),
        (ABOUT, INPUTS[:-1], "inputs: 6 there, 5 here"),
        (ABOUT, INPUTS[::-1], "inputs: as many, of other names, paths or order"),
    ]:
        with pytest.raises(OtherRun, match=f"f.jsonl.part is of another run; {words}"):
            write(path, resume=True, about=about, inputs=inputs)
    part = Path(f"{path}.part")
    rows = part.read_text()
    part.write_text("".join(rows.splitlines(True)[1:]))
    with pytest.raises(OtherRun, match=r"row 1 is of 'b.*', where the input is 'é\.wav'"):
        write(path, resume=True)
    part.write_text(rows)
    assert len(write(path, resume=True, about=ABOUT | {"model": "of another name"})) == 3
    Path(f"{path}.meta.json").unlink()
    with pytest.raises(OtherRun, match=r"no f\.jsonl\.meta\.json, which says what its rows are of"):
        write(path, resume=True)


@pytest.mark.parametrize("step", range(3))
def test_the_last_steps_may_be_the_last_of_a_killed_run(tmp_path, monkeypatch, step):
    """F is the old one or whole, and F.meta.json never stays with another file."""
    path, meta = tmp_path / "f.jsonl", tmp_path / "f.jsonl.meta.json"
    write(path, inputs=INPUTS, about=ABOUT | {"metrics": ["old"]})
    steps, replace = [], os.replace

    def killed(*names):
        if len(steps) == step and steps.append(names) is None:
            raise RuntimeError("killed")
        steps.append(names)
        replace(*names)

    with RowFile(path) as file:
        list(file.begin(ABOUT, INPUTS, FORMS[".jsonl"]))
        for row in ROWS:
            file.add(row)
        monkeypatch.setattr(os, "replace", killed)
        with pytest.raises(RuntimeError):
            file.finish({"rows": 6})
        monkeypatch.setattr(os, "replace", replace)
    assert len(path.read_text().splitlines()) == 6
    kept = write(path, resume=True)
    assert len(kept) == 6 and json.loads(meta.read_text())["metrics"] == ABOUT["metrics"]
    assert sorted(os.listdir(tmp_path)) == [path.name, meta.name]


def test_places_that_cannot_be_written(tmp_path):
    path = tmp_path / "f.jsonl"
    (tmp_path / "folder.jsonl").mkdir()
    os.mkfifo(tmp_path / "pipe.jsonl")
    path.write_text("old")
    for name in ("folder.jsonl", "pipe.jsonl", "f.jsonl/g.jsonl"):
        with pytest.raises(OSError):
            RowFile(tmp_path / name)
    with RowFile(path), pytest.raises(InUse, match=rf"f.jsonl is in use by process {os.getpid()}"):
        RowFile(path)
    (tmp_path / "link.jsonl").symlink_to(path)
    write(tmp_path / "link.jsonl")
    assert len(path.read_text().splitlines()) == 6 and (tmp_path / "link.jsonl").is_symlink()
    assert len(os.listdir(tmp_path)) == 5
