"""Labels of the recordings of a manifest: objective metrics against clean references, and ready-made scores."""

import importlib.metadata
import itertools
import math
import os
import statistics
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple

from urgentmos_jax.audio.loading import RESAMPLER, SAMPLE_RATE_HZ, AudioError, load_audio
from urgentmos_jax.files import json_beside, progress, summarise_errors
from urgentmos_jax.labels.alignment import NotAligned, delay_of, same_length, without_delay
from urgentmos_jax.labels.intrusive import NARROW_BAND_HZ, PACKAGES, measure, why_without
from urgentmos_jax.labels.references import NoReference, References, Rule
from urgentmos_jax.labels.results import ResultsFile
from urgentmos_jax.labels.scores import ScoreFile, join
from urgentmos_jax.labels.workers import in_processes
from urgentmos_jax.manifests.naming import lists_pairs
from urgentmos_jax.manifests.paths import written_path
from urgentmos_jax.manifests.reading import scan_utterances
from urgentmos_jax.manifests.records import ManifestError, Utterance
from urgentmos_jax.manifests.writing import write_utterances
from urgentmos_jax.version import __version__

_DEFINITIONS = 1  # Raise it when a metric gives other values.

Row = dict[str, Any]


@dataclass(frozen=True)
class Labelled:
    """What a labelling did: numbers of utterances, of clips measured now, and of those measured before.

    Attributes:
        errors: {uid: {"code", "message"}} of the clips that could not be measured; codes are those of `AudioError`,
            and outside, no_reference, not_aligned, crashed (its process died) and failed (a library's error).
        delays_ms: By how much each of the others is late against its reference; None where that is not clear.
        metrics: {metric: counts of `scores.join`} of what was computed.
        scores: For each file of scores its "file" and "notes", and such counts by metric, "metrics".
    """

    utterances: int
    computed: int
    reused: int
    errors: dict[str, dict[str, str]]
    delays_ms: list[float | None]
    metrics: dict[str, dict[str, int]]
    scores: list[Row]


class _Task(NamedTuple):
    """Metrics to compute of a clip."""

    uid: str
    of: Row
    audio: str
    reference: str
    metrics: tuple[str, ...]
    align: bool


def results_path(output: Path) -> Path:
    """Where what was computed for a manifest is kept."""
    return output.with_name(f"{output.name}.labels.jsonl")


def label_manifest(
    manifest: Path,
    output: Path,
    *,
    metrics: Sequence[str] = (),
    reference: Rule | None = None,
    scores: Sequence[ScoreFile] = (),
    align: bool = False,
    processes: int = 1,
    overwrite: bool = False,
    audio_root: Path | None = None,
    allow_outside: bool = False,
) -> Labelled:
    """Adds labels to the utterances of a manifest, with a progress bar on standard error.

    Each clip and its reference are loaded as `audio.load_audio` does, so metrics are those of 16 kHz whatever the rate
    of the files; but PESQ is narrow-band for a recording of 8 kHz or less. What is computed goes at once to
    `results_path(output)`, a line a clip. A later run takes from there what was measured on the same files (path, size
    and time) in the same way, and computes the rest: clips that are new, changed or failed, and metrics not asked for
    before.

    The manifest is written at the end, failed clips included, with `output.meta.json` beside it.

    Args:
        manifest, output: Of utterances; they may be the same.
        metrics: Names, of `intrusive.available()`.
        reference: Where references are; needed with metrics.
        scores: Ready-made scores, which join first.
        align: Whether to take out a constant delay (`alignment.delay_of`), where one is clear.
        processes: How many compute. The main module needs the guard `if __name__ == "__main__"`.
        overwrite: Whether values replace labels that the manifest has.
        audio_root, allow_outside: See `manifests.reading.read_utterances`; for references too.

    Raises:
        ManifestError: Faults of the manifest (a missing recording is none, but an error of its clip) or of the
            references; scores of which no id is in the manifest.
        OSError: Something cannot be written.
        ValueError: Metrics without `reference`.
    """
    utterances, unusable = _read(manifest, audio_root, allow_outside)
    joined = [_join_file(manifest, utterances, file, overwrite) for file in scores]
    known: dict[str, Row] = {}
    errors: dict[str, dict[str, str]] = {}
    reused = 0
    output.parent.mkdir(parents=True, exist_ok=True)
    if metrics:
        if reference is None:
            raise ValueError("reference is None; say where the references of the metrics are")
        usable = [utterance for utterance in utterances if utterance.uid not in unusable]
        references = References(reference, usable, manifest, audio_root, allow_outside)
        with ResultsFile(results_path(output)) as results:
            of, tasks, failed = _planned(utterances, unusable, references, results, metrics, align)
            reused = len(utterances) - len(tasks) - len(failed)
            rows = itertools.chain(failed, _computed(tasks, processes))
            for row in progress(rows, len(utterances), "clip", "labels", start=reused):
                results.add(row)
                if row["error"]:
                    errors[row["uid"]] = row["error"]
            known = {uid: row for uid, what in of.items() if (row := results.row(uid, what))}
    values = {name: {uid: row["values"].get(name) for uid, row in known.items()} for name in metrics}
    labelled = Labelled(
        utterances=len(utterances),
        computed=len(utterances) - reused - len(errors) if metrics else 0,
        reused=reused,
        errors=errors,
        delays_ms=[row["delay_ms"] for row in known.values()],
        metrics={name: join(utterances, name, values[name], overwrite=overwrite) for name in metrics},
        scores=joined,
    )
    folder, written = os.path.realpath(output.parent), []
    for one in utterances:
        # What leads outside stays relative, so that it stays refused.
        path = os.path.relpath if unusable.get(one.uid, ("",))[0] == "outside" else written_path
        written.append(replace(one, audio_path=path(os.path.abspath(one.audio_path), folder)))
    with json_beside(f"{output}.meta.json", _meta(manifest, labelled, reference, align)):
        write_utterances(output, written)
    return labelled


