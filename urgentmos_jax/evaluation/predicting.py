"""A model's predictions of the records of datasets."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from urgentmos_jax.evaluation.datasets import Dataset
from urgentmos_jax.evaluation.predictions import Values
from urgentmos_jax.files import progress
from urgentmos_jax.manifests.reading import Pair

if TYPE_CHECKING:
    from urgentmos_jax.scoring.model import Model

__all__ = ["predict"]


def predict(
    model: "Model", corpora: Sequence[Dataset], metrics: Sequence[str]
) -> tuple[list[list[Values]], dict[str, str]]:
    """What a model says of each record that has a label of one of the metrics.

    Pairs are compared by the CMOS heads that the model has, and else by the difference of scores, A less B. A recording
    is scored once.

    Returns:
        As `join`; and {uid: why it failed}.
    """
    failed: dict[str, str] = {}
    heads = [name for name in metrics if name in model.comparative_metrics]
    own = [name for name in metrics if name in model.metrics]
    by_difference = [name for name in own if name not in heads]
    labelled = [[any(name in record.metrics for name in own) for record in corpus.records] for corpus in corpora]
    wanted = [
        (corpus, record)
        for corpus, known in zip(corpora, labelled, strict=True)
        for record, has_label in zip(corpus.records, known, strict=True)
        if has_label
    ]
    scored = {record.audio_path: record.uid for corpus, record in wanted if not corpus.pairs}
    if by_difference:
        for corpus, record in wanted:
            if corpus.pairs:
                scored |= dict(zip(record.audio_paths, record.uids, strict=True))
    scores: dict[str, Values] = {}
    rows = model.iter_scores(list(scored), uids=scored.values(), metrics=own) if scored else iter(())
    for path, row in zip(scored, progress(rows, len(scored), "clip"), strict=True):
        scores[path] = row["scores"] or {}
        if row["error"]:
            failed[row["uid"]] = row["error"]["message"]
    compared = list(dict.fromkeys(record.audio_paths for corpus, record in wanted if corpus.pairs) if heads else ())
    comparisons: dict[tuple[str, str], Values] = {}
    rows = model.iter_comparisons(compared, metrics=heads) if compared else iter(())
    for paths, row in zip(compared, progress(rows, len(compared), "pair"), strict=True):
        comparisons[paths] = {name: value["cmos"] for name, value in (row["comparison"] or {}).items()}
        if row["error"]:
            failed[row["uid"]] = row["error"]["message"]

    def of_pair(record: Pair) -> Values:
        a, b = (scores.get(path, {}) for path in record.audio_paths)
        differences = {name: a[name] - b[name] for name in by_difference if name in a and name in b}
        return differences | comparisons.get(record.audio_paths, {})

    found = [
        [
            {} if not has_label else of_pair(record) if corpus.pairs else scores[record.audio_path]
            for record, has_label in zip(corpus.records, known, strict=True)
        ]
        for corpus, known in zip(corpora, labelled, strict=True)
    ]
    return found, failed
