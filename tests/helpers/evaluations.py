"""Records with labels, predictions of them, and their files."""

import json
from collections.abc import Mapping, Sequence
from itertools import pairwise
from pathlib import Path

import numpy as np

from urgentmos_jax.evaluation.datasets import Dataset
from urgentmos_jax.evaluation.evaluating import evaluate
from urgentmos_jax.evaluation.predictions import Predictions, Values, join
from urgentmos_jax.evaluation.results import Evaluation
from urgentmos_jax.manifests.records import Pair, Utterance
from urgentmos_jax.manifests.writing import write_pairs, write_utterances

Records = Sequence[Utterance] | Sequence[Pair]


def evaluate_records(
    records: Records | Mapping[str, Records], predictions: Mapping[str, Values] | Sequence[Predictions], **options
) -> Evaluation:
    """`evaluate` of utterances or pairs, or of {dataset: records}, with predictions by uid; several have names."""
    named = records if isinstance(records, Mapping) else {"all": records}
    datasets = [Dataset(name, bool(one) and isinstance(one[0], Pair), one) for name, one in named.items()]
    if isinstance(predictions, Mapping):
        predictions = [predictions if isinstance(predictions, Predictions) else Predictions(predictions)]
    return evaluate(datasets, {one.name: join(datasets, one) for one in predictions}, **options)


def utterances(count: int, corpus: str = "c", systems: int = 4) -> list[Utterance]:
    rng = np.random.default_rng(count)
    labels = [{"mos_overall": float(value)} for value in rng.integers(4, 21, count) / 4]
    return [
        Utterance(f"{corpus}{index:03}", f"{index}.wav", 1.0, f"s{index % systems}", f"r{index // 5}", label)
        for index, label in enumerate(labels)
    ]


def predicted_scores(records: list[Utterance], spread: float, seed: int = 0) -> dict[str, dict[str, float]]:
    rng = np.random.default_rng(seed)
    return {one.uid: {"mos_overall": round(one.metrics["mos_overall"] + spread * rng.normal(), 3)} for one in records}


def write_predictions(path: Path, predicted: dict[str, dict[str, float]]) -> Path:
    rows = ({"uid": uid, "path": f"{uid}.wav", "scores": values or None} for uid, values in predicted.items())
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def write_dataset(folder: Path, records: list[Utterance] | list[Pair]) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    pairs = isinstance(records[0], Pair)
    path = folder / ("data_pairs.jsonl" if pairs else "data.jsonl")
    (write_pairs if pairs else write_utterances)(path, records)
    return path


def pairs_of(records: list[Utterance]) -> list[Pair]:
    return [
        Pair(
            (a.uid, b.uid),
            (a.audio_path, b.audio_path),
            (1.0, 1.0),
            {"mos_overall": a.metrics["mos_overall"] - b.metrics["mos_overall"]},
            {"reference_ids": [a.reference_id, b.reference_id]},
        )
        for a, b in pairwise(records)
    ]
