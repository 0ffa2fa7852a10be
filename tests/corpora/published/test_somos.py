"""SOMOS: screened ratings with their listeners."""

from pathlib import Path

from tests.helpers.corpus_trees import build_somos, write_recording
from tests.helpers.preparing import (
    check_bad_recordings,
    check_manifests,
    check_missing_column,
    check_taken_id,
    prepared,
    refused,
)
from urgentmos_jax.manifests.reading import read_utterances
from urgentmos_jax.manifests.records import Utterance


def expect(root: Path) -> dict[str, list[Utterance]]:
    def clip(system: str, ratings: list) -> Utterance:
        mean = sum(rating for _, rating in ratings) / len(ratings)
        path = str(root / "audios" / f"novel_2007_0098_{system}.wav")
        labels = {"mos_overall": mean}
        return Utterance(
            f"{system}:novel_2007_0098", path, 0.5, system, "novel_2007_0098", labels, {"mos_overall": ratings}
        )

    return {
        "train": [clip("015", [["ab", 4.0], ["NA", 5.0]])],
        "dev": [clip("016", [["ab", 1.0]])],
        "test": [clip("016", [["ab", 2.0]])],
    }


def test_manifests(root):
    build_somos(root)
    reports = check_manifests("somos", root, expect(root))
    assert reports["train"]["blank_ratings"] == {"mos_overall": 1}
    assert reports["train"]["ratings"] == {"mos_overall": 2}


def test_missing_column(root, capsys):
    build_somos(root)
    check_missing_column("somos", root, capsys, "training_files/split1/clean/VALIDSET", "utteranceId")


def test_bad_recordings(root, capsys):
    build_somos(root)
    check_bad_recordings("somos", root, capsys)


def test_two_recordings_with_one_id(root, capsys):
    build_somos(root)
    write_recording(root / "audios" / "novel_2007_0098_x.wav")
    with (root / "training_files" / "split1" / "clean" / "TRAINSET").open("a") as file:
        file.write("015,novel_2007_0098_x.wav,1,ab\n")
    check_taken_id("somos", root, capsys)


def test_missing_list(root, capsys):
    build_somos(root)
    (root / "training_files" / "split1" / "clean" / "TESTSET").unlink()
    assert "TESTSET" in refused(capsys, "somos", root)
    # What is in order is kept.
    assert len(read_utterances(root.parent / "refused" / "train" / "data.jsonl")[0]) == 1
    assert prepared("somos", root, "--splits", "dev,train").keys() == {"dev", "train"}
    assert "somos has no split x; it has train, dev, test" in refused(capsys, "somos", root, "--splits", "x")
