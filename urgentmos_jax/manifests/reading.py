"""Manifests: utterances (`data.jsonl`) and pairs (`data_pairs.jsonl`) with their labels; reading, checking, writing.

The files of the authors' preparation load unchanged. Reading a quarter of a million lines takes seconds: a line costs
one look at the disk (two with `audio_root`), with `check_files=False` and no `audio_root` none. Folders are resolved
once each, and links to files.
"""

import json
import math
import os
import reprlib
import stat
import sys
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any, Generic, TypeVar

from urgentmos_jax.files import atomic_write, progress, read_json_lines, summarise_errors
from urgentmos_jax.metrics import CATALOGUE

__all__ = [
    "ManifestError",
    "Pair",
    "Report",
    "Scan",
    "Utterance",
    "far_out",
    "json_lines",
    "locate",
    "measure_durations",
    "read_pairs",
    "read_utterances",
    "scan_pairs",
    "scan_utterances",
    "two_strings",
    "write_pairs",
    "write_utterances",
    "written_path",
]

Ranges = Mapping[str, tuple[float, float]]
Record = TypeVar("Record", "Utterance", "Pair")

_BEYOND = 0.1
_THREADS = 16
_CATALOGUE_RANGES = {name: (metric.minimum, metric.maximum) for name, metric in CATALOGUE.items()}


class ManifestError(ValueError):
    """A manifest that cannot be used.

    Attributes:
        faults: All that is wrong, each as `path:line: fault`.
    """

    def __init__(self, faults: Sequence[str]):
        super().__init__(faults)
        self.faults = list(faults)

    def __str__(self) -> str:
        return summarise_errors(self.faults, "faults")


@dataclass(frozen=True, slots=True)
class Utterance:
    """A labelled recording.

    Attributes:
        uid: Unique within a manifest.
        audio_path: As read: absolute, or usable from the working folder. As written: taken as it is.
        duration: Seconds.
        system_id: What produced it.
        reference_id: What it says; shared by systems that processed the same source.
        metrics: Labels by the names of `metrics.CATALOGUE`, or others. A missing name is a missing label.
        meta: Anything else, JSON.
    """

    uid: str
    audio_path: str
    duration: float
    system_id: str | None = None
    reference_id: str | None = None
    metrics: dict[str, float] = field(default_factory=dict)
    meta: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Pair:
    """Two recordings, A and B, and how much better A is.

    Attributes:
        uids: Of A and B; the paths as given, where a file has none.
        audio_paths: As `Utterance.audio_path`.
        durations: Seconds.
        metrics: Signed differences, positive where A is better.
        meta: Anything else, JSON.
    """

    uids: tuple[str, str]
    audio_paths: tuple[str, str]
    durations: tuple[float, float]
    metrics: dict[str, float] = field(default_factory=dict)
    meta: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Report:
    """What reading a manifest found.

    Attributes:
        rows: Utterances or pairs.
        labels: Labels by metric.
        clipped: Labels that were outside their range, by metric.
        measured: Durations the file does not have, which were read from the recordings.
    """

    rows: int
    labels: dict[str, int]
    clipped: dict[str, int]
    measured: int


@dataclass(frozen=True, slots=True)
class Scan(Generic[Record]):
    """What a manifest holds, also if something is wrong with it.

    Attributes:
        records: (line number, record) of each line without faults.
        report: What was counted.
        faults: All that is wrong, as `ManifestError` has it.
    """

    records: list[tuple[int, Record]]
    report: Report
    faults: list[str]

    def unless_faulty(self) -> tuple[list[Record], Report]:
        """Records and report, or a `ManifestError` with all faults."""
        if self.faults:
            raise ManifestError(self.faults)
        return [record for _, record in self.records], self.report


