"""Ratings of one's own: any CSV file of recordings and ratings -> a manifest.

Utterance ids are `<system>:<reference>`, as the authors'. White space, control characters, `%` and `:` within either
part are percent-escaped (UTF-8), so that ids hold no white space, split at their one colon, and `urllib.parse.unquote`
gives the parts back. Without a system the id is the second part alone; without a reference the audio path stands in.
"""

import contextlib
import csv
import hashlib
import io
import json
import math
import os
import re
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any
from urllib.parse import quote

from urgentmos_jax.manifest import (
    ManifestError,
    Utterance,
    far_out,
    locate,
    measure_durations,
    whole_file,
    write_utterances,
)
from urgentmos_jax.metrics import CATALOGUE
from urgentmos_jax.version import __version__

__all__ = ["Columns", "Scale", "escape_id", "prepare"]

_DELIMITERS = (",", "\t", ";", "|")
_SEPARATORS = re.compile(r"[\s,;]+")
_NO_RATING = {"", "na", "n/a", "nan", "none", "null", "-"}
_DECIMAL_COMMA = re.compile(r"[+-]?\d+,\d+")
_NUMBER = r"(-?\d+(?:\.\d+)?)"
_SCALE = re.compile(rf"{_NUMBER}-{_NUMBER}:{_NUMBER}-{_NUMBER}")
_DECIMALS = 4  # Of labels, as the authors round them.


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
            ValueError: It is none.
        """
        found = _SCALE.fullmatch(text.replace(" ", ""))
        scale = cls(*map(float, found.groups())) if found else None
        if scale is None or scale.least >= scale.greatest or scale.to_least == scale.to_greatest:
            raise ValueError(f"{text!r} is no scale, give FROM-TO:FROM-TO, as 0-100:1-5")
        return scale

    @property
    def slope(self) -> float:
        """What one unit of the ratings is on the scale of the labels."""
        return (self.to_greatest - self.to_least) / (self.greatest - self.least)

    def __call__(self, rating: float) -> float:
        return self.to_least + (rating - self.least) * self.slope


@dataclass(frozen=True)
class Columns:
    """Where a table has what.

    Args:
        audio: Column of audio paths. Rows of the same recording are averaged.
        ratings: {metric: column}; with `metric_column` {metric: what stands there}, empty to take it as it stands. A
            cell holds one rating, or several between white space, commas or semicolons, perhaps in brackets.
        system: Column of what produced the recording.
        reference: Column of what it says.
        metric_column: Long form: the column that names the metric of a row.
        score_column: Long form: the column with the rating of a row.
        std: {metric: column} of standard deviations, kept in `meta`; the key "" is for all metrics.
        listeners: Column of who rated: an id, or as many as the cells of ratings have.
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

    def __post_init__(self):
        if (self.metric_column is None) != (self.score_column is None):
            raise ValueError("a table in long form has both, a column of metric names and a column of scores")
        if self.metric_column is None and not self.ratings:
            raise ValueError("no column of ratings; name at least one, with its metric")
        if self.ratings and (odd := (set(self.std) | set(self.scales)) - set(self.ratings) - {""}):
            raise ValueError(f"standard deviations or scales of {sorted(odd)}, which have no ratings")

    @property
    def names(self) -> list[str]:
        """Every column that is read."""
        one = (self.audio, self.system, self.reference, self.metric_column, self.score_column, self.listeners)
        ratings = () if self.metric_column else self.ratings.values()
        return list(dict.fromkeys(name for name in (*one, *ratings, *self.std.values()) if name is not None))


@dataclass
class _Clip:
    line: int
    audio: str
    located: str
    system: str | None
    reference: str | None
    ratings: dict[str, list[tuple[str, float]]] = field(default_factory=dict)
    std: dict[str, float] = field(default_factory=dict)
    rows: int = 0


