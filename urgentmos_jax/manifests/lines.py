"""The lines of a manifest, and the checks of each: strings, paths, durations and labels; all faults are gathered."""

import math
import os
import reprlib
import stat
import sys
from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Any, TypeGuard

from urgentmos_jax.files import UNREADABLE, read_json_lines
from urgentmos_jax.manifests.durations import measure_durations
from urgentmos_jax.manifests.paths import locate
from urgentmos_jax.manifests.records import ManifestError, Pair, Report, Utterance
from urgentmos_jax.metrics import CATALOGUE

Ranges = Mapping[str, tuple[float, float]]

_CATALOGUE_RANGES = {name: (metric.minimum, metric.maximum) for name, metric in CATALOGUE.items()}
_OVERSHOOT = 0.1


class LineChecks:
    """Checks what the lines of one manifest hold, and gathers faults and counts.

    Its options are `reading.ReadOptions`.
    """

    def __init__(
        self,
        path: str | os.PathLike,
        *,
        audio_root: str | os.PathLike | None = None,
        ranges: Ranges | None = None,
        check_files: bool = True,
        allow_outside: bool = False,
    ):
        self.ranges = _CATALOGUE_RANGES if ranges is None else ranges
        self.path = os.fsdecode(path)
        self.audio_root = None if audio_root is None else os.fsdecode(audio_root)
        self.check_files, self.allow_outside = check_files, allow_outside
        self.faults: list[tuple[int, str]] = []
        self.faulty: set[int] = set()
        self.rows = 0
        self.labelled: Counter[str] = Counter()
        self.clipped: Counter[str] = Counter()
        self.unmeasured: dict[str, list[int]] = {}
        self.folder = os.path.dirname(self.path)
        self.roots = [root or os.curdir for root in (self.folder, self.audio_root) if root is not None]
        self.real_roots = [os.path.realpath(root) for root in self.roots]
        self.real_folders: dict[str, str] = {}

    def fault(self, number: int, text: str) -> None:
        """Notes what is wrong with a line, which is then left out."""
        self.faults.append((number, f"{self.path}:{number}: {text}"))
        self.faulty.add(number)

    def entries(self) -> Iterator[tuple[int, dict[str, Any]]]:
        """(line number, object) of each line that holds a JSON object."""
        for number, entry in json_lines(self.path):
            if isinstance(entry, str):
                self.fault(number, entry)
            else:
                self.rows += 1
                yield number, entry

    def text(self, number: int, entry: dict[str, Any], key: str) -> str:
        """A string; empty where it is missing, which is a fault."""
        value = entry.get(key)
        if isinstance(value, str) and value:
            return value
        found = f"{key} is {shown(value)}" if key in entry else f"no {key}"
        self.fault(number, f"{found}, give a string")
        return ""

    def optional_text(self, number: int, entry: dict[str, Any], key: str) -> str | None:
        """A string that may be missing; equal ones are held once, since few systems have many recordings."""
        value = entry.get(key)
        if isinstance(value, str) and value:
            return sys.intern(value)
        if value not in (None, ""):
            self.fault(number, f"{key} is {shown(value)}, give a string or null")
        return None

    def locate(self, number: int, audio: str) -> str:
        """Path of a recording, which must be there."""
        located = locate(audio, self.path, self.audio_root)
        relative = not os.path.isabs(audio)
        there, link = _file_or_link(located) if self.check_files else (True, False)
        if not there:
            tries = f"{os.path.join(self.folder, audio)!r} (relative to the manifest)" if relative else repr(located)
            if relative and self.audio_root is None:
                tries += "; give --audio-root DIR if it lies elsewhere"
            elif relative and self.audio_root is not None:
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
            real, roots = os.path.abspath(located), [os.path.abspath(root) for root in self.roots]
        else:
            folder, name = os.path.split(located)
            if folder not in self.real_folders:
                self.real_folders[folder] = os.path.realpath(folder or os.curdir)
            real = os.path.realpath(located) if link else os.path.join(self.real_folders[folder], name)
            roots = self.real_roots
        return None if any(real.startswith(os.path.join(root, "")) for root in roots) else real

    def duration(self, number: int, key: str, value: Any, located: str) -> float:
        """Seconds; NaN where the recording has to be measured, or something is wrong."""
        if value is None:
            if located:
                self.unmeasured.setdefault(located, []).append(number)
            return math.nan
        seconds = _number(value)
        if seconds is None or seconds <= 0:
            self.fault(number, f"{key} is {shown(value)}, give seconds above 0, or null to have it measured")
            return math.nan
        return seconds

    def labels(self, number: int, entry: dict[str, Any], ranges: Ranges) -> dict[str, float]:
        """{metric: label}, clipped to the ranges."""
        metrics = entry.get("metrics")
        if metrics is None:
            return {}
        if not isinstance(metrics, dict):
            self.fault(number, f"metrics is {shown(metrics)}, give an object of numbers")
            return {}
        labels = {}
        for name, value in metrics.items():
            if value is None:
                continue
            label = _number(value)
            if label is None:
                self.fault(number, f"metrics.{name} is {shown(value)}, give a finite number or null")
                continue
            if name in ranges and not ranges[name][0] <= label <= ranges[name][1]:
                label = self._clipped(number, name, label, *ranges[name])
            name = sys.intern(name)
            labels[name] = label
            self.labelled[name] += 1
        return labels

    def _clipped(self, number: int, name: str, label: float, minimum: float, maximum: float) -> float:
        self.clipped[name] += 1
        clipped = min(max(label, minimum), maximum)
        if out_of_range(label, minimum, maximum):
            why = f"beyond {minimum:g} to {maximum:g} by more than a tenth of it; check its scale"
            self.fault(number, f"metrics.{name} is {label:g}, {why}")
        return clipped

    def meta(self, number: int, entry: dict[str, Any], kind: type[Utterance | Pair]) -> dict[str, Any]:
        """What a line holds besides the fields of a record."""
        meta = entry.get("meta")
        if meta is not None and not isinstance(meta, dict):
            self.fault(number, f"meta is {shown(meta)}, give an object")
            return {}
        if entry.keys() <= kind.__dataclass_fields__.keys():
            return meta or {}
        return {key: value for key, value in entry.items() if key not in kind.__dataclass_fields__} | (meta or {})

    def measure(self) -> dict[str, float]:
        """Measures the recordings whose duration is not given, {path: seconds}; to be called once, at the end."""
        measured = {}
        there = [path for path in self.unmeasured if not self.check_files or os.path.isfile(path)]
        for path, found in zip(there, measure_durations(there), strict=True):
            if isinstance(found, float):
                measured[path] = found
                continue
            for number in self.unmeasured[path]:
                self.fault(number, f"no duration, and it cannot be measured: {found}")
        if not self.faults and not self.rows:
            self.faults.append((0, f"{self.path}: holds no lines"))
        return measured

    def sorted_faults(self) -> list[str]:
        """All that is wrong, in the order of the lines."""
        return [text for _, text in sorted(self.faults, key=lambda fault: fault[0])]

    def report(self, rows: int) -> Report:
        """What was counted, of so many lines that are in order."""
        return Report(rows, dict(self.labelled), dict(self.clipped), len(self.unmeasured))


def json_lines(path: str | os.PathLike) -> Iterator[tuple[int, dict[str, Any] | str]]:
    """(line number, JSON object or what is wrong with the line) of each line that is not blank.

    Raises:
        ManifestError: The file cannot be read.
    """
    try:
        yield from read_json_lines(path)
    except UNREADABLE as error:
        text = getattr(error, "strerror", None) or error
        raise ManifestError([f"{os.fsdecode(path)}: cannot be read ({text})"]) from None


def two_strings(value: Any) -> TypeGuard[list[str]]:
    """Whether this is a list of two strings with something in them."""
    return isinstance(value, list) and len(value) == 2 and all(item and isinstance(item, str) for item in value)


def out_of_range(label: float, minimum: float, maximum: float) -> bool:
    """Whether a label is beyond a range with two ends by more than a tenth of it: a mistake, not an overshoot."""
    slack = _OVERSHOOT * (maximum - minimum)
    return math.isfinite(slack) and not minimum - slack <= label <= maximum + slack


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


def shown(value: Any) -> str:
    """A value as messages show it."""
    return "missing" if value is None else reprlib.repr(value)
