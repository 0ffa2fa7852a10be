"""TMHINT-QI: one list for both splits, told by the folder of the recording."""

from pathlib import Path

from tests.helpers.corpus_trees import write_recording, write_table
from tests.helpers.preparing import check_bad_recordings, check_manifests, check_missing_column, check_taken_id
from urgentmos_jax.manifests.records import Utterance


def build(root: Path) -> None:
    inside = root / "TMHINTQI"
    write_recording(inside / "train" / "FCN_snr0_babble_TMHINT_g1_14_01.wav", 0.5)
    write_recording(inside / "train" / "clean_TMHINT_g1_14_02.wav", 0.6)
    write_recording(inside / "test" / "FCN_snr0_babble_TMHINT_g1_14_03.wav", 0.7)
    write_table(
        inside / "raw_data.csv",
        "idx,method,uttr,snr,noise,quality_score,intelligibility_score,file_name",
        "0,FCN,g1_14_01,0,babble,4,10,FCN_snr0_babble_TMHINT_g1_14_01",
        "1,FCN,g1_14_01,0,babble,3,9,FCN_snr0_babble_TMHINT_g1_14_01",
        "2,FCN,g1_14_01,0,babble,,9,FCN_snr0_babble_TMHINT_g1_14_01",
        "3,clean,g1_14_02,,,5,10,clean_TMHINT_g1_14_02",
        "4,FCN,g1_14_03,0,babble,1,2,FCN_snr0_babble_TMHINT_g1_14_03",
    )


def expect(root: Path) -> dict[str, list[Utterance]]:
    def clip(split: str, name: str, seconds: float, system: str, reference: str, *ratings: float) -> Utterance:
        path = str(root / "TMHINTQI" / split / f"{name}.wav")
        meta = {"mos_overall": [["", rating] for rating in ratings]} if len(ratings) > 1 else {}
        labels = {"mos_overall": sum(ratings) / len(ratings)}
        return Utterance(f"{system}:{reference}", path, seconds, system, reference, labels, meta)

    system = "FCN-SNR0-babble"
    first, third = "FCN_snr0_babble_TMHINT_g1_14_01", "FCN_snr0_babble_TMHINT_g1_14_03"
    return {
        "train": [
            clip("train", first, 0.5, system, "TMHINT_g1_14_01", 4.0, 3.0),
            clip("train", "clean_TMHINT_g1_14_02", 0.6, "clean-SNR-", "TMHINT_g1_14_02", 5.0),
        ],
        "test": [clip("test", third, 0.7, system, "TMHINT_g1_14_03", 1.0)],
    }


def test_manifests(root):
    build(root)
    reports = check_manifests("tmhint-qi", root, expect(root))
    train = reports["train"]
    assert train["rows"] == {"read": 5, "kept": 3, "dropped": {"recording in test/": 1}}
    assert train["blank_ratings"] == {"mos_overall": 1}


def test_missing_column(root, capsys):
    build(root)
    check_missing_column("tmhint-qi", root, capsys, "TMHINTQI/raw_data.csv", "snr")


def test_bad_recordings(root, capsys):
    build(root)
    check_bad_recordings("tmhint-qi", root, capsys)


def test_two_recordings_with_one_id(root, capsys):
    build(root)
    write_recording(root / "TMHINTQI" / "test" / "FCN2_TMHINT_g1_14_03.wav")
    with (root / "TMHINTQI" / "raw_data.csv").open("a") as file:
        file.write("9,FCN,x,0,babble,1,1,FCN2_TMHINT_g1_14_03\n")
    check_taken_id("tmhint-qi", root, capsys)
