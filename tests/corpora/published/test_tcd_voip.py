"""TCD-VoIP: a spreadsheet with a column a listener, recordings sorted into folders."""

from pathlib import Path

from tests.helpers.corpus_trees import write_recording, write_sheet
from tests.helpers.preparing import check_bad_recordings, check_manifests, refused
from urgentmos_jax.manifests.records import Utterance


def build(root: Path) -> None:
    write_recording(root / "TCD-VOIP" / "Test Set" / "echo" / "C_01_ECHO_FA.wav", 0.5, 48000)
    write_recording(root / "TCD-VOIP" / "Test Set" / "clip" / "C_11_CLIP_MK.wav", 0.6, 48000)
    listeners = list(range(1, 25))
    rows = [
        ["Filename", "ConditionID", *listeners, "sample MOS"],
        ["C_01_ECHO_FA.wav", 1, *([4] * 12), *([3] * 11), None, 3.52],
        ["C_11_CLIP_MK.wav", "21", *([2] * 24), 2],
    ]
    write_sheet(root / "TCD-VOIP" / "ratings.xlsx", "Subjective Test Scores", rows)


def expect(root: Path) -> dict[str, list[Utterance]]:
    folder = root / "TCD-VOIP" / "Test Set"
    mixed = [[str(n), 4.0 if n <= 12 else 3.0] for n in range(1, 24)]
    same = [[str(n), 2.0] for n in range(1, 25)]
    return {
        "train": [
            Utterance(
                "001:ECHO_FA",
                str(folder / "echo" / "C_01_ECHO_FA.wav"),
                0.5,
                "ECHO-001",
                "ECHO_FA",
                {"mos_overall": 3.5217},
                {"mos_overall": mixed},
            ),
            Utterance(
                "021:CLIP_MK",
                str(folder / "clip" / "C_11_CLIP_MK.wav"),
                0.6,
                "CLIP-021",
                "CLIP_MK",
                {"mos_overall": 2.0},
                {"mos_overall": same},
            ),
        ]
    }


def test_manifests(root):
    build(root)
    check_manifests("tcd-voip", root, expect(root))


def test_faulty_spreadsheets(root, capsys):
    build(root)
    file = root / "TCD-VOIP" / "ratings.xlsx"
    write_sheet(file, "Subjective Test Scores", [["Filename", 1, 2], ["C_01_ECHO_FA.wav", 3, 4]])
    assert f"{file}:1: no column 'ConditionID'" in refused(capsys, "tcd-voip", root)
    write_sheet(file, "Subjective Test Scores", [["Filename", "ConditionID", "a"], ["C_01_ECHO_FA.wav", 3, 4]])
    assert "no listener columns, 1 to 24" in refused(capsys, "tcd-voip", root)
    write_sheet(file, "Scores", [["Filename"]])
    assert "no sheet 'Subjective Test Scores'" in refused(capsys, "tcd-voip", root)


def test_bad_recordings(root, capsys):
    build(root)
    check_bad_recordings("tcd-voip", root, capsys)


def test_two_recordings_of_one_name(root, capsys):
    build(root)
    write_recording(root / "TCD-VOIP" / "again" / "C_01_ECHO_FA.wav")
    assert "recordings with one name" in refused(capsys, "tcd-voip", root)