def summary(output: Path, labelled: Labelled, *, align: bool) -> list[str]:
    """Lines for people: what was computed and merged, and what failed."""
    lines = [f"{output}: {labelled.utterances} utterances"]
    if labelled.metrics:
        lines.append(f"{labelled.computed} computed, {labelled.reused} known before, {len(labelled.errors)} failed")
    if late := [delay for delay in labelled.delays_ms if delay]:
        taken_out = "taken out" if align else "all metrics but PESQ and SDR suffer, --align takes it out"
        what = f"{len(late)} of {len(labelled.delays_ms)} clips are late or early"
        lines.append(f"{what}, {statistics.median(late):.1f} ms in the middle: {taken_out}")
    lines += [f"{metric}: {_counted(counts)}" for metric, counts in labelled.metrics.items()]
    for file in labelled.scores:
        lines += [f"{file['file']}, {metric}: {_counted(counts)}" for metric, counts in file["metrics"].items()]
        lines += [f"{file['file']}: {note}" for note in file["notes"]]
    if labelled.errors:
        faults = [error["message"] for error in labelled.errors.values()]
        lines.append(summarise_errors(faults, "clips failed; the same command tries them again"))
    return lines


def _counted(counts: dict[str, int]) -> str:
    """Such as "70 added, 3 kept"."""
    texts = {"kept": "kept though they differ (--overwrite replaces them)", "far out": "out of range, left out"}
    return ", ".join(f"{count} {texts.get(name, name)}" for name, count in counts.items() if count) or "nothing"


def _read(
    manifest: Path, audio_root: Path | None, allow_outside: bool
) -> tuple[list[Utterance], dict[str, tuple[str, str]]]:
    """Utterances, labels as they stand, and {uid: (code, fault)} of those whose recording cannot be used."""
    if lists_pairs(manifest):
        text = "lists pairs; label the manifest of their recordings, then make pairs of it (urgentmos pairs)"
        raise ManifestError([f"{manifest}: {text}"])
    # Recordings that are missing or outside are no reason to refuse the others.
    scan = scan_utterances(manifest, audio_root=audio_root, ranges={}, check_files=False, allow_outside=True)
    scan.unless_faulty()
    strict = scan_utterances(manifest, audio_root=audio_root, ranges={}, allow_outside=allow_outside)
    faults = {int(text.removeprefix(f"{manifest}:").partition(":")[0]): text for text in strict.faults}
    unusable = {
        utterance.uid: ("outside" if os.path.isfile(utterance.audio_path) else "missing", faults[number])
        for number, utterance in scan.records
        if number in faults
    }
    return [utterance for _, utterance in scan.records], unusable


