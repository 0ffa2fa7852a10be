"""BC19: the out-of-domain track of VoiceMOS 2022."""

from pathlib import Path

from tests.helpers.corpus_trees import build_voicemos, expect_voicemos, write_recording, write_table
from tests.helpers.preparing import check_bad_recordings, check_manifests, check_taken_id, refused


def build(root: Path) -> None:
    build_voicemos(root / "ood", "ood")


def test_manifests(root):
    build(root)
    check_manifests("bc19", root, expect_voicemos(root / "ood", "ood"))


def test_faulty_rows(root, capsys):
    build(root)
    file = root / "ood" / "DATA" / "sets" / "DEVSET"
    write_table(file, "sysbbbbb,sysbbbbb-utt0000003,1,x9")
    err = refused(capsys, "bc19", root)
    assert f"{file}:1: has 4 cells, expected at least 5" in err and "by hand" not in err
    write_table(file, "sysbbbbb,nohyphen.wav,1,x9,somebody")
    assert "give a system and a name SYSTEM-UTTERANCE" in refused(capsys, "bc19", root)


def test_bad_recordings(root, capsys):
    build(root)
    check_bad_recordings("bc19", root, capsys)


def test_two_recordings_with_one_id(root, capsys):
    build(root)
    folder = root / "ood" / "DATA"
    write_recording(folder / "wav" / "other-utt0000001.wav")
    with (folder / "sets" / "TRAINSET").open("a") as file:
        file.write("sysaaaaa,other-utt0000001.wav,4,x1,somebody\n")
    check_taken_id("bc19", root, capsys)