def read_utterances(
    path: str | os.PathLike,
    *,
    audio_root: str | os.PathLike | None = None,
    ranges: Ranges | None = None,
    check_files: bool = True,
    allow_outside: bool = False,
) -> tuple[list[Utterance], Report]:
    """Reads `data.jsonl`: one utterance a line, UTF-8; a byte-order mark, CRLF and blank lines do not matter.

    `uid` and `audio_path` are needed. `metrics` or a label may be missing or null. A missing or null `duration` is read
    from the recording. Other keys than those of `Utterance` go to `meta`.

    Args:
        path: The manifest.
        audio_root: Where relative audio paths are looked up that are not found relative to the manifest.
        ranges: {metric: (least, greatest)}; others have none. Default: those of `metrics.CATALOGUE`. A label outside is
            clipped and counted; by more than a tenth of a range with two ends, it is a fault.
        check_files: Whether each recording is looked for. If not, links are not followed to see where they lead.
        allow_outside: Whether `..` and links may lead a relative path out of both folders. Absolute paths always may.

    Returns:
        Utterances in the order of the file, and what was counted.

    Raises:
        ManifestError: With every fault of every line.
    """
    scan = scan_utterances(
        path, audio_root=audio_root, ranges=ranges, check_files=check_files, allow_outside=allow_outside
    )
    return scan.unless_faulty()


def scan_utterances(
    path: str | os.PathLike,
    *,
    audio_root: str | os.PathLike | None = None,
    ranges: Ranges | None = None,
    check_files: bool = True,
    allow_outside: bool = False,
) -> Scan[Utterance]:
    """As `read_utterances`, but gives the lines that are in order as well as the faults of the others."""
    reading = _Reading(path, audio_root, check_files=check_files, allow_outside=allow_outside)
    ranges = _CATALOGUE_RANGES if ranges is None else ranges
    rows, uids, paths = [], {}, {}
    for number, entry in reading.entries():
        if "audio_paths" in entry:
            reading.fault(number, "is a pair (audio_paths) in a manifest of utterances; read this file as pairs")
            continue
        uid, audio = reading.text(number, entry, "uid"), reading.text(number, entry, "audio_path")
        if uid and (first := uids.setdefault(uid, number)) != number:
            reading.fault(number, f"uid {uid!r} is that of line {first} too")
        located = audio and reading.locate(number, audio)
        if located and (first := paths.setdefault(os.path.normpath(located), number)) != number:
            reading.fault(number, f"audio_path {audio!r} is that of line {first} too")
        system, reference = (reading.text(number, entry, key, needed=False) for key in ("system_id", "reference_id"))
        duration = reading.duration(number, "duration", entry.get("duration"), located)
        labels = reading.labels(number, entry, ranges)
        rows.append((number, uid, located, duration, system, reference, labels, reading.meta(number, entry, Utterance)))
    measured, faulty = reading.finish(len(rows)), reading.faulty
    records = [
        (number, Utterance(uid, located, measured[located] if duration is None else duration, *rest))
        for number, uid, located, duration, *rest in rows
        if number not in faulty
    ]
    return Scan(records, reading.report(len(records)), reading.sorted_faults())


def read_pairs(
    path: str | os.PathLike,
    *,
    audio_root: str | os.PathLike | None = None,
    ranges: Ranges | None = None,
    check_files: bool = True,
    allow_outside: bool = False,
) -> tuple[list[Pair], Report]:
    """Reads `data_pairs.jsonl`: one pair a line, as `read_utterances` reads utterances.

    `audio_paths` is needed. Pairs without `uids` get their audio paths, as given, for uids. A difference may reach from
    -(greatest - least) to greatest - least of the metric's range.

    Returns:
        Pairs in the order of the file, and what was counted.

    Raises:
        ManifestError: With every fault of every line.
    """
    scan = scan_pairs(path, audio_root=audio_root, ranges=ranges, check_files=check_files, allow_outside=allow_outside)
    return scan.unless_faulty()


