"""A split of a corpus while it is read: recordings with their ratings, and rated pairs."""

import math
import os
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import quote

from urgentmos_jax.manifests.records import LABEL_DECIMALS
from urgentmos_jax.manifests.tables import Position, RowChecks

Rating = tuple[str, float]  # Who rated ("" where unknown), and what.


@dataclass
class Recording:
    """A recording and its labels.

    Attributes:
        position: Where it is first listed.
        audio: Its path as listed; `path` is its file.
        system: What produced it.
        reference: What it says; shared by systems that processed the same source.
        ratings: {metric: ratings}, which are averaged.
        labels: {metric: published mean}.
        meta: Standard deviations and so on.
        rows: Rows that list it.
    """

    position: Position
    audio: str
    path: str
    uid: str
    system: str | None
    reference: str | None
    ratings: dict[str, list[Rating]] = field(default_factory=dict)
    labels: dict[str, float] = field(default_factory=dict)
    meta: dict[str, Any] = field(default_factory=dict)
    rows: int = 0


@dataclass(frozen=True)
class RatedPair:
    """Two recordings that listeners compared; `label` is positive if the first is better."""

    position: Position
    uids: tuple[str, str]
    paths: tuple[str, str]
    label: float
    meta: dict[str, Any]


class Split(RowChecks):
    """What a corpus's reader fills, of a name such as train.

    Attributes:
        dropped: Rows left out on purpose, by reason.
        bad: Recordings left out.
    """

    def __init__(self, name: str):
        super().__init__()
        self.name = name
        self.dropped: Counter[str] = Counter()
        self.recordings: dict[str, Recording] = {}
        self.pairs: list[RatedPair] = []
        self.bad: list[dict[str, Any]] = []
        self._folders: dict[str, str] = {}
        self._keys: dict[tuple, Position] = {}

    def add(
        self,
        position: Position,
        audio: str,
        path: str | os.PathLike,
        *,
        uid: str | None = None,
        system: str | None = None,
        reference: str | None = None,
        ratings: Mapping[str, Iterable[Rating]] | None = None,
        labels: Mapping[str, float] | None = None,
        meta: Mapping[str, Any] | None = None,
    ) -> None:
        """Adds a row, see `Recording`. Ratings of a recording are collected over rows; everything else must agree.

        Its `uid` is by default `make_uid` of system and reference, or of system and `audio` as first listed.
        """
        path = self.real_folder(os.fspath(path))
        known = self.recordings.get(path)
        if known is None:
            named = uid or make_uid(system, reference or audio)
            known = self.recordings[path] = Recording(position, audio, path, named, system, reference)
        elif (known.uid, known.system, known.reference) != (uid or known.uid, system, reference):
            self.fault(position, f"{audio!r} has other ids on line {known.position.line}; make them the same")
        known.rows += 1
        for metric, values in (ratings or {}).items():
            known.ratings.setdefault(metric, []).extend(values)
        for mine, given in ((known.labels, labels), (known.meta, meta)):
            for name, value in (given or {}).items():
                if (first := mine.setdefault(name, value)) != value:
                    self.fault(position, f"{name} {value} differs from that of an earlier row of {audio!r}, {first}")

    def add_pair(
        self, position: Position, uids: tuple[str, str], paths: Sequence[str | Path], label: float, meta: dict[str, Any]
    ) -> None:
        """Adds a comparison of two recordings; `meta` is its key in the corpus, which must be unique."""
        if (first := self._keys.setdefault(tuple(meta.items()), position)) is not position:
            key = ", ".join(f"{name} {key!r}" for name, key in meta.items())
            self.fault(position, f"{key} is already used at {first}")
        a, b = (self.real_folder(os.fspath(path)) for path in paths)
        self.pairs.append(RatedPair(position, uids, (a, b), label, meta))

    def real_folder(self, path: str) -> str:
        """The absolute path, with links of folders and `..` resolved; the file itself may be a link."""
        folder, name = os.path.split(path)
        if folder not in self._folders:
            self._folders[folder] = os.path.realpath(folder or os.curdir)
        return os.path.join(self._folders[folder], name)

    def labels_of(self, recording: Recording) -> tuple[dict[str, float], dict[str, Any]]:
        """(labels, meta) of a recording: means of its ratings, and the ratings themselves."""
        labels = {name: round(value, LABEL_DECIMALS) for name, value in recording.labels.items()}
        meta = {}
        for metric, ratings in recording.ratings.items():
            labels[metric] = round(math.fsum(rating for _, rating in ratings) / len(ratings), LABEL_DECIMALS)
            if len(ratings) > 1 or any(listener for listener, _ in ratings):
                meta[metric] = [[listener, round(rating, LABEL_DECIMALS)] for listener, rating in ratings]
        labels = {name: value for name, value in labels.items() if self.fits(recording.position, name, value)}
        return labels, meta | recording.meta


def escape_id(text: str) -> str:
    """A part of an utterance id: white space, control characters, `%` and `:` percent-escaped."""
    return "".join(quote(c, safe="") if c in "%: " or not c.isprintable() else c for c in text)


def make_uid(system: str | None, reference: str) -> str:
    """The authors' id of an utterance, `<system>:<reference>`; the second part alone where there is no system.

    White space, control characters, `%` and `:` within either part are percent-escaped (UTF-8), so that ids hold no
    white space, split at their one colon, and `urllib.parse.unquote` gives the parts back.
    """
    return ":".join(escape_id(part) for part in (system, reference) if part)
