"""Manifests: every fault with its line, the authors' files as they are, labels in their range."""

import json
import math
import os
from pathlib import Path

import numpy as np
import pytest
import soundfile

from urgentmos_jax.manifests.reading import read_pairs, read_utterances
from urgentmos_jax.manifests.records import ManifestError, Pair, Utterance
from urgentmos_jax.manifests.writing import write_pairs, write_utterances


def clip(path: Path, seconds: float = 0.5) -> str:
    path.parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(path, np.zeros(round(16000 * seconds), np.float32), 16000)
    return path.name


def entry(uid: str, audio: str, **changes) -> dict:
    return {"uid": uid, "audio_path": audio, "duration": 0.5, "metrics": {"mos_overall": 3}} | changes


def listed(folder: Path, *lines: dict | str, name: str = "data.jsonl") -> Path:
    path = folder / name
    texts = [line if isinstance(line, str) else json.dumps(line, ensure_ascii=False) for line in lines]
    path.write_text("\n".join(texts) + "\n", encoding="utf-8")
    return path


def faults(read, path: Path, **arguments) -> dict[int, str]:
    """{line: faults} of a manifest that is refused."""
    with pytest.raises(ManifestError) as error:
        read(path, **arguments)
    found: dict[int, str] = {}
    for fault in error.value.faults:
        assert fault.startswith(f"{path}:")
        line, _, text = fault.removeprefix(f"{path}:").partition(": ")
        found[int(line)] = found.get(int(line), "") + text
    return found


@pytest.fixture
def folder(tmp_path) -> Path:
    for name in "abcdef":
        clip(tmp_path / f"{name}.wav")
    return tmp_path


def test_one_error_names_every_fault(folder):
    path = listed(
        folder,
        entry("one", "a.wav"),
        '{"uid": "two", "audio_path": "b.wav", ',
        entry("three", "gone.wav"),
        entry("one", "c.wav"),
        entry("five", "d.wav", metrics={"mos_overall": "good", "utmos": 3}),
        entry("six", "e.wav"),
    )
    with pytest.raises(ManifestError) as error:
        read_utterances(path)
    text = str(error.value)
    assert text.startswith("4 faults") and len(error.value.faults) == 4
    assert f"{path}:2: broken JSON" in text
    assert f"{path}:3: audio_path 'gone.wav': no file at '{folder / 'gone.wav'}' (relative to the manifest)" in text
    assert f"{path}:4: uid 'one' is that of line 1 too" in text
    assert f"{path}:5: metrics.mos_overall is 'good'" in text