def scan_pairs(
    path: str | os.PathLike,
    *,
    audio_root: str | os.PathLike | None = None,
    ranges: Ranges | None = None,
    check_files: bool = True,
    allow_outside: bool = False,
) -> Scan[Pair]:
    """As `read_pairs`, but gives the lines that are in order as well as the faults of the others."""
    reading = _Reading(path, audio_root, check_files=check_files, allow_outside=allow_outside)
    ranges = _CATALOGUE_RANGES if ranges is None else ranges
    differences = {name: (least - greatest, greatest - least) for name, (least, greatest) in ranges.items()}
    rows = []
    for number, entry in reading.entries():
        if "audio_path" in entry:
            reading.fault(number, "is an utterance (audio_path) in a manifest of pairs; read this file as utterances")
            continue
        audio = entry.get("audio_paths")
        if not two_strings(audio):
            reading.fault(number, f"audio_paths is {_shown(audio)}, give [A, B], two strings")
            audio = None
        uids = entry.get("uids")
        if uids is not None and not two_strings(uids):
            reading.fault(number, f"uids is {_shown(uids)}, give [A, B], two strings, or leave it out")
        located = tuple(reading.locate(number, side) for side in audio or ())
        durations = entry.get("durations")
        if durations is not None and not (isinstance(durations, list) and len(durations) == 2):
            reading.fault(number, f"durations is {_shown(durations)}, give [A, B], two numbers, or leave it out")
            durations = None
        durations = [
            reading.duration(number, f"durations[{i}]", seconds, located[i] if audio else None)
            for i, seconds in enumerate(durations or (None, None))
        ]
        labels = reading.labels(number, entry, differences)
        meta = reading.meta(number, entry, Pair)
        rows.append((number, tuple(uids or audio or ()), located, durations, labels, meta))
    measured, faulty = reading.finish(len(rows)), reading.faulty
    records = [
        (number, Pair(uids, sides, _filled(durations, sides, measured), *rest))
        for number, uids, sides, durations, *rest in rows
        if number not in faulty
    ]
    return Scan(records, reading.report(len(records)), reading.sorted_faults())


def write_utterances(path: str | os.PathLike, records: Iterable[Utterance]) -> None:
    """Writes `data.jsonl`, sorted by uid, under a temporary name that is then changed.

    Raises:
        ManifestError: NaN or infinity in a record, or a uid that comes twice; the file is then left as it was.
    """
    records = sorted(records, key=lambda record: record.uid)
    for one, other in pairwise(records):
        if one.uid == other.uid:
            raise ManifestError([f"{os.fsdecode(path)}: uid {one.uid!r} comes twice, not written"])
    _write(path, records)


def write_pairs(path: str | os.PathLike, records: Iterable[Pair]) -> None:
    """Writes `data_pairs.jsonl`, sorted by the two uids; see `write_utterances`."""
    _write(path, sorted(records, key=lambda record: record.uids))


def json_lines(path: str | os.PathLike) -> Iterator[tuple[int, dict[str, Any] | str]]:
    """(line number, JSON object or what is wrong with the line) of each line that is not blank.

    Raises:
        ManifestError: The file cannot be read.
    """
    try:
        yield from read_json_lines(path)
    except OSError as error:
        raise ManifestError([f"{os.fsdecode(path)}: cannot be read ({error.strerror or error})"]) from None


def locate(audio: str, listed_in: str | os.PathLike, audio_root: str | os.PathLike | None) -> str:
    """Path of a recording: absolute, relative to the list, or relative to `audio_root`."""
    beside = os.path.join(os.path.dirname(os.fspath(listed_in)), audio)
    if audio_root is None or os.path.isabs(audio) or os.path.exists(beside):
        return beside
    return os.path.join(audio_root, audio)


def written_path(audio: str, folder: str) -> str:
    """How a manifest in a folder writes the path of a recording.

    Args:
        audio: Absolute path.
        folder: Absolute, links followed.

    Returns:
        Relative to the folder where the recording itself, links followed, lies below it; else absolute.
    """
    below = os.path.join(folder, "")
    inside = audio.startswith(below) and os.path.realpath(audio).startswith(below)
    return os.path.relpath(audio, folder) if inside else audio


def two_strings(value: Any) -> bool:
    """Whether this is a list of two strings with something in them."""
    return isinstance(value, list) and len(value) == 2 and all(item and isinstance(item, str) for item in value)


def far_out(label: float, least: float, greatest: float) -> bool:
    """Whether a label is beyond a range with two ends by more than a tenth of it: a mistake, not an overshoot."""
    slack = _BEYOND * (greatest - least)
    return math.isfinite(slack) and not least - slack <= label <= greatest + slack


