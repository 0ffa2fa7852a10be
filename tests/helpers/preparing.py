"""Running `urgentmos prepare` on a small tree, and what every published corpus must do."""

import csv
import json
from pathlib import Path

from urgentmos_jax.cli import main
from urgentmos_jax.corpora.registry import corpus_of
from urgentmos_jax.manifests.reading import read_pairs, read_utterances
from urgentmos_jax.manifests.records import Pair, Utterance


def prepared(name: str, source: Path, *flags: str) -> dict[str, tuple[list[Utterance] | list[Pair], dict]]:
    """{split: (records, report)}."""
    output = source.parent / "out"
    assert main(["prepare", name, "--source", str(source), "--output", str(output), *flags]) == 0
    found = {}
    for folder in sorted(output.iterdir()):
        pairs = folder / "data_pairs.jsonl"
        records, _ = read_pairs(pairs) if pairs.exists() else read_utterances(folder / "data.jsonl")
        found[folder.name] = records, json.loads((folder / "report.json").read_text())
    return found


def refused(capsys, name: str, source: Path, *flags: str) -> str:
    output = source.parent / "refused"
    capsys.readouterr()
    assert main(["prepare", name, "--source", str(source), "--output", str(output), *flags]) == 2
    err = capsys.readouterr().err
    assert "Traceback" not in err
    return err


def check_manifests(name: str, root: Path, expected: dict[str, list[Utterance] | list[Pair]]) -> dict[str, dict]:
    """Prepares the corpus below `root`, and returns its reports by split."""
    found = prepared(name, root)
    assert found.keys() == expected.keys() == corpus_of(name).splits.keys()
    for split, wanted in expected.items():
        records, report = found[split]
        order = (lambda record: record.uids) if corpus_of(name).pairs else (lambda record: record.uid)
        assert records == sorted(wanted, key=order), split
        assert report["corpus"] == name and report["published"] == corpus_of(name).splits[split]
    return {split: report for split, (_, report) in found.items()}


def remove_column(path: Path, column: str) -> None:
    with path.open(encoding="utf-8-sig", newline="") as file:
        rows = list(csv.reader(file))
    place = rows[0].index(column)
    with path.open("w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows([cell for i, cell in enumerate(row) if i != place] for row in rows)


def check_missing_column(name: str, root: Path, capsys, file: str, column: str) -> None:
    """A table below `root` that lacks a column."""
    remove_column(root / file, column)
    assert f"{root / file}:1: no column '{column}'; the columns are" in refused(capsys, name, root)


def check_missing_hub_column(name: str, root: Path, capsys, column: str) -> None:
    """A hub dataset at `root` whose test split lacks a column."""
    import datasets

    file = next((root / "data").glob("*test-*.parquet"))
    datasets.Dataset.from_parquet(str(file)).remove_columns(column).to_parquet(str(file) + "2")
    Path(str(file) + "2").replace(file)
    assert f"no column '{column}'" in refused(capsys, name, root)


def check_taken_id(name: str, root: Path, capsys) -> None:
    """Two recordings below `root` with one id."""
    err = refused(capsys, name, root)
    assert "has the id" in err and "on line" in err


def check_bad_embedded_recording(name: str, root: Path, capsys, split: str, words: str) -> None:
    """A hub dataset at `root` that holds one bad recording in a split; `words` name it."""
    err = refused(capsys, name, root)
    assert words in err and "--skip-bad" in err
    records, report = prepared(name, root, "--skip-bad", "0.6")[split]
    assert len(report["bad_audio"]) == 1 and words in report["bad_audio"][0]["error"]
    # What was extracted is not written again.
    files = {path: path.stat().st_mtime_ns for path in (root.parent / "out").rglob("audio/**/*.*")}
    assert len(files) >= len(records)
    prepared(name, root, "--skip-bad", "0.6")
    assert files == {path: path.stat().st_mtime_ns for path in files}


def check_bad_recordings(name: str, root: Path, capsys) -> None:
    """A missing and an undecodable recording of the corpus below `root`."""
    recordings = sorted(root.rglob("*.wav"))
    for how, words in (("missing", "cannot be found"), ("damaged", "an HTML page")):
        kept = recordings[0].read_bytes()
        recordings[0].unlink()
        if how == "damaged":
            recordings[0].write_text("<html>404</html>")
        err = refused(capsys, name, root)
        # A recording of TMHINT-QI belongs to the split in whose folder it lies.
        wanted = recordings[0].name
        assert wanted in err and words in err and "--skip-bad" in err
        recordings[0].write_bytes(kept)
    recordings[0].write_text("<html>404</html>")
    output = root.parent / "out"
    flags = ("--source", str(root), "--output", str(output), "--skip-bad", "0.7")
    code = main(["prepare", name, *flags])
    if code:  # A split had this recording alone; the others are written.
        assert "1 of 1 recordings are bad, more than 70 %" in capsys.readouterr().err
    else:
        reports = [json.loads(path.read_text()) for path in output.glob("*/report.json")]
        assert any(recordings[0].stem in bad["audio"] for report in reports for bad in report["bad_audio"])
