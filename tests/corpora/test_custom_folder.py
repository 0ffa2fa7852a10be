"""A folder of one's own: `data/{train,dev,test}.csv`."""

import shutil

from tests.helpers.corpus_trees import write_recording, write_table
from tests.helpers.preparing import prepared, refused
from urgentmos_jax.manifests.records import Utterance


def test_a_folder_of_ones_own(root, capsys):
    for name in ("a", "b"):
        write_recording(root / "wavs" / f"{name} 1.wav")
    long = "wav_path,system_id,reference_id,dimension,score,listener_id,score_std"
    rows = ("wavs/a 1.wav,NA,015,mos_overall,4,l1,", "wavs/a 1.wav,NA,015,mos_overall,5,l2,")
    write_table(
        root / "data" / "train.csv", long, *rows, "wavs/a 1.wav,NA,015,mos_prosody,2.0,,0.5", "wavs/b 1.wav,x,,,3,,"
    )
    write_table(
        root / "data" / "dev.csv", "wav_path,system_id,reference_id,utmos,pesq", "wavs/a 1.wav,NA,015,3.123456,"
    )
    found = prepared("custom", root)
    a, b = (str(root / "wavs" / f"{name} 1.wav") for name in ("a", "b"))
    assert found["train"][0] == [
        Utterance("NA:015", a, 0.5, "NA", "015", {"mos_overall": 4.5, "mos_prosody": 2.0}, {
            "mos_overall": [["l1", 4.0], ["l2", 5.0]], "mos_prosody_std": 0.5,
        }),
        Utterance("x:wavs/b%201.wav", b, 0.5, "x", None, {"mos_overall": 3.0}),
    ]  # fmt: skip
    assert found["dev"][0] == [Utterance("NA:015", a, 0.5, "NA", "015", {"utmos": 3.1235})]
    assert found["train"][1]["corpus"] == "source" and found.keys() == {"train", "dev"}
    write_table(root / "data" / "dev.csv", "wav_path,system_id,reference_id,other", "wavs/a 1.wav,NA,015,3")
    assert "no columns of labels" in refused(capsys, "custom", root)
    shutil.rmtree(root / "data")
    assert "none of" in refused(capsys, "custom", root)
