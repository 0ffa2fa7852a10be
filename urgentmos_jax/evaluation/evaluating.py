"""Predictions against labels: agreement by utterance, by system and by pair, with intervals and differences."""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from urgentmos_jax.evaluation.datasets import Dataset, record_name, references, some_names
from urgentmos_jax.evaluation.predictions import HeadValue
from urgentmos_jax.evaluation.results import Evaluation, Result
from urgentmos_jax.manifests.records import Utterance
from urgentmos_jax.statistics.bootstrap import RESAMPLES, Difference, Estimates, paired_differences
from urgentmos_jax.statistics.correlation import agreement_with_intervals, system_means
from urgentmos_jax.statistics.preference import preference_with_intervals

# {model: for each dataset, for each record, {metric: value}}.
PredictionsOfModels = Mapping[str, Sequence[Sequence[Mapping[str, float]]]]

# Names of warnings at each level: `one_cluster` is too few references at one, and too few systems at the other.
_WARNINGS = {
    "utterance": {"one_cluster": "one_reference"},
    "system": {"one_cluster": "one_system", "few_items": "few_systems"},
    "pair": {"one_cluster": "one_reference"},
    "score_difference": {"one_cluster": "one_reference"},
}


class EvaluationError(ValueError):
    """What cannot be evaluated; the message says what to do."""


class MissingPredictions(EvaluationError):
    """Labels without a prediction, where that is not allowed; the message names them."""


