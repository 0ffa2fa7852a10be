"""Manifests: utterances (`data.jsonl`) and pairs (`data_pairs.jsonl`) with their labels; reading them.

The files of the authors' preparation load unchanged. Reading a quarter of a million lines takes seconds: a line costs
one look at the disk (two with `audio_root`), with `check_files=False` and no `audio_root` none. Folders are resolved
once each, and links to files; names beyond ASCII are looked for in two spellings.
"""

import math
import os
from collections.abc import Mapping
from dataclasses import replace
from typing import Any, TypedDict, Unpack

from urgentmos_jax.manifests.lines import LineChecks, Ranges, shown, two_strings
from urgentmos_jax.manifests.records import Pair, Report, Scan, Utterance


class ReadOptions(TypedDict, total=False):
    """How a manifest is read.

    Attributes:
        audio_root: Where relative audio paths are looked up that are not found relative to the manifest.
        ranges: {metric: (least, greatest)}; others have none. Default: those of `metrics.CATALOGUE`. A label outside is
            clipped and counted; by more than a tenth of a range with two ends, it is a fault.
        check_files: Whether each recording is looked for, the default. If not, links are not followed to see where
            they lead.
        allow_outside: Whether `..` and links may lead a relative path out of both folders. Absolute paths always may.
    """

    audio_root: str | os.PathLike | None
    ranges: Ranges | None
    check_files: bool
    allow_outside: bool


def read_utterances(path: str | os.PathLike, **options: Unpack[ReadOptions]) -> tuple[list[Utterance], Report]:
    """Reads `data.jsonl`: one utterance a line, UTF-8; a byte-order mark, CRLF and blank lines do not matter.

    `uid` and `audio_path` are needed. `metrics` or a label may be missing or null. A missing or null `duration` is read
    from the recording. Other keys than those of `Utterance` go to `meta`.

    Returns:
        Utterances in the order of the file, and what was counted.

    Raises:
        ManifestError: With every fault of every line.
    """
    return scan_utterances(path, **options).unless_faulty()


def scan_utterances(path: str | os.PathLike, **options: Unpack[ReadOptions]) -> Scan[Utterance]:
    """As `read_utterances`, but gives the lines that are in order as well as the faults of the others."""
    checks = LineChecks(path, **options)
    records: list[tuple[int, Utterance]] = []
    uids: dict[str, int] = {}
    paths: dict[str, int] = {}
    for number, entry in checks.entries():
        if "audio_paths" in entry:
            checks.fault(number, "is a pair (audio_paths) in a manifest of utterances; read this file as pairs")
            continue
        uid, audio = checks.text(number, entry, "uid"), checks.text(number, entry, "audio_path")
        if uid and (first := uids.setdefault(uid, number)) != number:
            checks.fault(number, f"uid {uid!r} is that of line {first} too")
        located = audio and checks.locate(number, audio)
        if located and (first := paths.setdefault(os.path.normpath(located), number)) != number:
            checks.fault(number, f"audio_path {audio!r} is that of line {first} too")
        record = Utterance(
            uid,
            located,
            checks.duration(number, "duration", entry.get("duration"), located),
            checks.optional_text(number, entry, "system_id"),
            checks.optional_text(number, entry, "reference_id"),
            checks.labels(number, entry, checks.ranges),
            checks.meta(number, entry, Utterance),
        )
        records.append((number, record))
    measured = checks.measure()
    records = [
        (number, replace(one, duration=measured[one.audio_path]) if math.isnan(one.duration) else one)
        for number, one in records
        if number not in checks.faulty
    ]
    return Scan(records, checks.report(len(records)), checks.sorted_faults())


def read_pairs(path: str | os.PathLike, **options: Unpack[ReadOptions]) -> tuple[list[Pair], Report]:
    """Reads `data_pairs.jsonl`: one pair a line, as `read_utterances` reads utterances.

    `audio_paths` is needed. Pairs without `uids` get their audio paths, as given, for uids. A difference may reach from
    -(maximum - minimum) to maximum - minimum of the metric's range.

    Returns:
        Pairs in the order of the file, and what was counted.

    Raises:
        ManifestError: With every fault of every line.
    """
    return scan_pairs(path, **options).unless_faulty()


def scan_pairs(path: str | os.PathLike, **options: Unpack[ReadOptions]) -> Scan[Pair]:
    """As `read_pairs`, but gives the lines that are in order as well as the faults of the others."""
    checks = LineChecks(path, **options)
    differences = {name: (minimum - maximum, maximum - minimum) for name, (minimum, maximum) in checks.ranges.items()}
    records: list[tuple[int, Pair]] = []
    for number, entry in checks.entries():
        if "audio_path" in entry:
            checks.fault(number, "is an utterance (audio_path) in a manifest of pairs; read this file as utterances")
            continue
        audio: Any = entry.get("audio_paths")
        uids: Any = entry.get("uids")
        seconds: Any = entry.get("durations")
        if not two_strings(audio):
            checks.fault(number, f"audio_paths is {shown(audio)}, give [A, B], two strings")
            audio = ["", ""]
        if uids is not None and not two_strings(uids):
            checks.fault(number, f"uids is {shown(uids)}, give [A, B], two strings, or leave it out")
            uids = None
        if seconds is not None and not (isinstance(seconds, list) and len(seconds) == 2):
            checks.fault(number, f"durations is {shown(seconds)}, give [A, B], two numbers, or leave it out")
            seconds = None
        a, b = (side and checks.locate(number, side) for side in audio)
        duration_a, duration_b = seconds or (None, None)
        duration_a = checks.duration(number, "durations[0]", duration_a, a)
        duration_b = checks.duration(number, "durations[1]", duration_b, b)
        labels, meta = checks.labels(number, entry, differences), checks.meta(number, entry, Pair)
        uid_a, uid_b = uids or audio
        records.append((number, Pair((uid_a, uid_b), (a, b), (duration_a, duration_b), labels, meta)))
    measured = checks.measure()
    records = [(number, _with_durations(one, measured)) for number, one in records if number not in checks.faulty]
    return Scan(records, checks.report(len(records)), checks.sorted_faults())


def _with_durations(pair: Pair, measured: Mapping[str, float]) -> Pair:
    if not any(map(math.isnan, pair.durations)):
        return pair
    a, b = (
        measured[path] if math.isnan(seconds) else seconds
        for path, seconds in zip(pair.audio_paths, pair.durations, strict=True)
    )
    return replace(pair, durations=(a, b))
