"""Calibrates a model by labelled pairs, and tells by nested cross-validation what that gains."""

import dataclasses
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from urgentmos_jax import schema
from urgentmos_jax.evaluation.datasets import Dataset, references
from urgentmos_jax.evaluation.evaluating import EvaluationError, evaluate
from urgentmos_jax.evaluation.predicting import predict
from urgentmos_jax.evaluation.predictions import HeadValue, Values
from urgentmos_jax.evaluation.results import Evaluation
from urgentmos_jax.evaluation.tables import as_json as evaluation_as_json
from urgentmos_jax.evaluation.tables import sections
from urgentmos_jax.files import progress
from urgentmos_jax.manifests.records import Pair, Utterance
from urgentmos_jax.statistics.bootstrap import Difference, paired_differences
from urgentmos_jax.statistics.calibration import Calibration, tie_logit
from urgentmos_jax.statistics.calibration_fit import LabelledPairs, choose_segments, cross_validate, fit, group
from urgentmos_jax.statistics.correlation import agreement_with_intervals
from urgentmos_jax.tables import text_table

if TYPE_CHECKING:
    from urgentmos_jax.scoring.model import Model

MIN_PAIRS = 50
# Statistics of which the gain is kept in the model folder, after the squared error.
_KEPT = ("acc_0.5", "acc_0", "pair_srcc")


@dataclass(frozen=True)
class Calibrated:
    """What was found.

    Attributes:
        calibrations: {metric: fitted to all pairs}.
        evaluations: {metric: of the pairs that were tested, without and with calibration}.
        errors: {metric: squared error of the CMOS, with less without}.
        untested: {metric: pairs that no fold could test}.
        failed: {uid: why a recording has no score}.
    """

    calibrations: dict[str, Calibration]
    evaluations: dict[str, Evaluation]
    errors: dict[str, Difference]
    untested: dict[str, int]
    failed: dict[str, str]


def calibrate(model: "Model", datasets: Sequence[Dataset], metrics: Sequence[str], *, seed: int = 0) -> Calibrated:
    """Calibrates metrics, each on its own.

    Args:
        model: Its own calibrations are not used.
        datasets: Of pairs.
        metrics: That the model predicts and pairs have labels of.
        seed: Of folds and bootstrap.

    Raises:
        EvaluationError: Fewer than `MIN_PAIRS` pairs of a metric, both orders counted once; or nothing can be fitted.
    """
    pairs = [pair for dataset in datasets for pair in _with_references(dataset)]
    for metric in metrics:
        count = len({frozenset(record.audio_paths) for record, _ in pairs if metric in record.metrics})
        if count < MIN_PAIRS:
            raise EvaluationError(f"{metric}: {count} labelled pairs, give at least {MIN_PAIRS}, better a few hundred")
    recordings = {
        path: Utterance(uid, path, math.nan, metrics=dict.fromkeys(metrics, 0.0))
        for record, _ in pairs
        for uid, path in zip(record.uids, record.audio_paths, strict=True)
    }
    of_scores = Dataset("recordings", False, list(recordings.values()))
    (*compared, scored), failed = predict(model.with_calibrations({}), [*datasets, of_scores], metrics)
    scores = dict(zip(recordings, scored, strict=True))
    values = [value for part in compared for value in part]
    found = Calibrated({}, {}, {}, {}, failed)
    for metric in progress(metrics, len(metrics), "metric", "calibration"):
        _calibrate(found, metric, pairs, values, scores, seed)
    return found


