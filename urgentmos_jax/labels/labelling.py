"""Labels of the recordings of a manifest: metrics against clean references, predictors, and ready-made scores."""

import itertools
import math
import os
import statistics
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from urgentmos_jax.audio.loading import RESAMPLER, SAMPLE_RATE_HZ, AudioError, Clip, load_audio
from urgentmos_jax.files import json_beside, progress, summarise_errors
from urgentmos_jax.labels import distill_mos, predictors
from urgentmos_jax.labels.alignment import NotAligned, delay_of, same_length, without_delay
from urgentmos_jax.labels.intrusive import METRICS, NARROW_BAND_HZ, PACKAGES, measure, why_without
from urgentmos_jax.labels.packages import WeightsMissing, version_of
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
    """Metrics to compute of a clip; without a reference, those of predictors."""

    uid: str
    of: Row
    audio: str
    reference: str | None
    metrics: tuple[str, ...]
    align: bool


@dataclass
class _Plan:
    """What is measured of each clip, {uid: its ways}, what is to be computed, and rows of clips that cannot be.

    `tasks` are for other processes, `recordings` for Distill-MOS in this one, (uid, what is measured, path).
    """

    of: dict[str, list[Row]]
    tasks: list[_Task]
    recordings: list[tuple[str, Row, str]]
    failed: list[Row]

    @property
    def begun(self) -> set[str]:
        """Clips of which something is computed, or failed already."""
        uids = {row["uid"] for row in self.failed} | {task.uid for task in self.tasks}
        return uids | {uid for uid, _, _ in self.recordings}


def results_path(output: Path) -> Path:
    """Where what was computed for a manifest is kept."""
    return output.with_name(f"{output.name}.labels.jsonl")