def evaluate(
    datasets: Sequence[Dataset],
    predictions: PredictionsOfModels,
    *,
    metrics: Sequence[str] | None = None,
    allow_missing: bool = False,
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> Evaluation:
    """Evaluates predictions of the records of datasets.

    Utterances are resampled by reference and systems by themselves, pairs as `preference_with_intervals` says; each
    dataset with a seed of its own, and all models on the same resamples.

    Args:
        datasets: With labels.
        predictions: {model: for each dataset, for each record, {metric: value}}, as `predictions.join` and
            `predicting.predict` give them; what is missing is not there. Of pairs the values are comparisons, positive
            = A better, and `HeadValue` where a head gave them. The others are compared with the first model.
        metrics: Some of those with labels; None: all.
        allow_missing: Leave out what has no prediction, and count it.
        resamples, seed: Of the bootstrap.

    Raises:
        MissingPredictions: A label has no prediction.
        EvaluationError: No record has a label of a metric.
        ValueError: There is not one prediction for each record.
    """
    chosen = labelled_metrics(datasets, metrics)
    sizes = [len(dataset.records) for dataset in datasets]
    for model, found in predictions.items():
        if [len(part) for part in found] != sizes:
            raise ValueError(f"{model}: {[len(part) for part in found]} predictions for {sizes} records")
    if not allow_missing and (faults := list(_missing(datasets, predictions, chosen))):
        raise MissingPredictions("\n".join(faults))
    results: list[Result] = []
    for number, dataset in enumerate(datasets):
        clusters = references(dataset)
        for metric in chosen:
            labelled = [index for index, record in enumerate(dataset.records) if metric in record.metrics]
            if not labelled:
                continue
            records = [dataset.records[index] for index in labelled]
            true = np.array([record.metrics[metric] for record in records])
            systems = [record.system_id if isinstance(record, Utterance) else None for record in records]
            options = {"resamples": resamples, "seed": (seed, number)}
            one = _Labels(dataset, metric, true, [clusters[index] for index in labelled], systems, options)
            values = {
                model: np.array([_numbers(parts[number][index].get(metric, math.nan)) for index in labelled])
                for model, parts in predictions.items()
            }
            results += _results(one, values)
    return Evaluation(list(predictions), results, resamples, seed)


def labelled_metrics(datasets: Sequence[Dataset], metrics: Sequence[str] | None = None) -> list[str]:
    """The metrics that records have labels of, or those of them that are asked for.

    Raises:
        EvaluationError: No record has a label, or none has one of a metric asked for.
    """
    labelled = list(dict.fromkeys(name for one in datasets for record in one.records for name in record.metrics))
    if not labelled:
        raise EvaluationError("no record has a label")
    if unknown := [name for name in metrics or () if name not in labelled]:
        raise EvaluationError(f"no record has a label of {', '.join(unknown)}; there are {', '.join(labelled)}")
    return labelled if metrics is None else list(dict.fromkeys(metrics))


def predicted_metrics(labelled: Sequence[str], predicted: Mapping[str, Sequence[str]]) -> tuple[list[str], list[str]]:
    """Of labelled metrics those that every model predicts, and the others, given {model: metrics that it predicts}.

    Raises:
        EvaluationError: There are none that every model predicts.
    """
    kept = [name for name in labelled if all(name in of_model for of_model in predicted.values())]
    left_out = [name for name in labelled if name not in kept]
    if not kept:
        raise EvaluationError(f"nothing to evaluate: labels are of {', '.join(left_out)}, which not all predict")
    return kept, left_out


@dataclass(frozen=True)
class _Labels:
    """Labels of one metric in one dataset: [N] values, clusters (references) and systems; options of the bootstrap."""

    dataset: Dataset
    metric: str
    values: np.ndarray
    clusters: Sequence[Any]
    systems: Sequence[str | None]
    options: dict[str, Any]


def _numbers(value: float) -> tuple[float, ...]:
    """[5] a score or CMOS; of a head its probabilities and the difference of scores. NaN where there is none."""
    return value, *((*value.probabilities, value.score_difference) if isinstance(value, HeadValue) else (math.nan,) * 4)


def _results(labels: _Labels, predicted: Mapping[str, np.ndarray]) -> Iterator[Result]:
    """One for each model, the first first; `predicted` has the `_numbers` of each, [N, 5]."""
    first: tuple[np.ndarray, np.ndarray, dict[str, Estimates]] | None = None
    for model, values in predicted.items():
        present = np.isfinite(values[:, 0])
        levels = _levels(labels, values, present)
        differences: dict[str, dict[str, Difference]] = {}
        if first is None:
            first = values, present, levels
        else:
            both = present & first[1]
            one, other = (
                known if (both == there).all() else _levels(labels, side, both)
                for side, there, known in (first, (values, present, levels))
            )
            differences = {level: paired_differences(one[level], other[level]) for level in one if level in other}
        yield _result(labels, model, present, levels, differences)


def _levels(labels: _Labels, predicted: np.ndarray, present: np.ndarray) -> dict[str, Estimates]:
    kept = np.flatnonzero(present).tolist()
    sides = predicted[kept, 0], labels.values[kept]
    clusters = [labels.clusters[index] for index in kept]
    if labels.dataset.pairs:
        by_head = {"probabilities": predicted[kept, 1:4], **labels.options}
        pairs = {"pair": preference_with_intervals(*sides, clusters, **by_head)}
        differences = predicted[kept, 4]
        if kept and np.isfinite(differences).all():
            found = preference_with_intervals(differences, labels.values[kept], clusters, **labels.options)
            pairs["score_difference"] = found
        return pairs
    levels = {"utterance": agreement_with_intervals(*sides, clusters, **labels.options)}
    systems = [labels.systems[index] for index in kept]
    if any(system is not None for system in systems):
        levels["system"] = agreement_with_intervals(*system_means(*sides, systems), **labels.options)
    return levels


def _result(
    labels: _Labels,
    model: str,
    present: np.ndarray,
    levels: dict[str, Estimates],
    differences: dict[str, dict[str, Difference]],
) -> Result:
    kept = np.flatnonzero(present).tolist()
    systems = [labels.systems[index] for index in kept]
    clusters = [labels.clusters[index] for index in kept]
    named = {name for one in clusters for name in (one if isinstance(one, tuple) else (one,))}
    warnings = [_WARNINGS[level].get(one, one) for level, found in levels.items() for one in found.warnings]
    if "system" in levels and None in systems:
        warnings.append(f"no_system: {systems.count(None)}")
    return Result(
        dataset=labels.dataset.name,
        metric=labels.metric,
        model=model,
        pairs=labels.dataset.pairs,
        n=len(kept),
        missing=len(present) - len(kept),
        references=len(named - {None}),
        systems=len(set(systems) - {None}),
        levels=levels,
        differences=differences,
        warnings=tuple(dict.fromkeys(warnings)),
    )


def _missing(datasets: Sequence[Dataset], predictions: PredictionsOfModels, metrics: Sequence[str]) -> Iterator[str]:
    """What has a label and no prediction, a line for each dataset, metric and model."""
    for number, dataset in enumerate(datasets):
        for metric in metrics:
            labelled = [index for index, record in enumerate(dataset.records) if metric in record.metrics]
            for model, parts in predictions.items():
                values = parts[number]
                lacking = [index for index in labelled if not math.isfinite(values[index].get(metric, math.nan))]
                if lacking and len(lacking) == len(labelled) and not any(metric in one for one in values):
                    yield f"{model} has no {metric}, of which {dataset.name} has labels; leave it out by --metrics"
                elif lacking:
                    some = some_names([record_name(dataset.records[index]) for index in lacking])
                    yield f"{model}: no {metric} of {len(lacking)} of {len(labelled)} records of {dataset.name}: {some}"