class _Reading:
    """Faults and counts of one manifest while it is read."""

    def __init__(
        self,
        path: str | os.PathLike,
        audio_root: str | os.PathLike | None,
        *,
        check_files: bool,
        allow_outside: bool,
    ):
        self.path = os.fsdecode(path)
        self.audio_root = None if audio_root is None else os.fsdecode(audio_root)
        self.check_files, self.allow_outside = check_files, allow_outside
        self.faults: list[tuple[int, str]] = []
        self.labelled: Counter[str] = Counter()
        self.clipped: Counter[str] = Counter()
        self.unmeasured: dict[str, list[int]] = {}
        self.folder = os.path.dirname(self.path)
        self.roots = [root or os.curdir for root in (self.folder, self.audio_root) if root is not None]
        self.real_roots = [os.path.realpath(root) for root in self.roots]
        self.real_folders: dict[str, str] = {}

    def fault(self, number: int, text: str) -> None:
        self.faults.append((number, f"{self.path}:{number}: {text}"))

    def entries(self) -> Iterator[tuple[int, dict[str, Any]]]:
        for number, entry in json_lines(self.path):
            if isinstance(entry, str):
                self.fault(number, entry)
            else:
                yield number, entry

    def text(self, number: int, entry: dict[str, Any], key: str, *, needed: bool = True) -> str | None:
        value = entry.get(key)
        if isinstance(value, str) and value:
            return value
        if needed or value not in (None, ""):
            found = f"{key} is {_shown(value)}" if key in entry else f"no {key}"
            self.fault(number, f"{found}, give a string" + ("" if needed else " or null"))
        return None

    def locate(self, number: int, audio: str) -> str:
        located = locate(audio, self.path, self.audio_root)
        relative = not os.path.isabs(audio)
        there, link = _file_or_link(located) if self.check_files else (True, False)
        if not there:
            tries = f"{os.path.join(self.folder, audio)!r} (relative to the manifest)" if relative else repr(located)
            if relative and self.audio_root is None:
                tries += "; give --audio-root DIR if it lies elsewhere"
            elif relative:
                tries += f" nor at {os.path.join(self.audio_root, audio)!r} (relative to --audio-root)"
            self.fault(number, f"audio_path {audio!r}: no file at {tries}")
        elif relative and not self.allow_outside and (outside := self._outside(audio, located, link)):
            wanted = "the folder of the manifest" + (" and --audio-root" if self.audio_root is not None else "")
            advice = "give its folder as the audio root, or an absolute path"
            self.fault(number, f"audio_path {audio!r} leads to {outside!r}, out of {wanted}; {advice}")
        return located

    def _outside(self, audio: str, located: str, link: bool) -> str | None:
        """Where a relative path leads, if that is below none of the roots."""
        if not self.check_files:
            if os.pardir not in audio:
                return None
            real, roots = os.path.abspath(located), map(os.path.abspath, self.roots)
        else:
            folder, name = os.path.split(located)
            if folder not in self.real_folders:
                self.real_folders[folder] = os.path.realpath(folder or os.curdir)
            real = os.path.realpath(located) if link else os.path.join(self.real_folders[folder], name)
            roots = self.real_roots
        return None if any(real.startswith(os.path.join(root, "")) for root in roots) else real

    def duration(self, number: int, key: str, value: Any, located: str | None) -> float | None:
        """Seconds; None where the recording has to be asked, or something is wrong."""
        if value is None:
            if located:
                self.unmeasured.setdefault(located, []).append(number)
            return None
        seconds = _number(value)
        if seconds is None or seconds <= 0:
            self.fault(number, f"{key} is {_shown(value)}, give seconds above 0, or null to have it measured")
            return None
        return seconds

    def labels(self, number: int, entry: dict[str, Any], ranges: Ranges) -> dict[str, float]:
        metrics = entry.get("metrics")
        if metrics is None:
            return {}
        if not isinstance(metrics, dict):
            self.fault(number, f"metrics is {_shown(metrics)}, give an object of numbers")
            return {}
        labels = {}
        for name, value in metrics.items():
            if value is None:
                continue
            label = _number(value)
            if label is None:
                self.fault(number, f"metrics.{name} is {_shown(value)}, give a finite number or null")
                continue
            if name in ranges and not ranges[name][0] <= label <= ranges[name][1]:
                label = self._clipped(number, name, label, *ranges[name])
            name = sys.intern(name)
            labels[name] = label
            self.labelled[name] += 1
        return labels

    def _clipped(self, number: int, name: str, label: float, least: float, greatest: float) -> float:
        self.clipped[name] += 1
        clipped = min(max(label, least), greatest)
        if far_out(label, least, greatest):
            why = f"beyond {least:g} to {greatest:g} by more than a tenth of it; check its scale"
            self.fault(number, f"metrics.{name} is {label:g}, {why}")
        return clipped

    def meta(self, number: int, entry: dict[str, Any], kind: type) -> dict[str, Any]:
        meta = entry.get("meta")
        if meta is not None and not isinstance(meta, dict):
            self.fault(number, f"meta is {_shown(meta)}, give an object")
            return {}
        if entry.keys() <= kind.__dataclass_fields__.keys():
            return meta or {}
        return {key: value for key, value in entry.items() if key not in kind.__dataclass_fields__} | (meta or {})

    def finish(self, rows: int) -> dict[str, float]:
        """Measures the recordings whose duration is not known, {path: seconds}."""
        measured = {}
        there = [path for path in self.unmeasured if not self.check_files or os.path.isfile(path)]
        for path, found in zip(there, measure_durations(there), strict=True):
            if isinstance(found, float):
                measured[path] = found
                continue
            for number in self.unmeasured[path]:
                self.fault(number, f"no duration, and it cannot be measured: {found}")
        if not self.faults and not rows:
            self.faults.append((0, f"{self.path}: holds no lines"))
        return measured

    @property
    def faulty(self) -> set[int]:
        """Numbers of the lines with faults."""
        return {number for number, _ in self.faults}

    def sorted_faults(self) -> list[str]:
        return [text for _, text in sorted(self.faults, key=lambda fault: fault[0])]

    def report(self, rows: int) -> Report:
        return Report(rows, dict(self.labelled), dict(self.clipped), len(self.unmeasured))


