"""Writes manifests and reports: measures recordings, joins side files, checks ids."""

import os
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from urgentmos_jax.corpora.corpus import Corpus, Tree
from urgentmos_jax.corpora.paper import beside_split
from urgentmos_jax.corpora.side_files import SideFiles
from urgentmos_jax.corpora.split import RatedPair, Recording, Split
from urgentmos_jax.files import json_beside
from urgentmos_jax.manifests.durations import measure_durations
from urgentmos_jax.manifests.paths import written_path
from urgentmos_jax.manifests.records import ManifestError, Pair, Utterance
from urgentmos_jax.manifests.sampling import stable_hash, stable_uniform
from urgentmos_jax.manifests.skipping import max_bad
from urgentmos_jax.manifests.tables import Position
from urgentmos_jax.manifests.writing import write_pairs, write_utterances
from urgentmos_jax.metrics import CATALOGUE
from urgentmos_jax.version import __version__

HELD_OUT = "dev"


def prepare_corpus(
    corpus: Corpus,
    source: Path,
    output: Path,
    *,
    splits: Sequence[str] = (),
    audio_root: Path | None = None,
    side_files: Path | None = None,
    max_bad_fraction: float = 0.0,
    hold_out: float = 0.0,
) -> dict[str, dict[str, Any]]:
    """Writes `output/SPLIT/data.jsonl` (or `data_pairs.jsonl`) and `report.json` of each split.

    Each split without faults is written, whatever is wrong with the others.

    Args:
        corpus, source: And its folder, as its archive unpacks.
        output: Folder of the manifests.
        splits: Some of its splits; by default all.
        audio_root: Where recordings are looked for that are not below `source`.
        side_files: Folder with the authors' side files (`corpora.side_files`).
        max_bad_fraction: Fraction of a split's recordings that may be missing or undecodable, 0 = none, else at least
            one; they are left out and listed.
        hold_out: Fraction of the recordings of `train` that become `dev`, for a corpus without a dev split. Which ones
            depends only on the reference (or the id, without one), so no reference is in both.

    Returns:
        {split: content of its `report.json`}.

    Raises:
        ManifestError: With all faults of all splits.
        ValueError: There is no such split, or nothing to hold out from.
    """
    names = list(splits or corpus.splits)
    if unknown := [name for name in names if name not in corpus.splits]:
        raise ValueError(f"{corpus.name} has no split {', '.join(unknown)}; it has {', '.join(corpus.splits)}")
    if hold_out and (HELD_OUT in corpus.splits or "train" not in names or corpus.pairs):
        raise ValueError(f"nothing to hold out: {corpus.name} has the splits {', '.join(corpus.splits)}")
    if not source.is_dir():
        raise ManifestError([f"{source}: no such folder; --download downloads the corpus into it where it can"])
    reports, faults = {}, []
    for name in names:
        tree = Tree(source, corpus.top_folders, audio_root=audio_root, extracted=output / name / "audio")
        split = Split(name)
        try:
            corpus.read(tree, split)
            split.stop_at_faults()
            about = {"corpus": corpus.name, "protocol": corpus.protocol, "licence": corpus.licence}
            for part, recordings in _held_out(split, hold_out if name == "train" else 0.0).items():
                # What is held out has the side files of `train`; comparisons have none.
                side = SideFiles(side_files, corpus.name, name) if side_files and not corpus.pairs else None
                card = about | {"split": part, "published": None if hold_out else corpus.splits[name]}
                options: dict[str, Any] = {"side_files": side, "max_bad_fraction": max_bad_fraction, "about": card}
                reports[part] = write_split(split, output / part, recordings=recordings, **options)
        except ManifestError as error:
            faults += error.faults
    if faults:
        raise ManifestError(faults)
    return reports


