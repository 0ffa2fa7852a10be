"""A model's predictions of the records of datasets."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from urgentmos_jax.evaluation.datasets import Dataset
from urgentmos_jax.evaluation.predictions import Values
from urgentmos_jax.files import progress
from urgentmos_jax.manifests.records import Pair
from urgentmos_jax.scoring.rows import Scored, failure

if TYPE_CHECKING:
    from urgentmos_jax.scoring.model import Model


def predict(
    model: "Model", datasets: Sequence[Dataset], metrics: Sequence[str]
) -> tuple[list[list[Values]], dict[str, str]]:
    """What a model says of each record that has a label of one of the metrics.

    Pairs are compared by the CMOS heads that the model has, and else by the difference of scores, A less B. Each
    recording is encoded once, for its score and for all of its pairs.

    Returns:
        As `join`; and {uid: why it failed}.
    """
    failed: dict[str, str] = {}
    heads = [name for name in metrics if name in model.comparative_metrics]
    own = [name for name in metrics if name in model.metrics]
    by_difference = [name for name in own if name not in heads]
    labelled = [[any(name in record.metrics for name in own) for record in dataset.records] for dataset in datasets]
    recordings: dict[str, str] = {}
    pairs: dict[tuple[str, str], None] = {}
    for dataset, known in zip(datasets, labelled, strict=True):
        for record, has_label in zip(dataset.records, known, strict=True):
            if not has_label:
                continue
            if isinstance(record, Pair):
                for path, uid in zip(record.audio_paths, record.uids, strict=True):
                    recordings.setdefault(path, uid)
                if heads:
                    pairs[record.audio_paths] = None
            else:
                recordings[record.audio_path] = record.uid
    paths, sides = list(recordings), list(pairs)
    numbers = {path: number for number, path in enumerate(paths)}
    scores: dict[str, Values] = {}
    comparisons: dict[tuple[str, str], Values] = {}
    with progress(None, len(paths), "clip") as bar:
        for result in model.assess(
            paths,
            [(numbers[a], numbers[b]) for a, b in sides],
            uids=recordings.values(),
            metrics=own,
            comparative_metrics=heads or None,
        ):
            if isinstance(result, Scored):
                bar.update()
                scores[paths[result.index]] = result.row["scores"] or {}
                if result.row["error"]:
                    failed[result.row["uid"]] = failure(result.row)
            else:
                compared = result.row["comparison"] or {}
                comparisons[sides[result.index]] = {name: value["cmos"] for name, value in compared.items()}

    def of_pair(record: Pair) -> Values:
        a, b = (scores.get(path, {}) for path in record.audio_paths)
        differences = {name: a[name] - b[name] for name in by_difference if name in a and name in b}
        return differences | comparisons.get(record.audio_paths, {})

    found = [
        [
            {} if not has_label else of_pair(record) if isinstance(record, Pair) else scores[record.audio_path]
            for record, has_label in zip(dataset.records, known, strict=True)
        ]
        for dataset, known in zip(datasets, labelled, strict=True)
    ]
    return found, failed
