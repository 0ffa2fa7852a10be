"""Your own ratings: any CSV file of recordings and ratings -> a manifest."""

import os
import re
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from urgentmos_jax.corpora.prepare import write_split
from urgentmos_jax.corpora.split import Rating, Split
from urgentmos_jax.manifests.paths import locate
from urgentmos_jax.manifests.records import LABEL_DECIMALS
from urgentmos_jax.manifests.tables import CsvFile, Position, is_blank, number, split_cell

_DELIMITERS = (",", "\t", ";", "|")
_DECIMAL_COMMA = re.compile(r"[+-]?\d+,\d+")
_COMMA, _OTHER_SEPARATOR = re.compile(r"\s*,\s*"), re.compile(r"[\s;]")
_NUMBER = r"(-?\d+(?:\.\d+)?)"
_SCALE = re.compile(rf"{_NUMBER}-{_NUMBER}:{_NUMBER}-{_NUMBER}")


@dataclass(frozen=True)
class Scale:
    """A linear map of ratings: `least` to `to_least`, `greatest` to `to_greatest`."""

    least: float
    greatest: float
    to_least: float
    to_greatest: float

    @classmethod
    def parse(cls, text: str) -> "Scale":
        """Reads `0-100:1-5`.

        Raises:
            ValueError: It is not one.
        """
        found = _SCALE.fullmatch(text.replace(" ", ""))
        scale = cls(*map(float, found.groups())) if found else None
        if scale is None or scale.least >= scale.greatest or scale.to_least == scale.to_greatest:
            raise ValueError(f"{text!r} is not a scale; give FROM-TO:FROM-TO, such as 0-100:1-5")
        return scale

    @property
    def slope(self) -> float:
        return (self.to_greatest - self.to_least) / (self.greatest - self.least)

    def __call__(self, rating: float) -> float:
        return self.to_least + (rating - self.least) * self.slope


@dataclass(frozen=True)
class Columns:
    """The columns of a table.

    Args:
        audio: Column of audio paths. Rows of the same recording are averaged.
        ratings: {metric: column}; with `metric_column`, {metric: its name in that column}, or empty if the names are
            the same. A cell holds one rating, or several separated by white space, commas or semicolons, optionally in
            brackets.
        system: Column of what produced the recording.
        reference: Column of what it says.
        metric_column: Long form: the column that names the metric of a row.
        score_column: Long form: the column that holds the rating of a row.
        std: {metric: column} of standard deviations, kept in `meta`; the key "" is for all metrics.
        listeners: Column of who rated: one id, or as many as there are ratings in the cell.
        scales: {metric: map of its ratings}; the key "" is for all metrics.
    """

    audio: str
    ratings: Mapping[str, str] = field(default_factory=dict)
    system: str | None = None
    reference: str | None = None
    metric_column: str | None = None
    score_column: str | None = None
    std: Mapping[str, str] = field(default_factory=dict)
    listeners: str | None = None
    scales: Mapping[str, Scale] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if (self.metric_column is None) != (self.score_column is None):
            raise ValueError("long form needs both a column of metric names and a column of scores")
        if self.metric_column is None and not self.ratings:
            raise ValueError("no column of ratings; name at least one, with its metric")
        if self.ratings and (odd := (set(self.std) | set(self.scales)) - set(self.ratings) - {""}):
            raise ValueError(f"standard deviations or scales are given for {sorted(odd)}, but no ratings")

    @property
    def names(self) -> list[str]:
        """All columns that are read."""
        one = (self.audio, self.system, self.reference, self.metric_column, self.score_column, self.listeners)
        ratings = () if self.metric_column else self.ratings.values()
        return list(dict.fromkeys(name for name in (*one, *ratings, *self.std.values()) if name is not None))