def _join_file(manifest: Path, utterances: Sequence[Utterance], file: ScoreFile, overwrite: bool) -> Row:
    counts = {metric: join(utterances, metric, values, overwrite=overwrite) for metric, values in file.values.items()}
    ids = {uid for values in file.values.values() for uid in values}
    if not ids & {utterance.uid for utterance in utterances}:
        example = f"such as {min(ids)!r}; the manifest has ids such as {utterances[0].uid!r}" if ids else "it has none"
        raise ManifestError([f"{file.path}: none of its {len(ids)} ids is in {manifest}, {example}"])
    return {"file": str(file.path), "notes": list(file.notes), "metrics": counts}


def _planned(
    utterances: Sequence[Utterance],
    unusable: Mapping[str, tuple[str, str]],
    references: References,
    results: ResultsFile,
    metrics: Sequence[str],
    align: bool,
) -> tuple[dict[str, Row], list[_Task], list[Row]]:
    """{uid: what is measured}, what is to be computed, and rows of clips that cannot be."""
    of: dict[str, Row] = {}
    tasks, failed = [], []
    for utterance in utterances:
        uid = utterance.uid
        if uid in unusable:
            failed.append(_failed(uid, {}, *unusable[uid]))
            continue
        try:
            reference = references.of(utterance)
        except NoReference as error:
            failed.append(_failed(uid, {}, "no_reference", f"{uid}: {error}"))
            continue
        files = {"audio": _fingerprint(utterance.audio_path), "reference": _fingerprint(reference)}
        of[uid] = {**files, "aligned": align, "definitions": _DEFINITIONS}
        row = results.row(uid, of[uid])
        if missing := tuple(name for name in metrics if not row or name not in row["values"]):
            tasks.append(_Task(uid, of[uid], utterance.audio_path, reference, missing, align))
    return of, tasks, failed


def _fingerprint(path: str) -> list[str | int] | None:
    """What tells a file from a changed one; None where there is none."""
    try:
        status = os.stat(path)
    except OSError:
        return None
    return [os.path.abspath(path), status.st_size, status.st_mtime_ns]


def _computed(tasks: Sequence[_Task], processes: int) -> Iterator[Row]:
    for task, row in in_processes(_measured, tasks, min(processes, len(tasks))):
        text = f"{task.audio}: the process that measured it died"
        yield row or _failed(task.uid, task.of, "crashed", f"{text}; leave out {', '.join(task.metrics)}, or the clip")


def _measured(task: _Task) -> Row:
    """Measures a clip; in a process of its own."""
    try:
        clip, clean = load_audio(task.audio), load_audio(task.reference)
        degraded, reference = same_length(clip.waveform, clean.waveform)
        delay = delay_of(degraded, reference)
        if task.align and delay:
            degraded, reference = without_delay(degraded, reference, delay)
        found = measure(degraded, reference, task.metrics, narrow_band=clip.sample_rate_hz <= NARROW_BAND_HZ)
    except AudioError as error:
        return _failed(task.uid, task.of, error.code, str(error))
    except NotAligned as error:
        return _failed(task.uid, task.of, "not_aligned", f"{task.audio}: {error}")
    except Exception as error:  # A library's: the other clips are still measured.
        return _failed(task.uid, task.of, "failed", f"{task.audio}: {type(error).__name__}: {error}")
    values = {name: found.get(name) for name in task.metrics}
    values = {name: value if value is not None and math.isfinite(value) else None for name, value in values.items()}
    reasons = {name: why_without(name, degraded, reference) for name, value in values.items() if value is None}
    delay_ms = None if delay is None else 1000 * delay / SAMPLE_RATE_HZ
    return {
        "uid": task.uid, "of": task.of, "values": values, "reasons": reasons, "error": None, "delay_ms": delay_ms
    }  # fmt: skip


def _failed(uid: str, of: Row, code: str, message: str) -> Row:
    return {"uid": uid, "of": of, "values": {}, "error": {"code": code, "message": message}}


def _meta(manifest: Path, labelled: Labelled, reference: Rule | None, align: bool) -> Row:
    """What was computed with what."""
    packages = {package for name in labelled.metrics for package in PACKAGES.get(name, ())}
    return {
        "tool": "urgentmos_jax",
        "tool_version": __version__,
        "source": str(manifest),
        "reference": asdict(reference) if reference else None,
        "aligned": align,
        "sample_rate_hz": SAMPLE_RATE_HZ,
        "resampler": RESAMPLER,
        "packages": {package: importlib.metadata.version(package) for package in sorted(packages)},
        "failed": dict(Counter(error["code"] for error in labelled.errors.values())),
        **{name: getattr(labelled, name) for name in ("utterances", "metrics", "scores")},
    }
