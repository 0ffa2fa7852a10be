"""Predictions in files, as `urgentmos score` and `urgentmos compare` write them or a table of your own, by record."""

import math
import os
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from urgentmos_jax.evaluation.datasets import Dataset, record_name, some_names
from urgentmos_jax.manifests.lines import json_lines
from urgentmos_jax.manifests.records import ManifestError, Pair, Utterance
from urgentmos_jax.manifests.tables import CsvFile, number

Values = dict[str, float]  # {metric: value}

# Columns of the two CSV files that are no metric.
_ABOUT = {
    *("uid", "path", "path_a", "path_b", "duration_s", "duration_a_s", "duration_b_s"),
    *("windows", "bandwidth_hz", "bandwidth_a_hz", "bandwidth_b_hz", "flags", "model", "error", "message"),
}
# Of a metric in a row of `compare`.
_COMPARED = ("cmos", "p_a", "p_b", "p_tie", "score_difference")


class HeadValue(float):
    """The CMOS of a pair by a head.

    Attributes:
        probabilities: That A is better, that B is, of a tie.
        score_difference: The score of A less that of B; NaN where it is not known.
    """

    probabilities: tuple[float, ...]
    score_difference: float

    def __new__(cls, cmos: float, probabilities: Iterable[float], score_difference: float = math.nan) -> "HeadValue":
        """A CMOS with these attributes."""
        found = super().__new__(cls, cmos)
        found.probabilities, found.score_difference = tuple(probabilities), score_difference
        return found


class PredictionsError(ManifestError):
    """A file of predictions that cannot be used; `faults` has all that is wrong with it."""


class Predictions(dict[str, dict[str, float]]):
    """{uid: {metric: value}}. A row that failed has no values.

    A row of `urgentmos compare` has the uid `A B` (the two uids, or paths) and the CMOS of each metric.

    Attributes:
        name: Where they come from.
        uids: {absolute path of the recording, or the two paths: uid}, where the file has paths.
    """

    def __init__(self, values: Mapping[str, Values] = {}, name: str = "predictions"):
        super().__init__(values)
        self.name = name
        self.uids: dict[tuple[str, ...], str] = {}

    @property
    def metrics(self) -> list[str]:
        """Every metric that a row has a value of, in order of appearance."""
        return list(dict.fromkeys(metric for values in self.values() for metric in values))


def read_predictions(path: str | os.PathLike) -> Predictions:
    """Reads predictions.

    Args:
        path: `.jsonl` with `uid` and `scores` {metric: number}, `comparison` {metric: {cmos, p_a, p_b, p_tie}} or
            `metrics` {metric: number}, as `urgentmos score`, `urgentmos compare` and manifests have them; or `.csv`
            with a column `uid`, and one for each metric (`metric_cmos`, `metric_p_a`, ... of comparisons). Null and
            empty cells are missing.

    Raises:
        PredictionsError: The file cannot be read; a uid is missing or repeated, a value is not a finite number; all
            lines are named.
    """
    path = Path(path)
    found, faults = Predictions(name=str(path)), []
    lines: dict[str, int] = {}
    for line, entry in _rows(path):
        try:
            if isinstance(entry, str):
                raise ValueError(entry)
            uid = entry.get("uid")
            if not isinstance(uid, str) or not uid:
                raise ValueError("no uid, give a string")
            if (first := lines.setdefault(uid, line)) != line:
                raise ValueError(f"uid {uid!r} is that of line {first} too; leave one of them")
            found[uid] = {metric: _value(metric, value) for metric, value in entry["values"].items()}
        except ValueError as error:
            faults.append(f"{path}:{line}: {error}")
            continue
        if all(side and isinstance(side, str) for side in entry["paths"]):
            found.uids[tuple(map(os.path.abspath, entry["paths"]))] = uid
    if not faults and not found:
        faults.append(f"{path}: holds no predictions")
    if faults:
        raise PredictionsError(faults)
    return found


def join(datasets: Sequence[Dataset], predictions: Predictions) -> list[list[Values]]:
    """Finds the prediction of each record: by uid, else by path.

    The comparison of a pair is the prediction `A B` of its two uids (or paths), else the difference of the scores of A
    and B, metric by metric: A less B, as `urgentmos pairs` makes labels. The datasets are all that predictions are of.

    Returns:
        For each dataset [N] {metric: value}, empty where there is none.

    Raises:
        PredictionsError: A uid stands for two recordings, or predictions belong to no record.
    """
    if not predictions:
        raise PredictionsError([f"{predictions.name}: holds none"])
    keys = {(uid, paths) for dataset in datasets for record in dataset.records for uid, paths in _keys(record)}
    shared = {uid for uid, count in Counter(uid for uid, _ in keys).items() if count > 1}
    used: set[str] = set()
    faults: dict[str, None] = {}

    def find(uid: str, paths: tuple[str, ...]) -> Values | None:
        known = predictions.uids.get(paths) if uid in shared or uid not in predictions else uid
        if known is None:
            if uid in predictions:
                advice = "give predictions with paths, or evaluate the manifests one by one"
                faults[f"{predictions.name}: uid {uid!r} is of several recordings; {advice}"] = None
            return None
        used.add(known)
        return predictions[known]

    found: list[list[Values]] = []
    for dataset in datasets:
        found.append([])
        for record in dataset.records:
            whole, *sides = (find(*key) for key in _keys(record))
            if whole is None and len(sides) == 2 and (a := sides[0]) is not None and (b := sides[1]) is not None:
                whole = {metric: a[metric] - b[metric] for metric in a if metric in b}
            found[-1].append(whole or {})
    wanted = next((record_name(record) for dataset in datasets for record in dataset.records), "")
    # Scores of clips that no pair has are no mistake.
    unknown = [uid for uid in predictions if uid not in used]
    if not faults and unknown and not any(dataset.pairs for dataset in datasets):
        hint = "" if used else f"; uids of the manifests are as {wanted!r}"
        advice = f"take them out, or name their manifest too{hint}"
        faults[f"{predictions.name}: {len(unknown)} uids are in no manifest, {some_names(unknown)}; {advice}"] = None
    if not faults and not used:
        text = f"no prediction of any record; uids are as {unknown[0]!r}, expected as {wanted!r}"
        faults[f"{predictions.name}: {text}"] = None
    if faults:
        raise PredictionsError(list(faults))
    return found


