"""Recordings that are embedded in hub datasets."""

from tests.helpers.corpus_trees import write_parquet, write_recording
from tests.helpers.preparing import prepared
from urgentmos_jax.cli import main


def test_names_in_tables_that_reach_out(root):
    made = [write_recording(root.parent / "made" / f"{n}.wav", 0.5).read_bytes() for n in range(2)]
    columns = {"index": ["../../../canary", ".."], "audioA": made, "audioB": made[::-1]}
    for split in ("train", "dev", "test", "other"):
        file = root / "data" / f"{split}-00000-of-00001.parquet"
        write_parquet(file, columns | {"naturalness_label": ["A", "B"]}, ("audioA", "audioB"))
    prepared("speechjudge", root)
    written = {path.name for path in (root.parent / "out" / "train" / "audio").iterdir()}
    canary = "%2E.%2F..%2F..%2Fcanary"
    assert written == {f"{name}_{side}.wav" for name in (canary, "%2E.") for side in "ab"}
    assert not list(root.parent.rglob("canary*"))
    system = "a_../../../canary"
    for part in ("validation", "nonblind_test", "blind_test_mos"):
        columns = {"sample_id": [f"{part}_.."], "system_id": [system], "audio": made[:1], "mos": [3.0]}
        write_parquet(root / "urgent" / "data" / f"{part}-00000-of-00001.parquet", columns, ("audio",))
    assert main(["prepare", "urgent2024-sqa", "--source", str(root / "urgent"), "--output", str(root / "out")]) == 0
    (written,) = (root / "out" / "test" / "audio").rglob("*.wav")
    assert written.relative_to(root / "out" / "test" / "audio").parts == ("blind_test_mos", canary, "%2E..wav")
    assert not list(root.parent.rglob("canary*"))
