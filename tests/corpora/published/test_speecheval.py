"""SpeechEval: preferences in one list, what they compare in a hub dataset."""

import json
from pathlib import Path

import pytest

from tests.helpers.corpus_trees import write_parquet, write_recording, write_table
from tests.helpers.preparing import check_bad_recordings, check_manifests, refused
from urgentmos_jax.manifests.records import Pair

datasets = pytest.importorskip("datasets")


def build(root: Path) -> None:
    for n, name in enumerate("abcd"):
        write_recording(root / "rawdata" / "audio" / f"{name}.wav", 0.5 + n / 10)
    rows = [
        ("CompareEval", "k1", "audio/a.wav", "audio/b.wav"),
        ("CompareEval", "k2", "audio/a.wav", "audio/c.wav"),
        ("CompareEval", "k3", "audio/c.wav", "audio/d.wav"),
        ("CompareEval", "k4", "audio/b.wav", "audio/d.wav"),
        ("CompareEval", "unlisted", "audio/b.wav", "audio/d.wav"),
        ("QualityEval", "k1", "audio/a.wav", None),
    ]
    names = ("task", "key", "path", "path_B")
    for split in ("train", "validation", "test"):
        columns = dict(zip(names, map(list, zip(*rows, strict=True)), strict=True))
        write_parquet(root / "rawdata" / "data" / f"{split}-00000-of-00001.parquet", columns)
        preferences = {"k1": "A", "k2": "B", "k3": "tie", "k4": "Tie"}
        lines = [json.dumps({"key": key, "preference": value}) for key, value in preferences.items()]
        write_table(root / "preference" / f"{split}.jsonl", *lines)


def expect(root: Path) -> dict[str, list[Pair]]:
    seconds = dict(zip("abcd", (0.5, 0.6, 0.7, 0.8), strict=True))

    def pair(a: str, b: str, label: float, key: str) -> Pair:
        names = (f"audio/{a}.wav", f"audio/{b}.wav")
        paths = tuple(str(root / "rawdata" / name) for name in names)
        meta = {"key": key, "label": "preference"}
        return Pair(names, paths, (seconds[a], seconds[b]), {"mos_overall": label}, meta)

    pairs = [pair("a", "b", 1.0, "k1"), pair("a", "c", -1.0, "k2"), pair("c", "d", 0.0, "k3")]
    return {"train": pairs, "dev": pairs, "test": pairs}


def test_manifests(root):
    build(root)
    reports = check_manifests("speecheval", root, expect(root))
    wanted = {"preference 'Tie'": 1, "not in the list of preferences": 1, "other tasks": 1}
    assert reports["train"]["rows"] == {"read": 6, "kept": 3, "dropped": wanted}


def test_preferences_without_a_key(root, capsys):
    build(root)
    write_table(root / "preference" / "train.jsonl", '{"key": "k1"}', '{"key": "k2", "preference": "A"}')
    assert "train.jsonl:1: give a key and a preference" in refused(capsys, "speecheval", root)


def test_bad_recordings(root, capsys):
    build(root)
    check_bad_recordings("speecheval", root, capsys)


def test_a_key_that_comes_twice(root, capsys):
    build(root)
    line = (root / "preference" / "test.jsonl").read_text().splitlines()[0]
    with (root / "preference" / "test.jsonl").open("a") as file:
        file.write(line + "\n")
    assert 'test.jsonl:5: key "k1" is already used on line 1' in refused(capsys, "speecheval", root)
    build(root)
    file = root / "rawdata" / "data" / "test-00000-of-00001.parquet"
    rows = datasets.Dataset.from_parquet(str(file))
    datasets.concatenate_datasets([rows, rows.select([2])]).to_parquet(f"{file}.new")
    Path(f"{file}.new").replace(file)
    assert "(test):6: key 'k3' is already used at" in refused(capsys, "speecheval", root)
