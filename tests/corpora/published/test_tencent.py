"""Tencent: two lists, names with dots."""

from pathlib import Path

from tests.helpers.corpus_trees import write_recording, write_table
from tests.helpers.preparing import check_bad_recordings, check_manifests, check_missing_column, check_taken_id
from urgentmos_jax.manifests.records import Utterance


def build(root: Path) -> None:
    inside = root / "TencentCorups"
    for reverberation in ("without", "with"):
        folder = f"{reverberation}ReverberationTrainDev"
        write_recording(inside / folder / "a.wav.b.wav", 0.5)
        write_table(inside / f"{folder}MOS.csv", "deg_wav,mos", f"./{folder}/a.wav.b.wav,2.125")


def expect(root: Path) -> dict[str, list[Utterance]]:
    def clip(folder: str) -> Utterance:
        key = f"{folder}_a.wav.b"
        path = str(root / "TencentCorups" / folder / "a.wav.b.wav")
        return Utterance(f"{key}:{key}", path, 0.5, None, None, {"mos_overall": 2.125})

    return {"train": [clip("withReverberationTrainDev"), clip("withoutReverberationTrainDev")]}


def test_manifests(root):
    build(root)
    check_manifests("tencent", root, expect(root))


def test_missing_column(root, capsys):
    build(root)
    check_missing_column("tencent", root, capsys, "TencentCorups/withReverberationTrainDevMOS.csv", "mos")


def test_bad_recordings(root, capsys):
    build(root)
    check_bad_recordings("tencent", root, capsys)


def test_two_recordings_with_one_id(root, capsys):
    build(root)
    folder = root / "TencentCorups"
    for path in ("x/y.wav", "x_y.wav"):
        write_recording(folder / path)
    write_table(folder / "withReverberationTrainDevMOS.csv", "deg_wav,mos", "./x/y.wav,2", "./x_y.wav,2")
    check_taken_id("tencent", root, capsys)