def prepare(
    source: str | os.PathLike,
    output: str | os.PathLike,
    columns: Columns,
    *,
    delimiter: str | None = None,
    audio_root: str | os.PathLike | None = None,
    skip_bad: bool = False,
) -> dict[str, Any]:
    """Writes `output/data.jsonl` and `output/report.json`.

    All cells are text, so ids such as `NA` or `015` stay what they are. Labels are means of the ratings of a recording,
    on the scale asked for, with four decimals; several ratings or listeners are kept in `meta`, `{metric: [[listener,
    rating]]}` and `{metric_std: ...}`, on the same scale. Audio paths are relative to `data.jsonl` below the output
    folder, else absolute.

    Args:
        source: Table with a header, UTF-8.
        output: Folder, made where it is missing.
        columns: Where the table has what.
        delimiter: Between cells; by default the one of comma, tab, semicolon and | that finds the columns.
        audio_root: Where audio paths are looked up that are not found relative to the table.
        skip_bad: Whether recordings that are missing or cannot be opened are left out and listed in the report.

    Returns:
        What `report.json` holds: rows read, kept and dropped by reason, labels, recordings left out, and the mapping.

    Raises:
        ManifestError: With all faults of the table, each with its line.
    """
    table = _Table(os.fsdecode(source), columns, delimiter)
    clips: dict[str, _Clip] = {}
    folders: dict[str, str] = {}
    for number, row in table.rows():
        if not row[columns.audio]:
            table.dropped["no audio"] += 1
            continue
        if not (ratings := table.ratings(number, row)):
            continue
        located = _real_folder(locate(row[columns.audio], table.path, audio_root), folders)
        ids = [row[name] or None if name else None for name in (columns.system, columns.reference)]
        clip = clips.setdefault(located, _Clip(number, row[columns.audio], located, *ids))
        if [clip.system, clip.reference] != ids:
            table.fault(number, f"{clip.audio!r} has other ids than on line {clip.line}; make them the same")
        if columns.system and not clip.system:
            table.fault(number, f"no {columns.system}; give what produced the recording")
        table.add(number, clip, row, ratings)
    kept = _measured(table, clips, skip_bad=skip_bad)
    utterances = _utterances(table, kept, os.path.realpath(output))
    if table.faults:
        raise ManifestError([text for _, text in sorted(table.faults, key=lambda fault: fault[0])])
    if not utterances:
        dropped = ", ".join(f"{reason}: {count}" for reason, count in table.dropped.items()) or "it has none"
        raise ManifestError([f"{table.path}: no rows to keep ({dropped})"])
    report = table.report(utterances, [clip for clip, _ in kept])
    os.makedirs(output, exist_ok=True)
    with whole_file(os.path.join(output, "report.json")) as file:
        file.write(json.dumps(report, indent=1, ensure_ascii=False, allow_nan=False) + "\n")
    write_utterances(os.path.join(output, "data.jsonl"), utterances)
    return report


def escape_id(text: str) -> str:
    """A part of an utterance id: white space, control characters, `%` and `:` percent-escaped."""
    return "".join(quote(c, safe="") if c in "%: " or not c.isprintable() else c for c in text)


