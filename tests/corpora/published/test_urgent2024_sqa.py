"""URGENT 2024: embedded recordings with ready-made metrics, and ratings."""

import pytest

from tests.helpers.corpus_trees import build_urgent, expect_urgent, write_parquet, write_recording
from tests.helpers.preparing import (
    check_bad_embedded_recording,
    check_manifests,
    check_missing_hub_column,
    prepared,
    refused,
)


def test_manifests(root):
    build_urgent(root, 2024)
    reports = check_manifests("urgent2024-sqa", root, expect_urgent(root, 2024))
    assert reports["train"]["notes"] == {"utmos far outside 1 to 5, left out": 1}
    assert reports["train"]["blank_ratings"] == {"pesq": 1}
    (note,) = reports["test"]["notes"]
    assert note.startswith("published mos is not the mean")


def test_missing_column(root, capsys):
    build_urgent(root, 2024)
    check_missing_hub_column("urgent2024-sqa", root, capsys, "sample_id")


@pytest.mark.parametrize("bad", [b"nothing", None])
def test_bad_recording(bad, root, capsys):
    build_urgent(root, 2024)
    good = write_recording(root.parent / "made" / "x0.wav", 0.5).read_bytes()
    columns = {"sample_id": ["a_1", "a_2"], "system_id": ["s_x", "s_x"], "audio": [good, bad], "mos": [1.0, 2.0]}
    write_parquet(root / "data" / "nonblind_test-00000-of-00001.parquet", columns, ("audio",))
    check_bad_embedded_recording("urgent2024-sqa", root, capsys, "train", "nonblind_test/x/2")


def test_a_sample_that_comes_twice(root, capsys):
    build_urgent(root, 2024)
    made = [write_recording(root.parent / "made" / f"{n}.wav", 0.5).read_bytes() for n in range(2)]
    columns = {"sample_id": ["x_1", "x_1"], "system_id": ["s_1", "s_1"], "audio": made, "mos": [3.0, 3.0]}
    write_parquet(next((root / "data").glob("blind_test_mos-*")), columns, ("audio",))
    words = "(blind_test_mos):1: system_id 's_1', sample_id 'x_1' are already used at"
    assert words in refused(capsys, "urgent2024-sqa", root)


def test_blank_ratings(root, capsys):
    build_urgent(root, 2024)
    file = next((root / "data").glob("blind_test_mos-*"))
    made = [write_recording(root.parent / "made" / f"{n}.wav", 0.5).read_bytes() for n in range(2)]
    columns = {"sample_id": ["x_1", "x_2"], "system_id": ["s_1", "s_1"], "audio": made, "mos": [3.0, 2.0]}
    write_parquet(file, columns | {"raw_ratings": [[4.0, None, 2.0], None]}, ("audio",))
    (one, two), report = prepared("urgent2024-sqa", root, "--splits", "test")["test"]
    assert one.metrics == {"mos_overall": 3.0} and one.meta == {"mos_overall": [["", 4.0], ["", 2.0]]}
    assert two.metrics == {"mos_overall": 2.0} and report["blank_ratings"] == {"mos_overall": 1}
    write_parquet(file, columns | {"mos": ["good", "2.0"]}, ("audio",))
    assert "(blind_test_mos):0: mos_overall 'good' is not a number" in refused(capsys, "urgent2024-sqa", root)