def measure_durations(paths: Sequence[str], *, title: str | None = None) -> list[float | Exception]:
    """Seconds of each recording, or the `AudioError` that says why not; from the headers, in threads.

    Args:
        paths: Files.
        title: Of a progress bar on standard error; None for no bar.
    """
    if not paths:
        return []
    from urgentmos_jax.audio.loading import AudioError, probe

    def measure(path: str) -> float | Exception:
        try:
            return float(probe(path))
        except AudioError as error:
            return error

    with ThreadPoolExecutor(_THREADS) as pool:
        found = pool.map(measure, paths)
        if title is None:
            return list(found)
        return list(progress(found, len(paths), "file", title))


def _filled(
    durations: Sequence[float | None], sides: Sequence[str], measured: Mapping[str, float]
) -> tuple[float, ...]:
    return tuple(measured[side] if s is None else s for side, s in zip(sides, durations, strict=True))


def _write(path: str | os.PathLike, records: Sequence[Utterance | Pair]) -> None:
    with atomic_write(path) as file:
        for record in records:
            fields = {name: getattr(record, name) for name in record.__dataclass_fields__}
            try:
                line = json.dumps(fields, ensure_ascii=False, allow_nan=False)
            except (ValueError, TypeError) as error:
                name = getattr(record, "uid", None) or record.uids
                raise ManifestError([f"{os.fsdecode(path)}: {name!r} cannot be written as JSON ({error})"]) from None
            file.write(line + "\n")


def _file_or_link(path: str) -> tuple[bool, bool]:
    """Whether a file is there, and whether a link leads to it; one look at the disk where none does."""
    try:
        mode = os.lstat(path).st_mode
    except (OSError, ValueError):  # ValueError: no name of a file, with a NUL for example.
        return False, False
    link = stat.S_ISLNK(mode)
    return os.path.isfile(path) if link else stat.S_ISREG(mode), link


def _number(value: Any) -> float | None:
    """A finite number; booleans are none."""
    if type(value) is not float:
        if type(value) is not int:
            return None
        try:
            value = float(value)
        except OverflowError:
            return None
    return value if math.isfinite(value) else None


def _shown(value: Any) -> str:
    return "missing" if value is None else reprlib.repr(value)
