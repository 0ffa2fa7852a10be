"""URGENT 2025: embedded recordings with ready-made metrics."""

import pytest

from tests.helpers.corpus_trees import build_urgent, expect_urgent, write_parquet, write_recording
from tests.helpers.preparing import check_bad_embedded_recording, check_manifests, check_missing_hub_column, refused


def test_manifests(root):
    build_urgent(root, 2025)
    check_manifests("urgent2025-sqa", root, expect_urgent(root, 2025))


def test_missing_column(root, capsys):
    build_urgent(root, 2025)
    check_missing_hub_column("urgent2025-sqa", root, capsys, "sample_id")


@pytest.mark.parametrize("bad", [b"nothing", None])
def test_bad_recording(bad, root, capsys):
    build_urgent(root, 2025)
    good = write_recording(root.parent / "made" / "x0.wav", 0.5).read_bytes()
    columns = {"sample_id": ["a_1", "a_2"], "system_id": ["s_x", "s_x"], "audio": [good, bad], "mos": [1.0, 2.0]}
    write_parquet(root / "data" / "nonblind_test-00000-of-00001.parquet", columns, ("audio",))
    check_bad_embedded_recording("urgent2025-sqa", root, capsys, "train", "nonblind_test/x/2")


def test_a_sample_that_comes_twice(root, capsys):
    build_urgent(root, 2025)
    made = [write_recording(root.parent / "made" / f"{n}.wav", 0.5).read_bytes() for n in range(2)]
    columns = {"sample_id": ["x_1", "x_1"], "system_id": ["s_1", "s_1"], "audio": made, "mos": [3.0, 3.0]}
    write_parquet(next((root / "data").glob("blind_test_mos-*")), columns, ("audio",))
    words = "(blind_test_mos):1: system_id 's_1', sample_id 'x_1' are already used at"
    assert words in refused(capsys, "urgent2025-sqa", root)