class _Table:
    """A table that is read: its faults and counts."""

    def __init__(self, path: str, columns: Columns, delimiter: str | None):
        self.path, self.columns = path, columns
        self.faults: list[tuple[int, str]] = []
        self.dropped: Counter[str] = Counter()
        self.blank: Counter[str] = Counter()
        self.bad: list[dict[str, Any]] = []
        self.read = 0
        try:
            with open(path, "rb") as file:
                data = file.read()
            self.sha256 = hashlib.sha256(data).hexdigest()
            self.text = data.decode("utf-8-sig")
        except OSError as error:
            raise ManifestError([f"{path}: cannot be read ({error.strerror})"]) from None
        except UnicodeDecodeError as error:
            line = data.count(b"\n", 0, error.start) + 1
            raise ManifestError([f"{path}:{line}: is not UTF-8 ({error.reason}); save it as UTF-8"]) from None
        if "\0" in self.text:
            raise ManifestError([f"{path}: holds NUL characters; save the table as CSV in UTF-8"])
        self.delimiter = self._delimiter(delimiter)

    def fault(self, number: int, text: str) -> None:
        self.faults.append((number, f"{self.path}:{number}: {text}"))

    def _cells(self, delimiter: str) -> Iterator[tuple[int, list[str]]]:
        """(last line, cells) of each row, the header included."""
        reader = csv.reader(io.StringIO(self.text, newline=""), delimiter=delimiter, strict=True)
        try:
            for cells in reader:
                if cells:
                    yield reader.line_num, [cell.strip() for cell in cells]
        except csv.Error as error:
            raise ManifestError([f"{self.path}:{reader.line_num}: broken CSV ({error})"]) from None

    def _delimiter(self, asked: str | None) -> str:
        headers = []
        for delimiter in [asked] if asked else _DELIMITERS:
            with contextlib.suppress(ManifestError):  # Quotes that are broken with this delimiter.
                _, header = next(self._cells(delimiter), (1, []))
                if all(header.count(name) == 1 for name in self.columns.names):
                    return delimiter
                headers.append(header)
        header = max(headers, key=len, default=[])
        missing = [name for name in self.columns.names if name not in header]
        twice = [name for name in self.columns.names if header.count(name) > 1]
        found = f"no column {', '.join(map(repr, missing))}" if missing else f"column {twice[0]!r} more than once"
        raise ManifestError([f"{self.path}:1: {found}; the columns are {header}"])

    def rows(self) -> Iterator[tuple[int, dict[str, str]]]:
        cells = self._cells(self.delimiter)
        _, header = next(cells)
        for number, row in cells:
            self.read += 1
            if len(row) == len(header):
                yield number, dict(zip(header, row, strict=True))
            else:
                self.fault(number, f"has {len(row)} cells, the header {len(header)}")

    def ratings(self, number: int, row: dict[str, str]) -> dict[str, list[tuple[str, float]]]:
        """{metric: [(listener, rating)]} of a row, without blank ones."""
        if self.columns.metric_column:
            name = row[self.columns.metric_column]
            named = {value: metric for metric, value in self.columns.ratings.items()} or {name: name}
            if not name or name not in named:
                self.dropped[f"metric {name}" if name else "no metric"] += 1
                return {}
            cells = {named[name]: row[self.columns.score_column]}
        else:
            cells = {metric: row[column] for metric, column in self.columns.ratings.items()}
        faults = len(self.faults)
        found = {metric: self._ratings(number, metric, cell, row) for metric, cell in cells.items()}
        if not any(found.values()) and len(self.faults) == faults:
            self.dropped["no rating"] += 1
        return {metric: ratings for metric, ratings in found.items() if ratings}

    def _ratings(self, number: int, metric: str, cell: str, row: dict[str, str]) -> list[tuple[str, float]]:
        if self.delimiter != "," and _DECIMAL_COMMA.fullmatch(cell):
            self.fault(number, f"{metric} {cell!r} is one number or two; write {cell.replace(',', '.')} or [{cell}]")
            return []
        texts = [text.strip("'\"") for text in _SEPARATORS.split(cell.strip("[]() \t")) if text] or [""]
        listeners = self._listeners(number, len(texts), row)
        scale = self.columns.scales.get(metric) or self.columns.scales.get("")
        ratings = []
        for listener, text in zip(listeners, texts, strict=True):
            if text.lower() in _NO_RATING:
                self.blank[metric] += 1
                continue
            rating = _float(text)
            if rating is None:
                self.fault(number, f"{metric} {text!r} is no number")
            elif scale and not scale.least <= rating <= scale.greatest:
                self.fault(number, f"{metric} {rating:g} is outside its scale, {scale.least:g} to {scale.greatest:g}")
            else:
                ratings.append((listener, scale(rating) if scale else rating))
        return ratings

    def _listeners(self, number: int, count: int, row: dict[str, str]) -> list[str]:
        cell = row[self.columns.listeners] if self.columns.listeners else ""
        if count == 1 or not cell:
            return [cell] * count
        listeners = [text.strip("'\"") for text in _SEPARATORS.split(cell.strip("[]() \t")) if text]
        if len(listeners) != count:
            self.fault(number, f"{count} ratings of {len(listeners)} {self.columns.listeners}")
            return [""] * count
        return listeners

    def add(self, number: int, clip: _Clip, row: dict[str, str], ratings: dict[str, list[tuple[str, float]]]) -> None:
        clip.rows += 1
        for metric, found in ratings.items():
            clip.ratings.setdefault(metric, []).extend(found)
            column = self.columns.std.get(metric) or self.columns.std.get("")
            text = row[column] if column else ""
            if text.lower() in _NO_RATING:
                continue
            std = _float(text)
            if std is None or std < 0:
                self.fault(number, f"{column} {text!r} is no standard deviation")
                continue
            scale = self.columns.scales.get(metric) or self.columns.scales.get("")
            std = round(std * abs(scale.slope) if scale else std, _DECIMALS)
            if clip.std.setdefault(f"{metric}_std", std) != std:
                self.fault(number, f"{column} {text!r} differs from that of an earlier row of {clip.audio!r}")

    def report(self, utterances: list[Utterance], kept: list[_Clip]) -> dict[str, Any]:
        labels = Counter(name for utterance in utterances for name in utterance.metrics)
        return {
            "source": self.path,
            "source_sha256": self.sha256,
            "tool_version": __version__,
            "rows": {"read": self.read, "kept": sum(clip.rows for clip in kept), "dropped": dict(self.dropped)},
            "utterances": len(utterances),
            "labels": dict(labels),
            "ratings": dict(Counter(m for clip in kept for m, ratings in clip.ratings.items() for _ in ratings)),
            "blank_ratings": dict(self.blank),
            "not_in_catalogue": sorted(labels.keys() - CATALOGUE.keys()),
            "bad_audio": self.bad,
            "mapping": asdict(self.columns) | {"delimiter": self.delimiter},
        }