def test_twenty_faults_are_shown(folder):
    with pytest.raises(ManifestError, match=r"(?s)30 faults.*data.jsonl:20:.*and 10 more") as error:
        read_utterances(listed(folder, *["x"] * 30))
    assert "jsonl:21:" not in str(error.value) and len(error.value.faults) == 30


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"uid": None}, "uid"),
        ({"uid": 7}, "uid is 7"),
        ({"uid": ""}, "uid is ''"),
        ({"audio_path": ["a.wav"]}, "audio_path"),
        ({"audio_path": "a\0.wav"}, "no file"),
        ({"audio_path": "."}, "no file"),
        ({"audio_path": "x" * 300}, "no file"),
        ({"audio_path": "\ud800.wav"}, "no file"),
        ({"duration": -1}, "duration is -1"),
        ({"duration": 0}, "duration is 0"),
        ({"duration": "3"}, "duration is '3'"),
        ({"duration": True}, "duration"),
        ({"duration": math.nan}, "duration is nan"),
        ({"duration": 10**400}, "duration"),
        ({"system_id": 15}, "system_id is 15"),
        ({"reference_id": ["r"]}, "reference_id"),
        ({"metrics": [3]}, "metrics is"),
        ({"metrics": {"utmos": True}}, "metrics.utmos is True"),
        ({"metrics": {"utmos": math.nan}}, "metrics.utmos is nan"),
        ({"metrics": {"new": math.inf}}, "metrics.new is inf"),
        ({"metrics": {"utmos": [3]}}, "metrics.utmos is [3]"),
        ({"metrics": {"utmos": 10**400}}, "metrics.utmos"),
        ({"metrics": {"mos_overall": 5.5}}, "check its scale"),
        ({"metrics": {"mos_overall": 60}}, "1 to 5"),
        ({"meta": "x"}, "meta is 'x'"),
        ({"audio_paths": ["a.wav", "b.wav"]}, "read this file as pairs"),
    ],
)
def test_faults_of_an_utterance(folder, change, words):
    line = json.dumps(entry("x", "a.wav") | change)
    found = faults(read_utterances, listed(folder, entry("y", "b.wav"), "", line))
    assert list(found) == [3] and words in found[3]


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"audio_paths": None}, "audio_paths is missing"),
        ({"audio_paths": ["a.wav"]}, "[A, B]"),
        ({"audio_paths": ["a.wav", "gone.wav"]}, "'gone.wav': no file"),
        ({"uids": ["x"]}, "uids is ['x']"),
        ({"durations": 3}, "durations is 3"),
        ({"durations": [1, 0]}, "durations[1] is 0"),
        ({"metrics": {"mos_overall": "A"}}, "metrics.mos_overall is 'A'"),
        ({"metrics": {"mos_overall": -5}}, "-4 to 4"),
        ({"audio_path": "a.wav"}, "read this file as utterances"),
    ],
)
def test_faults_of_a_pair(folder, change, words):
    good = {"audio_paths": ["a.wav", "b.wav"], "durations": [0.5, 0.5], "metrics": {"mos_overall": 1}}
    found = faults(read_pairs, listed(folder, good, good | change))
    assert list(found) == [2] and words in found[2]


def test_other_lines_that_are_faults(folder):
    (folder / "data.jsonl").write_bytes(b'[1]\n"x"\n\xff\xfe{\n' + b"[" * 100_000 + b"\n")
    found = faults(read_utterances, folder / "data.jsonl")
    assert list(found) == [1, 2, 3, 4] and "UTF-8" in found[3] and "not a JSON object" in found[1]
    same = faults(read_utterances, listed(folder, entry("x", "a.wav"), entry("y", "./a.wav")))
    assert "'./a.wav' is that of line 1 too" in same[2]
    for path in (folder / "none.jsonl", folder, listed(folder, "", " ")):
        with pytest.raises(ManifestError, match=path.name):
            read_utterances(path)


def test_byte_order_mark_crlf_and_blank_lines(folder):
    lines = [
        entry("s:r:1", "a.wav"),
        entry("sé\u2028", "b.wav", metrics=None),
        entry("z", "c.wav", metrics={"utmos": None}),
    ]
    text = "\r\n\r\n".join(json.dumps(line, ensure_ascii=False) for line in lines) + "\r\n \r\n"
    (folder / "data.jsonl").write_bytes(b"\xef\xbb\xbf" + text.encode())
    utterances, report = read_utterances(folder / "data.jsonl")
    assert [utterance.uid for utterance in utterances] == ["s:r:1", "sé\u2028", "z"]
    assert [utterance.metrics for utterance in utterances] == [{"mos_overall": 3.0}, {}, {}]
    assert utterances[0] == Utterance("s:r:1", str(folder / "a.wav"), 0.5, None, None, {"mos_overall": 3.0}, {})
    assert (report.rows, report.labels, report.clipped, report.measured) == (3, {"mos_overall": 1}, {}, 0)