def short_names(sources: Sequence[Path | str]) -> dict[str, Path | str]:
    """Sources of predictions by the last part of their path, or by all of it where two end alike."""
    count = Counter(Path(source).name for source in sources)
    return {name if count[name := Path(source).name] == 1 else str(source): source for source in sources}


def _rows(path: Path) -> Iterator[tuple[int, dict[str, Any] | str]]:
    try:
        yield from _csv_rows(path) if path.suffix == ".csv" else _json_rows(path)
    except ManifestError as error:
        raise PredictionsError(error.faults) from None


def _json_rows(path: Path) -> Iterator[tuple[int, dict[str, Any] | str]]:
    """(line number, `uid`, `values` {metric: not yet checked} and `paths`; or what is wrong)."""
    for line, entry in json_lines(path):
        if isinstance(entry, str):
            yield line, entry
            continue
        kind = next((key for key in ("scores", "comparison", "metrics") if key in entry), None)
        if kind is None:
            yield line, "no scores, comparison or metrics {metric: number}; is this a file of predictions?"
            continue
        values = {} if entry[kind] is None else entry[kind]
        if isinstance(values, dict) and kind == "comparison":
            values = {
                name: tuple(one.get(key) for key in _COMPARED) if isinstance(one, dict) else one
                for name, one in values.items()
            }
        if not isinstance(values, dict):
            yield line, f"{kind} is not an object of numbers"
            continue
        present = {name: value for name, value in values.items() if not _is_missing(value)}
        yield line, {"uid": entry.get("uid"), "values": present, "paths": entry.get("paths") or [entry.get("path")]}


def _csv_rows(path: Path) -> Iterator[tuple[int, dict[str, Any] | str]]:
    table = CsvFile(path, ["uid"], strip=False)
    header, metrics = table.header, _metric_columns(table.header)
    for position, cells in table:
        if len(cells) != len(header):
            yield position.line, f"has {len(cells)} cells, the header has {len(header)}"
            continue
        row = dict(zip(header, (cell if cell.strip() else None for cell in cells), strict=True))
        values = {
            metric: row[found] if isinstance(found, str) else tuple(row.get(column) for column in found)
            for metric, found in metrics.items()
        }
        sides = [row["path_a"], row["path_b"]] if {"path_a", "path_b"} <= row.keys() else [row.get("path")]
        present = {name: value for name, value in values.items() if not _is_missing(value)}
        yield position.line, {"uid": row["uid"], "values": present, "paths": sides}


def _metric_columns(columns: list[str]) -> dict[str, str | list[str]]:
    """{metric: its column, or those of `_COMPARED`}."""
    compared = [column.removesuffix("_cmos") for column in columns if column.endswith("_cmos")]
    beside = {f"{metric}_{key}" for metric in compared for key in _COMPARED}
    plain = [column for column in columns if column not in _ABOUT | beside]
    return {metric: [f"{metric}_{key}" for key in _COMPARED] for metric in compared} | {one: one for one in plain}


def _keys(record: Utterance | Pair) -> Iterator[tuple[str, tuple[str, ...]]]:
    """(uid, paths) a prediction of the record may have; of a pair also those of its sides."""
    if isinstance(record, Utterance):
        yield record.uid, (os.path.abspath(record.audio_path),)
        return
    paths = tuple(map(os.path.abspath, record.audio_paths))
    yield " ".join(record.uids), paths
    for uid, path in zip(record.uids, paths, strict=True):
        yield uid, (path,)


def _is_missing(value: Any) -> bool:
    """Whether a value, or the CMOS of a comparison, is null."""
    return (value[0] if isinstance(value, tuple) else value) is None


def _value(metric: str, value: Any) -> float:
    """A number, or a comparison, whose head is known where all of its probabilities are there."""
    if not isinstance(value, tuple):
        return _number(metric, value)
    cmos, *probabilities, difference = value
    if None in probabilities:
        return _number(metric, cmos)
    numbers = [_number(f"a probability of {metric}", one) for one in probabilities]
    known = math.nan if difference is None else _number(f"score_difference of {metric}", difference)
    return HeadValue(_number(metric, cmos), numbers, known)


def _number(metric: str, value: Any) -> float:
    if isinstance(value, (int, float, str)) and not isinstance(value, bool):
        found = number(str(value))
        if found is not None:
            return found
    raise ValueError(f"{metric} is {value!r}, give a finite number, or nothing where it is missing")
