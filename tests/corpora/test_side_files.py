"""The authors' side files join by id."""

import json
import shutil

import pytest

from tests.helpers.corpus_trees import build_somos, build_speechjudge, write_recording, write_table
from tests.helpers.preparing import prepared, refused


def test_side_files(root, capsys):
    build_somos(root)
    write_recording(root / "audios" / "novel_2007_0099_015.wav", 0.5, 24000)
    with (root / "training_files" / "split1" / "clean" / "TRAINSET").open("a") as file:
        file.write("015,novel_2007_0099_015.wav,3,ab\n")
    side = root.parent / "meta" / "somos" / "train"
    first, second = "015:novel_2007_0098", "015:novel_2007_0099"
    write_table(side / "utmos.scp", f"{first} 3.25", f"{second} 2.00004")
    write_table(side / "scoreq.scp", f"{first} 4.5", "016:other 3")
    write_table(side / "mos_overall.scp", f"{first} 1.0")
    write_table(side / "wav.scp", f"{first} /far/away.wav")
    write_table(side / "utt2dur", f"{first} 0.500", f"{second} 9.000")
    write_table(side / "meta.jsonl", json.dumps({"uid": second, "note": "x", "mos_overall": [["q", 1]]}))
    flags = ("--splits", "train", "--side-files", str(root.parent / "meta"))
    (one, two), report = prepared("somos", root, *flags)["train"]
    assert one.metrics == {"mos_overall": 4.5, "utmos": 3.25, "scoreq": 4.5}
    assert two.metrics == {"mos_overall": 3.0, "utmos": 2.0} and two.meta == {"mos_overall": [["ab", 3.0]], "note": "x"}
    assert report["side_files"] == {
        "mos_overall.scp": {"matched": 1, "not_in_corpus": 0, "without": 1},
        "scoreq.scp": {"matched": 1, "not_in_corpus": 1, "without": 1},
        "utmos.scp": {"matched": 2, "not_in_corpus": 0, "without": 0},
        "utt2dur": {"matched": 2, "not_in_corpus": 0, "without": 0},
        "meta.jsonl": {"matched": 1, "not_in_corpus": 0, "without": 1},
    }
    assert {note.split(",")[0]: count for note, count in report["notes"].items()} == {
        "mos_overall.scp differs from the corpus's own mos_overall": 1,
        "utt2dur is more than 0.5 s off the recording": 1,
    }
    assert "side file scoreq.scp: 1 matched, 1 ids not in the corpus, 1 utterances without" in capsys.readouterr().err
    write_table(side / "utmos.scp", "a 1", "b 2", "c x")
    err = refused(capsys, "somos", root, *flags)
    assert "utmos.scp:3: 'c x' is not `uid number`" in err and "only 0 of its 2 ids are in the corpus" in err
    shutil.rmtree(side)
    assert "no side files" in refused(capsys, "somos", root, *flags)


def test_side_files_where_dev_is_held_out(root):
    for n in range(100):
        write_recording(root / "pstn_train" / f"{n}.wav", 0.01, 8000)
    write_table(root / "pstn_train" / "pstn_train.csv", "filename,MOS,std", *(f"{n}.wav,3,0.5" for n in range(100)))
    write_table(root.parent / "meta" / "pstn" / "train" / "utmos.scp", *(f"{n}:{n} {1 + n / 25}" for n in range(100)))
    found = prepared("pstn", root, "--hold-out", "0.1", "--side-files", str(root.parent / "meta"))
    for records, report in found.values():
        assert all(one.metrics["utmos"] == pytest.approx(1 + int(one.uid.split(":")[0]) / 25) for one in records)
        counts = {"matched": len(records), "not_in_corpus": 0, "without": 0}
        assert report["side_files"] == {"utmos.scp": counts}
    assert found.keys() == {"train", "dev"}
    build_speechjudge(root)
    assert len(prepared("speechjudge", root, "--splits", "test", "--side-files", str(root / "none"))["test"][0]) == 2