def prepare_table(
    source: str | os.PathLike,
    output: str | os.PathLike,
    columns: Columns,
    *,
    delimiter: str | None = None,
    audio_root: str | os.PathLike | None = None,
    max_bad_fraction: float = 0.0,
) -> dict[str, Any]:
    """Writes `output/data.jsonl` and `output/report.json`.

    All cells are read as text, so ids such as `NA` or `015` stay as they are. Labels are means of the ratings of a
    recording, on the given scale, with four decimals; several ratings, or ratings with listeners, are kept in `meta`,
    `{metric: [[listener, rating]]}` and `{metric_std: ...}`, on the same scale. Audio paths below the output folder are
    relative to it, others absolute. Ids are those of `split.make_uid`, with the audio path for a missing reference.

    Args:
        source, columns: A table with a header, UTF-8, and its columns.
        output: Folder; created if missing.
        delimiter: Between cells; by default whichever of comma, tab, semicolon and | finds the columns.
        audio_root: Where audio paths are looked for that are not found relative to the table.
        max_bad_fraction: Fraction of the recordings that may be missing or undecodable; they are left out and listed.

    Returns:
        The content of `report.json`: rows read, kept and dropped by reason, labels, recordings left out, the mapping.

    Raises:
        ManifestError: With all faults of the table, each with its line.
    """
    table = CsvFile(source, columns.names, delimiters=[delimiter] if delimiter else _DELIMITERS)
    split = Split(table.path)
    reading = _Reading(columns, split)
    for position, row in split.table(table):
        audio = row[columns.audio]
        if not audio:
            split.dropped["no audio"] += 1
            continue
        if not (ratings := reading.ratings(position, row)):
            continue
        system, reference = (row[name] or None if name else None for name in (columns.system, columns.reference))
        if columns.system and not system:
            split.fault(position, f"no {columns.system}; name what produced the recording")
        path, meta = locate(audio, table.path, audio_root), reading.deviations(position, row, ratings)
        split.add(position, audio, path, system=system, reference=reference, ratings=ratings, meta=meta)
    mapping = asdict(columns) | {"delimiter": table.delimiter}
    return write_split(split, output, max_bad_fraction=max_bad_fraction, about={"mapping": mapping})


class _Reading:
    """Ratings of the rows of a table."""

    def __init__(self, columns: Columns, split: Split):
        self.columns, self.split = columns, split

    def ratings(self, position: Position, row: dict[str, str]) -> dict[str, list[Rating]]:
        """{metric: ratings} of a row, without blanks."""
        if self.columns.metric_column and self.columns.score_column:
            name = row[self.columns.metric_column]
            named = {value: metric for metric, value in self.columns.ratings.items()} or {name: name}
            if not name or name not in named:
                self.split.dropped[f"metric {name}" if name else "no metric"] += 1
                return {}
            cells = {named[name]: row[self.columns.score_column]}
        else:
            cells = {metric: row[column] for metric, column in self.columns.ratings.items()}
        faults = len(self.split.faults)
        found = {metric: self._ratings(position, metric, cell, row) for metric, cell in cells.items()}
        if not any(found.values()) and len(self.split.faults) == faults:
            self.split.dropped["no rating"] += 1
        return {metric: ratings for metric, ratings in found.items() if ratings}

    def _ratings(self, position: Position, metric: str, cell: str, row: dict[str, str]) -> list[Rating]:
        fault = ""
        if _DECIMAL_COMMA.fullmatch(cell):
            fault = f"could be one number or two; write {cell.replace(',', '.')} or [{cell}]"
        elif "," in cell and _OTHER_SEPARATOR.search(_COMMA.sub(",", cell.strip())):
            fault = "has commas and other separators; write decimals with a point"
        if fault:
            self.split.fault(position, f"{metric} {cell!r} {fault}")
            return []
        texts = split_cell(cell) or [""]
        scale = self._scale(metric)
        ratings = []
        for listener, text in zip(self._listeners(position, len(texts), row), texts, strict=True):
            rating = self.split.value(position, metric, text)
            if rating is not None and scale and not scale.least <= rating <= scale.greatest:
                text = f"{metric} {rating:g} is outside its scale, {scale.least:g} to {scale.greatest:g}"
                self.split.fault(position, text)
            elif rating is not None:
                ratings.append((listener, scale(rating) if scale else rating))
        return ratings

    def _listeners(self, position: Position, count: int, row: dict[str, str]) -> list[str]:
        cell = row[self.columns.listeners] if self.columns.listeners else ""
        if count == 1 or not cell:
            return [cell] * count
        listeners = split_cell(cell)
        if len(listeners) != count:
            self.split.fault(position, f"{count} ratings but {len(listeners)} {self.columns.listeners}")
            return [""] * count
        return listeners

    def deviations(self, position: Position, row: dict[str, str], metrics: Iterable[str]) -> dict[str, float]:
        """{metric_std: standard deviation} of the metrics that have one."""
        found = {}
        for metric in metrics:
            column = self.columns.std.get(metric) or self.columns.std.get("")
            if column is None or is_blank(row[column]):
                continue
            std, scale = number(row[column]), self._scale(metric)
            if std is None or std < 0:
                self.split.fault(position, f"{column} {row[column]!r} is not a standard deviation")
            else:
                found[f"{metric}_std"] = round(std * abs(scale.slope) if scale else std, LABEL_DECIMALS)
        return found

    def _scale(self, metric: str) -> Scale | None:
        return self.columns.scales.get(metric) or self.columns.scales.get("")
