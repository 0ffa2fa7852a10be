"""A model's predictions of the records of datasets."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from urgentmos_jax.evaluation.datasets import Dataset
from urgentmos_jax.evaluation.predictions import HeadValue, Values
from urgentmos_jax.files import progress
from urgentmos_jax.manifests.records import Pair, Utterance
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
    recordings: dict[str, str] = {}
    pairs: dict[tuple[str, str], None] = {}

    def labelled(record: Utterance | Pair) -> bool:
        return any(name in record.metrics for name in own)

    for record in (record for dataset in datasets for record in dataset.records if labelled(record)):
        if isinstance(record, Utterance):
            recordings[record.audio_path] = record.uid
            continue
        for path, uid in zip(record.audio_paths, record.uids, strict=True):
            recordings.setdefault(path, uid)
        if heads:
            pairs[record.audio_paths] = None
    paths, sides = list(recordings), list(pairs)
    numbers = {path: number for number, path in enumerate(paths)}
    scores: dict[str, Values] = {}
    comparisons: dict[tuple[str, str], Values] = {}
    indices = [(numbers[a], numbers[b]) for a, b in sides]
    chosen: dict[str, Any] = {"metrics": own, "comparative_metrics": heads or None}
    with progress(None, len(paths), "clip") as bar:
        for result in model.assess(paths, indices, uids=recordings.values(), **chosen):
            if isinstance(result, Scored):
                bar.update()
                scores[paths[result.index]] = result.row["scores"] or {}
                if result.row["error"]:
                    failed[result.row["uid"]] = failure(result.row)
            else:
                compared = result.row["comparison"] or {}
                comparisons[sides[result.index]] = {
                    name: HeadValue(
                        value["cmos"], (value["p_a"], value["p_b"], value["p_tie"]), value["score_difference"]
                    )
                    for name, value in compared.items()
                }

    def prediction(record: Utterance | Pair) -> Values:
        if not labelled(record):
            return {}
        if isinstance(record, Utterance):
            return scores[record.audio_path]
        a, b = (scores.get(path, {}) for path in record.audio_paths)
        differences = {name: a[name] - b[name] for name in by_difference if name in a and name in b}
        return differences | comparisons.get(record.audio_paths, {})

    return [[prediction(record) for record in dataset.records] for dataset in datasets], failed
