"""`urgentmos check`: everything that is wrong with manifests, and what they hold."""

import os
from collections import Counter
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from urgentmos_jax.audio.loading import AudioBlocks, AudioError
from urgentmos_jax.files import progress
from urgentmos_jax.manifests.durations import DURATION_TOLERANCE_SECONDS, measure_durations
from urgentmos_jax.manifests.lines import json_lines
from urgentmos_jax.manifests.naming import UTTERANCES, corpus_folder, corpus_name, lists_pairs, split_of
from urgentmos_jax.manifests.overlap import overlaps
from urgentmos_jax.manifests.reading import scan_pairs, scan_utterances
from urgentmos_jax.manifests.records import ManifestError, Pair, Report, Scan, Utterance


@dataclass
class Summary:
    """What one manifest holds, named `corpus/split` or by its path.

    Attributes:
        rows: Lines in order.
        hours: Of their recordings, each counted once.
        systems, references: Numbers of them.
        values: {metric: labels [N]}.
        clipped: Labels outside their metric's range, by metric.
        faults: All that is wrong, `path:line: fault`.
    """

    name: str
    path: Path
    pairs: bool
    rows: int = 0
    hours: float = 0.0
    systems: int = 0
    references: int = 0
    values: dict[str, np.ndarray] = field(default_factory=dict)
    clipped: dict[str, int] = field(default_factory=dict)
    faults: list[str] = field(default_factory=list)

    def labels(self, metric: str) -> dict[str, Any]:
        """Number of labels, share of the rows, minimum ("least"), mean and maximum ("greatest")."""
        values = self.values.get(metric, np.zeros(0))
        found = [float(x) for x in (values.min(), values.mean(), values.max())] if len(values) else [None] * 3
        share = len(values) / self.rows if self.rows else 0.0
        return {"labels": len(values), "share": share, **dict(zip(("least", "mean", "greatest"), found, strict=True))}

    def as_json(self, metrics: Sequence[str]) -> dict[str, Any]:
        """Everything but the single values."""
        return {
            "manifest": str(self.path),
            "kind": "pairs" if self.pairs else "utterances",
            **{name: getattr(self, name) for name in ("rows", "hours", "systems", "references")},
            "labels": {metric: self.labels(metric) for metric in metrics},
            "clipped": self.clipped,
            "faults": self.faults,
        }


def check_manifests(
    manifests: Sequence[Path], *, audio_root: Path | None = None, allow_outside: bool = False, decode: bool = False
) -> tuple[list[Summary], list[str]]:
    """Examines manifests, each and all together; decodes every recording, or else believes its header.

    Returns:
        One for each manifest, in order; and notes that are no faults: references that splits of a corpus share.
    """
    summaries, scans = [], []
    for path in manifests:
        pairs = lists_pairs(path)
        scan = _scan(path, pairs, audio_root, allow_outside)
        summaries.append(_described(path, pairs, scan))
        scans.append(scan)
    _check_durations(summaries, scans, decode=decode)
    for summary in summaries:
        if summary.pairs:
            summary.faults += _unknown_ids(summary.path)
    parts: dict[Path, list[Path]] = {}
    for path in dict.fromkeys(manifests):
        parts.setdefault(split_of(path), []).append(path)
    by_path = {str(summary.path): summary for summary in summaries}
    readable = [[path for path in part if _is_readable(path)] for part in parts.values()]
    for fault in overlaps(readable, audio_root=audio_root):
        owner = max((path for path in by_path if fault.startswith(f"{path}:")), key=len)
        by_path[owner].faults.append(fault)
    return summaries, _shared_references(summaries, scans)


def _scan(path: Path, pairs: bool, audio_root: Path | None, allow_outside: bool) -> Scan:
    try:
        scan = scan_pairs if pairs else scan_utterances
        return scan(path, audio_root=audio_root, allow_outside=allow_outside)
    except ManifestError as error:  # It cannot be read at all.
        return Scan([], Report(0, {}, {}, 0), error.faults)


