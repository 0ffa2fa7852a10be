"""SpeechJudge: pairs of embedded recordings."""

from pathlib import Path

import pytest

from tests.helpers.corpus_trees import build_speechjudge, write_parquet, write_recording
from tests.helpers.preparing import check_bad_embedded_recording, check_manifests, check_missing_hub_column, refused
from urgentmos_jax.manifests.records import Pair


def expect(root: Path) -> dict[str, list[Pair]]:
    def pair(folder: Path, index: int, seconds: tuple[float, float], label: float) -> Pair:
        uids = (f"{folder.name}-{index}_a", f"{folder.name}-{index}_b")
        paths = tuple(str(folder / "audio" / f"{index}_{side}.wav") for side in "ab")
        return Pair(uids, paths, seconds, {"mos_overall": label}, {"index": index, "label": "preference"})

    return {
        split: [
            pair(root.parent / "out" / split, 10, (0.5, 0.6), 1.0),
            pair(root.parent / "out" / split, 11, (0.6, 0.7), 0.0),
        ]
        for split in ("train", "dev", "test", "other")
    }


def test_manifests(root):
    build_speechjudge(root)
    check_manifests("speechjudge", root, expect(root))


def test_missing_column(root, capsys):
    build_speechjudge(root)
    check_missing_hub_column("speechjudge", root, capsys, "naturalness_label")


@pytest.mark.parametrize("bad", [b"nothing", None])
def test_bad_recording(bad, root, capsys):
    build_speechjudge(root)
    good = [write_recording(root.parent / "made" / f"x{n}.wav", 0.5).read_bytes() for n in range(2)]
    columns = {"index": [1, 2], "audioA": [good[0], bad], "audioB": [good[1], good[0]]}
    columns["naturalness_label"] = ["A", "B"]
    write_parquet(root / "data" / "dev-00000-of-00001.parquet", columns, ("audioA", "audioB"))
    check_bad_embedded_recording("speechjudge", root, capsys, "dev", "2_a")


def test_an_index_that_comes_twice(root, capsys):
    build_speechjudge(root)
    made = [write_recording(root.parent / "made" / f"{n}.wav", 0.5).read_bytes() for n in range(2)]
    columns = {"index": [5, 5], "audioA": made, "audioB": made[::-1], "naturalness_label": ["A", "B"]}
    write_parquet(next((root / "data").glob("dev-*")), columns, ("audioA", "audioB"))
    assert "(dev):1: index 5 is already used at" in refused(capsys, "speechjudge", root)