def test_labels_outside_their_range_are_clipped_and_counted(folder):
    labels = [{"pesq": 4.64, "mcd": -1, "new": 99}, {"pesq": 4.5, "lps": 1.5, "lps2": -3}, {"pesq": 0.9, "sdr": -80}]
    path = listed(folder, *(entry(name, f"{name}.wav", metrics=m) for name, m in zip("abc", labels, strict=True)))
    utterances, report = read_utterances(path)
    assert [utterance.metrics for utterance in utterances] == [
        {"pesq": 4.5, "mcd": 0, "new": 99}, {"pesq": 4.5, "lps": 1, "lps2": -3}, {"pesq": 1, "sdr": -80}
    ]  # fmt: skip
    assert report.clipped == {"pesq": 2, "mcd": 1, "lps": 1} and report.labels["pesq"] == 3
    utterances, report = read_utterances(path, ranges={"new": (0, 90), "pesq": (1, 5)})
    assert utterances[0].metrics == {"pesq": 4.64, "mcd": -1, "new": 90} and report.clipped == {"new": 1, "pesq": 1}


def test_differences_have_the_range_of_differences(folder):
    pairs = [{"mos_overall": value} for value in (-4, 4.1, 0)]
    path = listed(folder, *({"audio_paths": ["a.wav", "b.wav"], "metrics": m} for m in pairs))
    found, report = read_pairs(path)
    assert [pair.metrics["mos_overall"] for pair in found] == [-4, 4, 0] and report.clipped == {"mos_overall": 1}


def test_the_authors_pairs_without_durations(folder):
    clip(folder / "long.wav", 0.75)
    lines = [
        {"audio_paths": ["a.wav", str(folder / "long.wav")], "metrics": {"mos_overall": -1.0}, "pairing_scope": "any"},
        {
            "audio_paths": ["long.wav", "a.wav"],
            "metrics": {"mos_overall": 1.0},
            "durations": [0.7, None],
            "uids": ["L", "A"],
        },
    ]
    (one, two), report = read_pairs(listed(folder, *lines))
    assert one.uids == ("a.wav", str(folder / "long.wav")) and one.meta == {"pairing_scope": "any"}
    assert one.durations == (0.5, 0.75) and two.durations == (0.7, 0.5) and report.measured == 2
    assert one.audio_paths == (str(folder / "a.wav"), str(folder / "long.wav")) and two.uids == ("L", "A")


def test_durations_that_cannot_be_measured_are_faults(folder):
    (folder / "a.wav").write_text("<html>")
    (folder / "b.wav").write_bytes(b"")
    lines = [entry(name, f"{name}.wav", duration=None) for name in ("a", "b", "c", "gone")]
    found = faults(read_utterances, listed(folder, *lines))
    assert list(found) == [1, 2, 4] and "an HTML page" in found[1] and "0 bytes" in found[2]
    assert "no file" in found[4] and "measured" not in found[4]


def test_where_relative_paths_are_looked_up(folder, monkeypatch):
    (folder / "lists").mkdir()
    path = listed(folder / "lists", entry("x", "a.wav"))
    (utterance,), _ = read_utterances(path, audio_root=folder)
    assert utterance.audio_path == str(folder / "a.wav")
    found = faults(read_utterances, path, audio_root=folder / "elsewhere")[1]
    assert str(folder / "lists" / "a.wav") in found and str(folder / "elsewhere" / "a.wav") in found
    assert "--audio-root DIR" in faults(read_utterances, path)[1]
    clip(folder / "lists" / "a.wav")
    (utterance,), _ = read_utterances(path, audio_root=folder)
    assert utterance.audio_path == str(folder / "lists" / "a.wav")
    monkeypatch.chdir(folder / "lists")
    (utterance,), _ = read_utterances("data.jsonl")
    assert os.path.samefile(utterance.audio_path, path.parent / "a.wav")


