"""CHiME-7 UDASE listening test: three scales of a recording in three rows."""

from pathlib import Path

from tests.helpers.corpus_trees import write_recording, write_table
from tests.helpers.preparing import (
    check_bad_recordings,
    check_manifests,
    check_missing_column,
    check_taken_id,
    prepared,
)
from urgentmos_jax.manifests.records import Utterance


def build(root: Path) -> None:
    for condition in ("C0", "C1"):
        write_recording(root / "listening_test" / "data" / condition / "S01.v2.wav", 0.5)
    write_table(
        root / "listening_test" / "MOS_results_listening_test.csv",
        "condition,sample,scale,rating_list,MOS",
        'C0,S01.v2.wav,OVRL,"[2, 3]",2.5',
        'C0,S01.v2.wav,SIG,"[4, 4, 5]",4.3333',
        'C0,S01.v2.wav,BAK,"[1.0, 1.0]",1',
        'C1,S01.v2.wav,OVRL,"[5]",5',
        'C1,S01.v2.wav,SIG,"[]",',
        'Ref,S01.v2.wav,OVRL,"[5, 5]",5',
    )


def expect(root: Path) -> dict[str, list[Utterance]]:
    data = root / "listening_test" / "data"
    return {
        "test": [
            Utterance(
                "C0:S01.v2",
                str(data / "C0" / "S01.v2.wav"),
                0.5,
                "C0",
                "S01.v2",
                {"mos_overall": 2.5, "mos_signal": 4.3333, "mos_background": 1.0},
                {
                    "mos_overall": [["", 2.0], ["", 3.0]],
                    "mos_signal": [["", 4.0], ["", 4.0], ["", 5.0]],
                    "mos_background": [["", 1.0], ["", 1.0]],
                },
            ),
            Utterance("C1:S01.v2", str(data / "C1" / "S01.v2.wav"), 0.5, "C1", "S01.v2", {"mos_overall": 5.0}),
        ]
    }


def test_manifests(root):
    build(root)
    check_manifests("chime-7-udase-eval", root, expect(root))


def test_what_is_left_out_is_counted(root, capsys):
    build(root)
    report = prepared("chime-7-udase-eval", root)["test"][1]
    assert report["rows"] == {"read": 6, "kept": 4, "dropped": {"no rating": 1, "clean references": 1}}
    assert "as published this split has 640 utterances" in capsys.readouterr().err


def test_missing_column(root, capsys):
    build(root)
    check_missing_column("chime-7-udase-eval", root, capsys, "listening_test/MOS_results_listening_test.csv", "scale")


def test_bad_recordings(root, capsys):
    build(root)
    check_bad_recordings("chime-7-udase-eval", root, capsys)


def test_two_recordings_with_one_id(root, capsys):
    build(root)
    write_recording(root / "listening_test" / "data" / "C0" / "S01.v2.flac")
    with (root / "listening_test" / "MOS_results_listening_test.csv").open("a") as file:
        file.write('C0,S01.v2.flac,OVRL,"[1]",1\n')
    check_taken_id("chime-7-udase-eval", root, capsys)