def _measured(table: _Table, clips: dict[str, _Clip], *, skip_bad: bool) -> list[tuple[_Clip, float]]:
    """Clips with their seconds; those without become faults, or are dropped."""
    kept = []
    for clip, found in zip(clips.values(), measure_durations(list(clips)), strict=True):
        if isinstance(found, float):
            kept.append((clip, found))
        elif skip_bad:
            table.dropped["bad audio"] += clip.rows
            table.bad.append({"line": clip.line, "audio": clip.audio, "error": str(found)})
        else:
            table.fault(clip.line, f"{found}; or leave such recordings out with --skip-bad")
    return kept


def _utterances(table: _Table, kept: list[tuple[_Clip, float]], output: str) -> list[Utterance]:
    utterances, uids = [], {}
    for clip, seconds in kept:
        uid = ":".join(escape_id(part) for part in (clip.system, clip.reference or clip.audio) if part)
        if (first := uids.setdefault(uid, clip)) is not clip:
            wanted = "name a reference column that tells them apart, or none"
            table.fault(
                clip.line, f"{clip.audio!r} has the id {uid!r} of {first.audio!r} on line {first.line}; {wanted}"
            )
        labels, meta = {}, {}
        for metric, ratings in clip.ratings.items():
            labels[metric] = round(math.fsum(rating for _, rating in ratings) / len(ratings), _DECIMALS)
            if len(ratings) > 1 or any(listener for listener, _ in ratings):
                meta[metric] = [[listener, round(rating, _DECIMALS)] for listener, rating in ratings]
            if metric in CATALOGUE:
                least, greatest = CATALOGUE[metric].minimum, CATALOGUE[metric].maximum
                if far_out(labels[metric], least, greatest):
                    why = (
                        f"{metric} {labels[metric]:g} is outside {least:g} to {greatest:g}; give a scale, as 0-100:1-5"
                    )
                    table.fault(clip.line, why)
        path = _written(clip.located, output)
        utterances.append(Utterance(uid, path, round(seconds, 6), clip.system, clip.reference, labels, meta | clip.std))
    return utterances


def _written(located: str, output: str) -> str:
    """The audio path of the manifest: relative where the recording itself, links followed, lies below its folder."""
    below = os.path.join(output, "")
    inside = located.startswith(below) and os.path.realpath(located).startswith(below)
    return os.path.relpath(located, output) if inside else located


def _real_folder(path: str, known: dict[str, str]) -> str:
    """Absolute, links of folders followed and `..` gone; the file keeps its name, which may be a link's."""
    folder, name = os.path.split(path)
    if folder not in known:
        known[folder] = os.path.realpath(folder or os.curdir)
    return os.path.join(known[folder], name)


def _float(text: str) -> float | None:
    try:
        value = float(text)
    except ValueError:
        return None
    return value if math.isfinite(value) else None