def test_relative_paths_may_not_leave_their_folders(folder):
    inner = folder / "inner"
    clip(inner / "deep" / "x.wav")
    (inner / "link.wav").symlink_to(folder / "a.wav")
    (inner / "folder").symlink_to(folder)
    (inner / "loop.wav").symlink_to(inner / "loop.wav")
    (inner / "inside.wav").symlink_to(inner / "deep" / "x.wav")
    outside = ("../a.wav", "deep/../../b.wav", "link.wav", "folder/c.wav")
    inside = ("inside.wav", "deep/../deep/x.wav", str(folder / "d.wav"))
    path = listed(inner, *(entry(name, name) for name in (*outside, *inside, "loop.wav")))
    found = faults(read_utterances, path)
    assert list(found) == [1, 2, 3, 4, 8] and "no file" in found[8]
    for line, name in zip(range(1, 5), "abac", strict=True):
        assert str((folder / f"{name}.wav").resolve()) in found[line] and "audio root" in found[line]
    path = listed(inner, *(entry(name, name) for name in (*outside, *inside)))
    for arguments in ({"allow_outside": True}, {"audio_root": folder}):
        assert len(read_utterances(path, **arguments)[0]) == 7
    # Without a look at the disk only `..` is seen.
    assert list(faults(read_utterances, path, check_files=False)) == [1, 2]


def test_files_are_not_looked_for_when_not_asked(folder):
    path = listed(folder, entry("x", "gone.wav"))
    (utterance,), _ = read_utterances(path, check_files=False)
    assert utterance.audio_path == str(folder / "gone.wav")
    found = faults(read_utterances, listed(folder, entry("x", "gone.wav", duration=None)), check_files=False)
    assert "cannot be measured" in found[1]


def test_names_of_files_that_are_hard_to_write(folder):
    names = ["sé ö.wav", "日" * 83 + ".wav", "with\nline.wav"]
    for name in names:
        clip(folder / name)
    written = [Utterance(f"u{i}", str(folder / name), 0.5) for i, name in enumerate(names)]
    write_utterances(folder / "data.jsonl", written)
    assert read_utterances(folder / "data.jsonl")[0] == written
    odd = os.fsdecode(os.fsencode(folder) + b"/caf\xe9.wav")
    write_utterances(folder / "data.jsonl", [Utterance("x", odd, 0.5)])
    assert read_utterances(folder / "data.jsonl", check_files=False)[0][0].audio_path == odd


def test_what_is_written_reads_back(folder):
    paths = [str(folder / f"{name}.wav") for name in "abc"]
    one = Utterance("b:1", paths[0], 1 / 3, "b", "1", {"utmos": 1.25, "sdr": -3.0}, {"mos_overall": [["015", 4.0]]})
    two = Utterance("a:2", paths[1], 2.0)
    write_utterances(folder / "data.jsonl", [one, two])
    assert read_utterances(folder / "data.jsonl")[0] == [two, one]
    pairs = [Pair(("y", "x"), (paths[0], paths[1]), (1.0, 2.0), {"mos_overall": 0.5}, {"n": 1}),
             Pair(("x", "y"), (paths[1], paths[2]), (2.0, 0.1))]  # fmt: skip
    write_pairs(folder / "data_pairs.jsonl", pairs)
    assert read_pairs(folder / "data_pairs.jsonl")[0] == pairs[::-1]
    assert sorted(path.suffix for path in folder.iterdir() if path.suffix != ".wav") == [".jsonl", ".jsonl"]


def test_a_manifest_that_cannot_be_written_leaves_the_old_one(folder, monkeypatch):
    path = listed(folder, entry("x", "a.wav"))
    before = path.read_bytes()
    good = Utterance("a", "a.wav", 1.0)
    for bad in (
        Utterance("b", "b.wav", 1.0, metrics={"utmos": math.nan}),
        Utterance("b", "b.wav", 1.0, meta={"x": {1}}),
        good,
    ):
        with pytest.raises(ManifestError):
            write_utterances(path, [good, bad])
    with pytest.raises(ManifestError, match="'p'"):
        write_pairs(path, [Pair(("p", "q"), ("a", "b"), (1.0, math.inf))])
    monkeypatch.setattr(os, "replace", lambda *_: (_ for _ in ()).throw(OSError("disk full")))
    with pytest.raises(OSError, match="disk full"):
        write_utterances(path, [good])
    assert path.read_bytes() == before and not list(folder.glob(".*.tmp"))