def _described(path: Path, pairs: bool, scan: Scan) -> Summary:
    records: list[Utterance | Pair] = [record for _, record in scan.records]
    values: dict[str, list[float]] = {}
    for record in records:
        for metric, label in record.metrics.items():
            values.setdefault(metric, []).append(label)
    seconds = {audio: length for record in records for audio, length in _recordings(record)}
    return Summary(
        name=corpus_name(path) + (" (pairs)" if pairs and split_of(path) != path else ""),
        path=path,
        pairs=pairs,
        rows=len(records),
        hours=sum(seconds.values()) / 3600,
        systems=len({system for record in records for system in _ids(record, "system_id")}),
        references=len({reference for record in records for reference in _ids(record, "reference_id")}),
        values={metric: np.array(labels) for metric, labels in sorted(values.items())},
        clipped=dict(scan.report.clipped),
        faults=list(scan.faults),
    )


def _recordings(record: Utterance | Pair) -> list[tuple[str, float]]:
    if isinstance(record, Pair):
        return list(zip(record.audio_paths, record.durations, strict=True))
    return [(record.audio_path, record.duration)]


def _ids(record: Utterance | Pair, key: str) -> set[str]:
    found = record.meta.get(f"{key}s") if isinstance(record, Pair) else [getattr(record, key)]
    return {one for one in found if isinstance(one, str)} if isinstance(found, list) else set()


def _check_durations(summaries: Sequence[Summary], scans: Sequence[Scan], *, decode: bool) -> None:
    """Adds what is wrong with recordings to the faults, one a line."""
    paths = list({audio: None for scan in scans for _, record in scan.records for audio, _ in _recordings(record)})
    found = dict(zip(paths, _decoded(paths) if decode else measure_durations(paths, title="headers"), strict=True))
    for summary, scan in zip(summaries, scans, strict=True):
        for line, record in scan.records:
            for audio, declared in _recordings(record):
                seconds = found[audio]
                if isinstance(seconds, Exception):
                    summary.faults.append(f"{summary.path}:{line}: {seconds}")
                elif abs(seconds - declared) > DURATION_TOLERANCE_SECONDS:
                    text = f"{audio} lasts {seconds:.2f} s, declared are {declared:.2f} s; correct the duration"
                    summary.faults.append(f"{summary.path}:{line}: {text}")


def _decoded(paths: Sequence[str]) -> list[float | Exception]:
    def decode(path: str) -> float | Exception:
        try:
            clip = AudioBlocks(path)
            for _ in clip:
                pass
            return clip.duration_s
        except AudioError as error:
            return error

    with ThreadPoolExecutor(os.cpu_count()) as pool:
        return list(progress(pool.map(decode, paths), len(paths), "file", "decoding"))


def _unknown_ids(path: Path) -> list[str]:
    """Pairs whose ids the manifest of utterances beside them does not have."""
    beside = path.with_name(UTTERANCES)
    if beside == path or not _is_readable(beside):
        return []
    known = {entry.get("uid") for _, entry in json_lines(beside) if isinstance(entry, dict)}
    faults = []
    for line, entry in json_lines(path):
        uids = entry.get("uids") if isinstance(entry, dict) else None
        if isinstance(uids, list) and (unknown := [uid for uid in uids if uid not in known]):
            faults.append(f"{path}:{line}: uid {unknown[0]!r} is not in {beside}; make the pairs again")
    return faults


def _is_readable(path: Path) -> bool:
    return path.is_file() and os.access(path, os.R_OK)


def _shared_references(summaries: Sequence[Summary], scans: Sequence[Scan]) -> list[str]:
    found: dict[tuple[Path, str], dict[str, None]] = {}
    for summary, scan in zip(summaries, scans, strict=True):
        if split_of(summary.path) == summary.path:
            continue
        for _, record in scan.records:
            for reference in _ids(record, "reference_id"):
                splits = found.setdefault((corpus_folder(summary.path), reference), {})
                splits[split_of(summary.path).name] = None
    shared = Counter((corpus.resolve().name, tuple(splits)) for (corpus, _), splits in found.items() if len(splits) > 1)
    return [
        f"{corpus}: {count} references are in {' and '.join(splits)}; what is said there is not new"
        for (corpus, splits), count in shared.items()
    ]


def metrics_of(summaries: Sequence[Summary]) -> list[str]:
    """Every metric that one of them has a label of."""
    return sorted({metric for summary in summaries for metric in summary.values})


def coverage(summaries: Sequence[Summary]) -> Mapping[str, Mapping[str, tuple[float, np.ndarray]]]:
    """{manifest: {metric: (share of the rows, labels [N])}}, for a picture."""
    metrics = metrics_of(summaries)
    return {
        one.name: {name: (one.labels(name)["share"] or 0.0, one.values.get(name, np.zeros(0))) for name in metrics}
        for one in summaries
    }
