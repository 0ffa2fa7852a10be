"""TTSDS2: rows of several kinds of ratings."""

from pathlib import Path

from tests.helpers.corpus_trees import write_recording, write_table
from tests.helpers.preparing import check_bad_recordings, check_manifests, check_missing_column, check_taken_id, refused
from urgentmos_jax.manifests.records import Utterance


def build(root: Path) -> None:
    write_recording(root / "clean" / "my system" / "a.wav", 0.5, 22050)
    write_recording(root / "clean" / "other" / "a.wav", 0.6, 22050)
    write_table(
        root / "subjective_results.csv",
        "audio,dataset,system,rating_type,value,annotator,survey_part,page,id",
        "clean/my system/a.wav,clean,my system,mos,4.0,p1,1,1,1",
        "clean/my system/a.wav,clean,my system,mos,3.0,p2,1,1,2",
        "clean/my system/a.wav,clean,my system,smos,1.0,p2,1,1,3",
        "clean/other/a.wav,clean,other,mos,2.0,p1,1,1,4",
    )


def expect(root: Path) -> dict[str, list[Utterance]]:
    def clip(uid: str, system: str, seconds: float, *ratings: list) -> Utterance:
        mean = sum(rating for _, rating in ratings) / len(ratings)
        meta, path = {"mos_overall": list(ratings)}, str(root / "clean" / system / "a.wav")
        return Utterance(uid, path, seconds, f"clean-{system}", "a", {"mos_overall": mean}, meta)

    return {
        "train": [
            clip("clean-my%20system:a", "my system", 0.5, ["p1", 4.0], ["p2", 3.0]),
            clip("clean-other:a", "other", 0.6, ["p1", 2.0]),
        ]
    }


def test_manifests(root):
    build(root)
    reports = check_manifests("ttsds2", root, expect(root))
    assert reports["train"]["rows"]["dropped"] == {"rating type smos": 1}


def test_missing_column(root, capsys):
    build(root)
    check_missing_column("ttsds2", root, capsys, "subjective_results.csv", "rating_type")


def test_bad_recordings(root, capsys):
    build(root)
    check_bad_recordings("ttsds2", root, capsys)


def test_two_recordings_with_one_id(root, capsys):
    build(root)
    write_recording(root / "elsewhere" / "a.wav")
    with (root / "subjective_results.csv").open("a") as file:
        file.write("elsewhere/a.wav,clean,other,mos,1,p,1,1,1\n")
    check_taken_id("ttsds2", root, capsys)


def test_a_list_without_rows(root, capsys):
    build(root)
    write_table(root / "subjective_results.csv", "audio,dataset,system,rating_type,value,annotator", "a,b,c,smos,1,d")
    err = refused(capsys, "ttsds2", root)
    assert "subjective_results.csv: no rows to keep (rating type smos: 1)" in err
