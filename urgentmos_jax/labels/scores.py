"""Ready-made scores by id, from CSV or scp files; and how values join the labels of utterances."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from urgentmos_jax.manifests.lines import out_of_range
from urgentmos_jax.manifests.records import LABEL_DECIMALS, ManifestError, Utterance
from urgentmos_jax.manifests.tables import CsvFile, RowChecks, read_scp
from urgentmos_jax.metrics import CATALOGUE

_TOLERANCE = 1e-3
_CSV_SUFFIXES = (".csv", ".tsv")
_ID = "uid"


@dataclass(frozen=True)
class ScoreFile:
    """Scores of one file, {metric: {uid: value}}; `notes` is what else should be told: values and columns left out."""

    path: Path
    values: Mapping[str, Mapping[str, float]]
    notes: Sequence[str] = ()

    @classmethod
    def read(cls, path: Path, metric: str | None = None) -> "ScoreFile":
        """Reads a `.csv` or `.tsv` table with a column `uid` and one a metric, or lines of `uid number`.

        Without the name of a metric, that of the file is it.

        Raises:
            ManifestError: With all faults.
        """
        checks = RowChecks()
        try:
            if path.suffix in _CSV_SUFFIXES:
                values, notes = _read_table(path, metric, checks)
            else:
                values, notes = _read_scp(path, metric or path.stem, checks), []
        except (OSError, UnicodeDecodeError) as error:
            raise ManifestError([f"{path}: cannot be read ({getattr(error, 'strerror', None) or error})"]) from None
        checks.stop_at_faults()
        notes += [f"{note}: {count}" for note, count in checks.notes.items()]
        notes += [f"{name}, blank: {count}" for name, count in checks.blank.items()]
        return cls(path, values, notes)


def read_score_files(texts: Sequence[str], computed: Sequence[str] = ()) -> list[ScoreFile]:
    """Reads the files of `[METRIC=]FILE` each; a metric that is `computed` too is a fault.

    Raises:
        ManifestError: With the faults of all files.
    """
    files, faults = [], []
    for text in texts:
        name, _, path = text.partition("=")
        try:
            file = ScoreFile.read(Path(path), name) if name in CATALOGUE and path else ScoreFile.read(Path(text))
        except ManifestError as error:
            faults += [f"--scores {fault}" for fault in error.faults]
            continue
        if both := [metric for metric in file.values if metric in computed]:
            faults.append(f"--scores {text}: {both[0]} is in --metrics too; leave one out")
        files.append(file)
    if faults:
        raise ManifestError(faults)
    return files


def join(
    utterances: Sequence[Utterance], metric: str, values: Mapping[str, float | None], *, overwrite: bool = False
) -> dict[str, int]:
    """Adds values {uid: value or None} of a metric to the labels of utterances, in place, with four decimals.

    Labels that they have stay, unless `overwrite`.

    Returns:
        How many labels were "added", "replaced", "kept" (and differ by more than 0.001), are the "same"; values "far
        out" of the metric's range, which no reader would take; utterances "without" a value; ids "not in the manifest".
    """
    counts: Counter[str] = Counter()
    known = CATALOGUE.get(metric)
    for utterance in utterances:
        value = values.get(utterance.uid)
        label = utterance.metrics.get(metric)
        if value is None:
            counts["without"] += 1
        elif known and out_of_range(value, known.minimum, known.maximum):
            counts["far out"] += 1
        elif label is not None and (abs(label - value) <= _TOLERANCE or not overwrite):
            counts["same" if abs(label - value) <= _TOLERANCE else "kept"] += 1
        else:
            utterance.metrics[metric] = round(value, LABEL_DECIMALS)
            counts["added" if label is None else "replaced"] += 1
    counts["not in the manifest"] = len(values.keys() - {utterance.uid for utterance in utterances})
    return dict(counts)


def _read_scp(path: Path, metric: str, checks: RowChecks) -> dict[str, dict[str, float]]:
    if metric not in CATALOGUE:
        advice = f"give it as METRIC={path}, with one of {', '.join(CATALOGUE)}"
        raise ManifestError([f"{path}: its name {metric!r} is not a known metric; {advice}"])
    found = read_scp(path, checks)
    return {metric: {uid: value for uid, (position, value) in found.items() if checks.fits(position, metric, value)}}


def _read_table(path: Path, metric: str | None, checks: RowChecks) -> tuple[dict[str, dict[str, float]], list[str]]:
    table = CsvFile(path, [_ID, *([metric] if metric else [])], delimiters=(",", "\t", ";"))
    metrics = [metric] if metric else [name for name in table.header if name in CATALOGUE]
    if not metrics:
        raise ManifestError([f"{path}:1: no column is named as a known metric; the columns are {table.header}"])
    values: dict[str, dict[str, float]] = {name: {} for name in metrics}
    for position, cells in checks.table(table):
        for name in metrics:
            value = checks.value(position, name, cells[name])
            if value is None or not checks.fits(position, name, value):
                continue
            if values[name].setdefault(cells[_ID], value) != value:
                checks.fault(position, f"{name} of {cells[_ID]!r} is {value:g}, on an earlier line another value")
    unused = [name for name in table.header if name not in (_ID, *metrics)]
    return values, [f"columns left out: {', '.join(unused)}"] if unused else []