def write_split(
    split: Split,
    output: str | os.PathLike,
    *,
    recordings: Sequence[Recording] | None = None,
    side_files: SideFiles | None = None,
    max_bad_fraction: float = 0.0,
    about: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """Writes the manifest of a split and `report.json` beside it.

    Args:
        split: What was read.
        output: Folder; created if missing.
        recordings: Some of the split's recordings; by default all.
        side_files: What is joined to them.
        max_bad_fraction: See `prepare_corpus`.
        about: First entries of the report.

    Returns:
        The report: rows read, kept and dropped by reason, labels, recordings left out, matches of side files.

    Raises:
        ManifestError: With all faults.
    """
    folder = os.path.realpath(output)
    recordings = list(split.recordings.values()) if recordings is None else list(recordings)
    listed: dict[str, Recording | RatedPair] = {recording.path: recording for recording in recordings}
    listed |= {path: pair for pair in split.pairs for path in pair.paths}
    seconds = _measure(split, listed, max_bad_fraction)
    pairs = _pairs(split.pairs, seconds, folder)
    utterances: list[Utterance] = []
    if split.pairs:
        dropped, kept = len(split.pairs) - len(pairs), len(pairs)
    else:
        remaining = [recording for recording in recordings if recording.path in seconds]
        utterances = _utterances(split, remaining, seconds, folder)
        kept = sum(recording.rows for recording in remaining)
        dropped = sum(recording.rows for recording in recordings) - kept
    if dropped:
        split.dropped["bad audio"] += dropped
    joined = side_files.join(utterances, split) if side_files else None
    split.stop_at_faults()
    records: Sequence[Utterance | Pair] = pairs or utterances
    if not records:
        reasons = ", ".join(f"{reason}: {count}" for reason, count in split.dropped.items()) or "it has none"
        raise ManifestError([f"{', '.join(split.sources) or split.name}: no rows to keep ({reasons})"])
    report = dict(about or {}) | _report(split, recordings, records, kept) | ({"side_files": joined} if joined else {})
    os.makedirs(folder, exist_ok=True)
    with json_beside(os.path.join(folder, "report.json"), report):
        if split.pairs:
            write_pairs(os.path.join(folder, "data_pairs.jsonl"), pairs)
        else:
            write_utterances(os.path.join(folder, "data.jsonl"), utterances)
    return report


def summary(folder: Path, report: Mapping[str, Any]) -> list[str]:
    """Lines for people of the report of a split that lies in a folder."""
    kind = "pairs" if "pairs" in report else "utterances"
    rows, name = report["rows"], "data_pairs.jsonl" if kind == "pairs" else "data.jsonl"
    lines = [
        f"{folder / name}: {report[kind]} {kind}",
        f"rows: {rows['read']} read, {rows['kept']} kept",
        *(f"  dropped, {reason}: {count}" for reason, count in rows["dropped"].items()),
    ]
    for title, key in (("labels", "labels"), ("ratings", "ratings"), ("blank", "blank_ratings")):
        if report[key] or key == "labels":
            lines.append(f"{title}: {', '.join(f'{name} {count}' for name, count in report[key].items())}")
    lines += [f"{note}: {count}" for note, count in report["notes"].items()]
    lines += [f"left out, line {bad['line']}: {bad['error']}" for bad in report["bad_audio"]]
    if unknown := report["not_in_catalogue"]:
        lines.append(f"unknown metrics, whose range is not checked: {', '.join(unknown)}")
    for file, found in report.get("side_files", {}).items():
        text = f"{found['matched']} matched, {found['not_in_corpus']} ids not in the corpus"
        lines.append(f"side file {file}: {text}, {found['without']} utterances without")
    if (published := report.get("published")) and published != report[kind]:
        lines.append(f"as published this split has {published} {kind}; is all of it there?")
    if paper := beside_split(report):
        lines.append(paper)
    return lines


def _held_out(split: Split, share: float) -> dict[str, list[Recording] | None]:
    if not share:
        return {split.name: None}
    recordings = list(split.recordings.values())
    keys = [stable_hash(recording.reference or recording.uid) for recording in recordings]
    held = stable_uniform(keys, "hold-out") < share
    return {
        name: [recording for recording, is_held in zip(recordings, held, strict=True) if is_held == (name == HELD_OUT)]
        for name in (split.name, HELD_OUT)
    }


def _measure(split: Split, listed: Mapping[str, Recording | RatedPair], max_bad_fraction: float) -> dict[str, float]:
    """{path: seconds}; recordings that cannot be opened are faults, or are left out if they are few enough."""
    paths = list(listed)
    measured = measure_durations(paths, title=f"{split.name}: recordings")
    found = dict(zip(paths, measured, strict=True))
    bad = {path: error for path, error in found.items() if not isinstance(error, float)}
    if len(bad) > (max_bad(len(paths), max_bad_fraction) if max_bad_fraction else 0):
        advice = "; or leave such recordings out with --skip-bad"
        if max_bad_fraction:
            text = f"{len(bad)} of {len(paths)} recordings are bad, more than {100 * max_bad_fraction:g} %"
            split.fault(Position(split.name, 0), f"{text}; if that is right, give a larger --skip-bad SHARE")
            advice = ""
        for path, error in bad.items():
            split.fault(listed[path].position, f"{error}{advice}")
    split.bad += [
        {"line": listed[path].position.line, "audio": getattr(listed[path], "audio", path), "error": str(error)}
        for path, error in bad.items()
    ]
    return {path: seconds for path, seconds in found.items() if isinstance(seconds, float)}


def _utterances(
    split: Split, recordings: Iterable[Recording], seconds: Mapping[str, float], folder: str
) -> list[Utterance]:
    utterances: list[Utterance] = []
    uids: dict[str, Recording] = {}
    for recording in recordings:
        first = uids.setdefault(recording.uid, recording)
        if first is not recording:
            text = f"{recording.audio!r} has the id {recording.uid!r}, as on line {first.position.line} {first.audio!r}"
            split.fault(recording.position, f"{text}; name a reference column that distinguishes them, or none")
        labels, meta = split.labels_of(recording)
        path, duration = written_path(recording.path, folder), round(seconds[recording.path], 6)
        utterances.append(Utterance(recording.uid, path, duration, recording.system, recording.reference, labels, meta))
    return utterances


def _pairs(pairs: Iterable[RatedPair], seconds: Mapping[str, float], folder: str) -> list[Pair]:
    found = []
    for pair in pairs:
        if all(path in seconds for path in pair.paths):
            a, b = ((written_path(path, folder), round(seconds[path], 6)) for path in pair.paths)
            labels, meta = {"mos_overall": pair.label}, pair.meta | {"label": "preference"}
            found.append(Pair(pair.uids, (a[0], b[0]), (a[1], b[1]), labels, meta))
    return found


def _report(
    split: Split, recordings: Sequence[Recording], records: Sequence[Utterance | Pair], kept: int
) -> dict[str, Any]:
    labels = Counter(name for record in records for name in record.metrics)
    ratings = Counter(name for recording in recordings for name, found in recording.ratings.items() for _ in found)
    return {
        "sources": split.sources,
        "tool_version": __version__,
        "rows": {"read": split.read, "kept": kept, "dropped": dict(split.dropped)},
        "pairs" if split.pairs else "utterances": len(records),
        "hours": round(sum(one.duration for one in records if isinstance(one, Utterance)) / 3600, 4),
        "systems": len({one.system_id for one in records if isinstance(one, Utterance)} - {None}),
        "labels": dict(labels),
        "ratings": dict(ratings),
        "blank_ratings": dict(split.blank),
        "notes": dict(split.notes),
        "not_in_catalogue": sorted(labels.keys() - CATALOGUE.keys()),
        "bad_audio": split.bad,
    }