def _calibrate(
    found: Calibrated,
    metric: str,
    pairs: Sequence[tuple[Pair, tuple[str, str]]],
    values: Sequence[Values],
    scores: Mapping[str, Values],
    seed: int,
) -> None:
    kept = [
        index
        for index, (record, _) in enumerate(pairs)
        if metric in record.metrics
        and metric in values[index]
        and all(metric in scores[one] for one in record.audio_paths)
    ]
    chosen = [pairs[index] for index in kept]
    before = [values[index][metric] for index in kept]
    paths = [record.audio_paths for record, _ in chosen]
    if len(set(map(frozenset, paths))) < MIN_PAIRS:
        raise EvaluationError(
            f"{metric}: fewer than {MIN_PAIRS} pairs are left of those whose recordings can be scored"
        )
    of_head = [value for value in before if isinstance(value, HeadValue)]
    data = LabelledPairs(
        scores=np.array([[scores[path][metric] for path in sides] for sides in paths]),
        labels=np.array([record.metrics[metric] for record, _ in chosen]),
        head=np.array(before) if of_head else None,
        ties=tie_logit([one.probabilities for one in of_head]) if of_head else np.zeros(len(kept)),
        groups=group(np.array([sides for _, sides in chosen]), np.array(paths)),
    )
    try:
        calibration = fit(data, choose_segments(data, seed=seed))
    except ValueError as error:
        raise EvaluationError(f"{metric}: {error}") from None
    cmos, probabilities, differences = cross_validate(data, seed=seed)
    tested = np.flatnonzero(~np.isnan(cmos)).tolist()
    found.untested[metric] = len(kept) - len(tested)
    sides: dict[str, list[float]] = {
        "uncalibrated": [before[index] for index in tested],
        "calibrated": [HeadValue(cmos[index], probabilities[index], differences[index]) for index in tested],
    }
    names = [str(number) for number in data.groups[tested, 0]]
    errors = {
        name: agreement_with_intervals(np.array(side), data.labels[tested], names, seed=seed)
        for name, side in sides.items()
    }
    found.errors[metric] = paired_differences(errors["uncalibrated"], errors["calibrated"])["mse"]
    records = [chosen[index][0] for index in tested]
    datasets = [Dataset(f"{metric}, pairs that the fit did not meet", True, records)]
    predictions = {name: [[{metric: value} for value in side]] for name, side in sides.items()}
    evaluation = evaluate(datasets, predictions, metrics=[metric], seed=seed)
    found.evaluations[metric] = evaluation
    gains = {"mse": found.errors[metric]} | evaluation.results[1].differences["pair"]
    gain: dict[str, tuple[float, ...]] = {
        name: (of.value, of.low, of.high)
        for name, of in ((name, gains[name].interval) for name in ("mse", *_KEPT))
        if np.isfinite([of.value, of.low, of.high]).all()
    }
    unordered = len(set(map(frozenset, paths)))
    found.calibrations[metric] = dataclasses.replace(calibration, pairs=unordered, gain=gain)


def as_text(found: Calibrated, metric: str) -> str:
    """What was fitted to a metric, and what it gains."""
    one, table = found.calibrations[metric], sections(found.evaluations[metric])[0]
    knots = ", ".join(f"{a:.2f} -> {b:.2f}" for a, b in zip(one.scores, one.mapped, strict=True))
    lines = [
        table.title,
        text_table([table.header, *table.rows], text_columns=(0, 1)),
        *table.notes,
        f"{metric}: {one.pairs:,} pairs, {one.groups:,} groups of them by reference or recording",
        f"score: {knots}, straight between and beyond",
        f"CMOS: {one.head:.3f} of the head's + {one.difference:.3f} of the difference of these scores",
        f"squared error of the CMOS, with less without calibration: {found.errors[metric]}",
    ]
    if untested := found.untested[metric]:
        lines.append(f"not tested, since both groups of the pair are never in one fold: {untested:,}")
    high = one.gain["mse"][2] if "mse" in one.gain else math.inf
    if high >= 0:
        lines.append("That is not surely below 0: no gain is shown on pairs of other groups.")
    return "\n".join(lines)


def _with_references(dataset: Dataset) -> list[tuple[Pair, tuple[str, str]]]:
    """The pairs, and names of the references of A and B; where one is not known, of the recording.

    References of one name are one, whatever the manifest: rather too much is kept together than too little.
    """
    found = []
    for record, sides in zip(dataset.records, references(dataset), strict=True):
        assert isinstance(record, Pair) and isinstance(sides, tuple)  # Utterances were refused.
        a, b = (
            f"recording {path}" if name is None else f"reference {name}"
            for name, path in zip(sides, record.audio_paths, strict=True)
        )
        found.append((record, (a, b)))
    return found


def as_json(found: Calibrated) -> dict[str, Any]:
    """The same with full precision."""
    return {
        metric: {
            "calibration": schema.as_json(one),
            "squared_error": found.errors[metric].as_json(),
            "untested": found.untested[metric],
            "evaluation": evaluation_as_json(found.evaluations[metric]),
        }
        for metric, one in found.calibrations.items()
    }
