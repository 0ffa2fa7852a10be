"""PSTN: calls with numbers for names, means and standard deviations."""

from pathlib import Path

from tests.helpers.corpus_trees import build_pstn, write_recording
from tests.helpers.preparing import check_bad_recordings, check_manifests, check_missing_column, check_taken_id
from urgentmos_jax.manifests.records import Utterance


def expect(root: Path) -> dict[str, list[Utterance]]:
    folder = root / "pstn_train"
    return {
        "train": [
            Utterance(
                "015:015", str(folder / "015_a_b.wav"), 0.5, None, None, {"mos_overall": 3.4}, {"mos_overall_std": 0.55}
            ),
            Utterance("NA:NA", str(folder / "NA_c.wav"), 0.6, None, None, {"mos_overall": 2.0}),
        ]
    }


def test_manifests(root):
    build_pstn(root)
    check_manifests("pstn", root, expect(root))


def test_missing_column(root, capsys):
    build_pstn(root)
    check_missing_column("pstn", root, capsys, "pstn_train/pstn_train.csv", "std")


def test_bad_recordings(root, capsys):
    build_pstn(root)
    check_bad_recordings("pstn", root, capsys)


def test_two_recordings_with_one_id(root, capsys):
    build_pstn(root)
    write_recording(root / "pstn_train" / "015_other.wav")
    with (root / "pstn_train" / "pstn_train.csv").open("a") as file:
        file.write("015_other.wav,1,1,1,1\r\n")
    check_taken_id("pstn", root, capsys)