def label_manifest(
    manifest: Path,
    output: Path,
    *,
    metrics: Sequence[str] = (),
    reference: Rule | None = None,
    model: Path | None = None,
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
    `results_path(output)`, a line a clip for the metrics against its reference, one for the predictors, which need
    none, and one for Distill-MOS. A later run takes from there what was measured on the same files (path, size and
    time) in the same way, and computes the rest: clips that are new, changed or failed, and metrics not asked for
    before.

    The manifest is written at the end, failed clips included, with `output.meta.json` beside it.

    Args:
        manifest, output: Of utterances; they may be the same.
        metrics: Names, of `intrusive.available()` and `predictors.available()`, and distill_mos.
        reference: Where references are; needed with the first.
        model: Folder of Distill-MOS (`distill_mos.HOW_TO_MAKE`); needed with the last.
        scores: Ready-made scores, which join first.
        align: Whether to take out a constant delay (`alignment.delay_of`), where one is clear.
        processes: How many compute. The main module needs the guard `if __name__ == "__main__"`.
        overwrite: Whether values replace labels that the manifest has.
        audio_root, allow_outside: See `manifests.reading.read_utterances`; for references too.

    Raises:
        ManifestError: Faults of the manifest (a missing recording is none, but an error of its clip) or of the
            references; scores of which no id is in the manifest.
        OSError: Something cannot be written.
        ValueError: Metrics against a reference without `reference`, or distill_mos without `model`.
        ModuleNotFoundError, WeightsMissing: A predictor cannot be loaded; what was computed is kept.
    """
    utterances, unusable = _read(manifest, audio_root, allow_outside)
    joined = [_join_file(manifest, utterances, file, overwrite) for file in scores]
    known: dict[str, Row] = {}
    errors: dict[str, dict[str, str]] = {}
    reused, weights = 0, _weights(metrics, model)
    output.parent.mkdir(parents=True, exist_ok=True)
    if metrics:
        usable = [utterance for utterance in utterances if utterance.uid not in unusable]
        references = None
        if reference is not None:
            references = References(reference, usable, manifest, audio_root, allow_outside)
        elif against := [name for name in metrics if name in METRICS]:
            raise ValueError(f"reference is None; say where the references of {', '.join(against)} are")
        with ResultsFile(results_path(output)) as results:
            plan = _planned(utterances, unusable, references, weights, results, metrics, align)
            ways = sum(map(len, plan.of.values())) + len(plan.failed)
            heard: Iterable[Row] = ()
            if model and plan.recordings:
                heard = distill_mos.rows(distill_mos.load(model), plan.recordings)
            rows = itertools.chain(plan.failed, heard, _computed(plan.tasks, processes))
            done = ways - len(plan.tasks) - len(plan.recordings) - len(plan.failed)
            for row in progress(rows, ways, "clip", "labels", start=done):
                results.add(row)
                if row["error"]:
                    errors[row["uid"]] = row["error"]
            reused = len(utterances) - len(plan.begun)
            for uid, of in plan.of.items():
                if found := [row for one in of if (row := results.row(uid, one))]:
                    known[uid] = {
                        "values": {name: value for row in found for name, value in row["values"].items()},
                        "delays_ms": [row["delay_ms"] for row in found if "delay_ms" in row],
                    }
    values = {name: {uid: row["values"].get(name) for uid, row in known.items()} for name in metrics}
    labelled = Labelled(
        utterances=len(utterances),
        computed=len(utterances) - reused - len(errors) if metrics else 0,
        reused=reused,
        errors=errors,
        delays_ms=[delay for row in known.values() for delay in row["delays_ms"]],
        metrics={name: join(utterances, name, values[name], overwrite=overwrite) for name in metrics},
        scores=joined,
    )
    folder, written = os.path.realpath(output.parent), []
    for one in utterances:
        # What leads outside stays relative, so that it stays refused.
        path = os.path.relpath if unusable.get(one.uid, ("",))[0] == "outside" else written_path
        written.append(replace(one, audio_path=path(os.path.abspath(one.audio_path), folder)))
    meta = _meta(manifest, labelled, reference, align)
    if weights:
        meta["distill_mos"] = {"model": str(model), "model_sha256": weights}
    with json_beside(f"{output}.meta.json", meta):
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
    references: References | None,
    weights: str | None,
    results: ResultsFile,
    metrics: Sequence[str],
    align: bool,
) -> _Plan:
    plan = _Plan({}, [], [], [])
    against = tuple(name for name in metrics if name in METRICS)
    alone = tuple(name for name in metrics if name in predictors.PREDICTORS)
    for utterance in utterances:
        uid = utterance.uid
        if uid in unusable:
            plan.failed.append(_failed(uid, {}, *unusable[uid]))
            continue
        audio = {"audio": _fingerprint(utterance.audio_path)}
        ways: list[tuple[Row, str | None, tuple[str, ...]]] = []
        if against and references:
            try:
                reference = references.of(utterance)
            except NoReference as error:
                plan.failed.append(_failed(uid, {}, "no_reference", f"{uid}: {error}"))
            else:
                of = {**audio, "reference": _fingerprint(reference), "aligned": align, "definitions": _DEFINITIONS}
                ways.append((of, reference, against))
        if alone:
            ways.append(({**audio, "definitions": _DEFINITIONS}, None, alone))
        for of, path, wanted in ways:
            plan.of.setdefault(uid, []).append(of)
            row = results.row(uid, of)
            if missing := tuple(name for name in wanted if not row or name not in row["values"]):
                plan.tasks.append(_Task(uid, of, utterance.audio_path, path, missing, align))
        if weights is not None:
            by_model: Row = {**audio, "model": weights}
            plan.of.setdefault(uid, []).append(by_model)
            if results.row(uid, by_model) is None:
                plan.recordings.append((uid, by_model, utterance.audio_path))
    return plan


def _weights(metrics: Sequence[str], model: Path | None) -> str | None:
    """Hash of the weights of Distill-MOS, where it is asked for."""
    if distill_mos.METRIC not in metrics:
        return None
    if model is None:
        raise ValueError(f"model is None; distill_mos needs its folder: {distill_mos.HOW_TO_MAKE}")
    return distill_mos.weights_hash(model)


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
        clip = load_audio(task.audio)
        found = _predicted(task, clip.waveform) if task.reference is None else _compared(task, clip, task.reference)
    except (ModuleNotFoundError, WeightsMissing):  # It would be the same for each clip.
        raise
    except AudioError as error:
        return _failed(task.uid, task.of, error.code, str(error))
    except NotAligned as error:
        return _failed(task.uid, task.of, "not_aligned", f"{task.audio}: {error}")
    except Exception as error:  # A library's: the other clips are still measured.
        return _failed(task.uid, task.of, "failed", f"{task.audio}: {type(error).__name__}: {error}")
    return {"uid": task.uid, "of": task.of, **found, "error": None}


def _compared(task: _Task, clip: Clip, path: str) -> Row:
    """Values against a reference, and by how much the clip is late."""
    degraded, reference = same_length(clip.waveform, load_audio(path).waveform)
    delay = delay_of(degraded, reference)
    if task.align and delay:
        degraded, reference = without_delay(degraded, reference, delay)
    found = measure(degraded, reference, task.metrics, narrow_band=clip.sample_rate_hz <= NARROW_BAND_HZ)
    values = {name: _finite(found.get(name)) for name in task.metrics}
    reasons = {name: why_without(name, degraded, reference) for name, value in values.items() if value is None}
    return {
        "values": values, "reasons": reasons, "delay_ms": None if delay is None else 1000 * delay / SAMPLE_RATE_HZ
    }  # fmt: skip


def _predicted(task: _Task, waveform: np.ndarray) -> Row:
    """Values of predictors, those that come with them too."""
    found = predictors.predict(waveform, task.metrics)
    values = {name: _finite(found.get(name)) for name in dict.fromkeys([*task.metrics, *found])}
    reasons = {name: predictors.why_without(name, waveform) for name, value in values.items() if value is None}
    return {"values": values, "reasons": reasons}


def _finite(value: float | None) -> float | None:
    return value if value is not None and math.isfinite(value) else None


def _failed(uid: str, of: Row, code: str, message: str) -> Row:
    return {"uid": uid, "of": of, "values": {}, "error": {"code": code, "message": message}}


def _meta(manifest: Path, labelled: Labelled, reference: Rule | None, align: bool) -> Row:
    """What was computed with what."""
    needed = {**PACKAGES, **predictors.PACKAGES}
    packages = {package for name in labelled.metrics for package in needed.get(name, ())}
    return {
        "tool": "urgentmos_jax",
        "tool_version": __version__,
        "source": str(manifest),
        "reference": asdict(reference) if reference else None,
        "aligned": align,
        "sample_rate_hz": SAMPLE_RATE_HZ,
        "resampler": RESAMPLER,
        "packages": {package: version_of(package) for package in sorted(packages)},
        "failed": dict(Counter(error["code"] for error in labelled.errors.values())),
        **{name: getattr(labelled, name) for name in ("utterances", "metrics", "scores")},
    }
