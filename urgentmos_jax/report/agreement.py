"""Tables of a page: predictions against labels."""

import dataclasses
from collections.abc import Collection, Mapping, Sequence
from itertools import groupby
from typing import Any

from urgentmos_jax.evaluation.datasets import Dataset
from urgentmos_jax.evaluation.predictions import Values
from urgentmos_jax.evaluation.results import Evaluation
from urgentmos_jax.evaluation.tables import TITLES, Section, sections
from urgentmos_jax.manifests.records import Utterance
from urgentmos_jax.statistics.bootstrap import CONFIDENCE

_LEVELS = {"utterance": "clips", "system": "systems", "pair": "pairs", "score_difference": "pairs, by scores"}


def agreement_tables(evaluation: Evaluation) -> list[Section]:
    """A table for each dataset, a line for each metric, model and level; averages over datasets; models compared.

    Cells are texts, numbers, or intervals; None and NaN are not defined.
    """
    found = []
    several = len(evaluation.models) > 1
    head = ["Metric", *(["Model"] if several else []), "By", "n", "Missing"]
    for dataset, group in groupby(evaluation.results, lambda one: one.dataset):
        results = list(group)
        statistics = list(dict.fromkeys(name for one in results for of in one.levels.values() for name in of.intervals))
        rows: list[list[Any]] = []
        for one in results:
            names = [one.metric, one.model] if several else [one.metric]
            for level, of in one.levels.items():
                counts = of.n, one.missing if level != "system" else None
                rows.append([*names, _LEVELS[level], *counts, *map(of.intervals.get, statistics)])
        notes = [f"{one.metric}, {one.model}: {', '.join(one.warnings)}." for one in results if one.warnings]
        found.append(Section(dataset, [*head, *(TITLES.get(name, name) for name in statistics)], rows, notes))
    if found:
        percent, resamples = f"{100 * CONFIDENCE:.0f}", f"{evaluation.resamples:,}"
        found[-1].notes.append(f"In brackets {percent} % bootstrap intervals, {resamples} resamples.")
    return found + sections(evaluation)[len(found) :]


def clips_of(
    datasets: Sequence[Dataset],
    predictions: Sequence[Sequence[Values]],
    metrics: Collection[str],
    failed: Mapping[str, str] = {},
) -> tuple[dict[str, list[Utterance]], dict[str, Values], dict[str, str]]:
    """Recordings of an evaluation as `write_report` takes them.

    Args:
        datasets, predictions: At least one of utterances; for each dataset, for each record, {metric: value}.
        metrics: Those evaluated; a record without a label or a prediction of any was not asked for, and is left out.
        failed: {uid: why it has no score}.

    Returns:
        {dataset: clips}; {uid: predictions}; {uid: why there is none}. If there are several datasets, uids and systems
        are prefixed with their names.
    """
    parts = [(one, values) for one, values in zip(datasets, predictions, strict=True) if not one.pairs]
    clips: dict[str, list[Utterance]] = {dataset.name: [] for dataset, _ in parts}
    found, failures = {}, {}
    for dataset, of_dataset in parts:
        before = f"{dataset.name}: " if len(parts) > 1 else ""
        for one, values in zip(dataset.records, of_dataset, strict=True):
            if not isinstance(one, Utterance) or not (values or set(metrics) & one.metrics.keys()):
                continue
            system = None if one.system_id is None else before + one.system_id
            clip = dataclasses.replace(one, uid=before + one.uid, system_id=system)
            clips[dataset.name].append(clip)
            found[clip.uid] = values
            if one.uid in failed:
                failures[clip.uid] = failed[one.uid]
    return clips, found, failures
