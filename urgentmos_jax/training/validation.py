"""Validation: scores and comparisons of held-out clips, as users would get them, against their labels."""

import dataclasses
import logging
import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import jax
import numpy as np

from urgentmos_jax.audio.loading import SAMPLE_RATE_HZ
from urgentmos_jax.data.partners import PairingScope, Partners
from urgentmos_jax.data.training_set import Source, TrainingSet, read_training_set
from urgentmos_jax.metrics import Metric
from urgentmos_jax.scoring.model import Model
from urgentmos_jax.statistics.correlation import agreement, system_means
from urgentmos_jax.statistics.preference import CLEAR, sign_accuracy
from urgentmos_jax.training import topology as hosts

__all__ = ["ValidationSet", "format_table", "read_validation_sets", "validate"]

logger = logging.getLogger(__name__)


@dataclasses.dataclass(frozen=True)
class ValidationSet:
    """Labelled clips, and the pairs (A, B) that are compared: given ones, or one partner a clip."""

    name: str
    data: TrainingSet
    pairs: np.ndarray
    cmos: np.ndarray


def read_validation_sets(
    sources: Sequence[Source],
    metrics: dict[str, Metric],
    *,
    audio_root: Path | None,
    scope: PairingScope,
    seed: int,
) -> list[ValidationSet]:
    """Reads the sets and draws their pairs, the same ones in each validation."""
    sets = []
    for source in sources:
        data = read_training_set([source], metrics, audio_root=audio_root, every_metric=False)
        labels = data.labels[:, [data.metrics.index(name) for name in data.comparative]]
        eligible = data.alone & (~np.isnan(labels)).any(1)
        lengths = np.rint(data.seconds * SAMPLE_RATE_HZ).astype(np.int64)
        partners = Partners(scope, lengths, data.corpora, data.references, data.keys, eligible).draw(seed, 0)
        a = np.flatnonzero(partners >= 0)
        pairs = np.concatenate([data.pairs, np.stack([a, partners[a]], 1)])
        cmos = np.concatenate([data.cmos, labels[a] - labels[partners[a]]])
        sets.append(ValidationSet(source.name, data, pairs, cmos))
    return sets


def validate(model: Model, sets: Sequence[ValidationSet]) -> dict[str, dict[str, dict[str, float]]]:
    """Agreement of a model with the labels. Several hosts share the clips and pairs, and all get the whole result.

    Returns:
        {set: {metric: values}}: the figures of `agreement` by utterance, the same with `system_` by system, and
        for comparative metrics `pairs`, `pair_accuracy` and, for labels of at least 0.5, `clear_pairs` and
        `clear_pair_accuracy`. Clips that cannot be scored are reported and left out.
    """
    return {one.name: _validate_one(model, one) for one in sets}


def _validate_one(model: Model, one: ValidationSet) -> dict[str, dict[str, float]]:
    data, found = one.data, {}
    wanted = np.flatnonzero((~np.isnan(data.labels)).any(1))
    scores, failed = _predicted(
        lambda own: model.score([data.paths[i] for i in wanted[own]], uids=[data.uids[i] for i in wanted[own]]),
        lambda row: [row["scores"][name] for name in data.metrics],
        len(wanted),
        len(data.metrics),
    )
    for k, name in enumerate(data.metrics):
        true = data.labels[wanted, k]
        both = np.flatnonzero(~np.isnan(true) & ~np.isnan(scores[:, k]))
        if not len(both):
            continue
        predicted, true = scores[both, k].tolist(), true[both].tolist()
        found[name] = agreement(predicted, true)
        means = agreement(*system_means(predicted, true, [data.systems[i] for i in wanted[both]]))
        found[name] |= {f"system_{key}": value for key, value in means.items() if means["n"]}
    if len(one.pairs):
        cmos, _ = _predicted(
            lambda own: model.compare([(data.paths[a], data.paths[b]) for a, b in one.pairs[own]]),
            lambda row: [row["comparison"][name]["cmos"] for name in data.comparative],
            len(one.pairs),
            len(data.comparative),
        )
        for k, name in enumerate(data.comparative):
            both = np.flatnonzero(~np.isnan(one.cmos[:, k]) & ~np.isnan(cmos[:, k]))
            if len(both):
                sides = cmos[both, k].tolist(), one.cmos[both, k].tolist()
                every, clear = (sign_accuracy(*sides, least) for least in (0.0, CLEAR))
                pairs = {"pairs": every["n"], "pair_accuracy": every["accuracy"]}
                pairs |= {"clear_pairs": clear["n"], "clear_pair_accuracy": clear["accuracy"]}
                found[name] = found.get(name, {}) | pairs
    if failed:
        logger.warning("%s: %d clips could not be scored: %s", one.name, len(failed), "; ".join(failed[:5]))
    return found


def _predicted(
    compute: Callable[[np.ndarray], list[dict[str, Any]]],
    values: Callable[[dict[str, Any]], list[float]],
    count: int,
    width: int,
) -> tuple[np.ndarray, list[str]]:
    """Predictions [count, width] of rows that the hosts share, each computed once; NaN and a message if one failed."""
    own = np.arange(jax.process_index(), count, hosts.count())
    found, failed = np.full((count, width), np.nan), []
    for place, row in zip(own, compute(own), strict=True):
        if row["error"] is None:
            found[place] = values(row)
        else:
            failed.append(row["error"]["message"])
    every, messages = hosts.gather(found), hosts.gather_json(failed)
    rows = np.arange(count)
    return every[rows % hosts.count(), rows], [message for of_host in messages for message in of_host]


def format_table(results: dict[str, dict[str, dict[str, Any]]]) -> str:
    """Results of `validate` as text, a line for each set and metric."""
    columns = ("n", "mse", "lcc", "srcc", "ktau", "system_lcc", "system_srcc", "pairs", "pair_accuracy")
    lines = [f"{'set':<24} {'metric':<16}" + "".join(f"{name:>14}" for name in columns)]
    for name, metrics in results.items():
        for metric, values in metrics.items():
            cells = [values.get(column, math.nan) for column in columns]
            text = ["-" if math.isnan(v) else f"{v:d}" if isinstance(v, int) else f"{v:.3f}" for v in cells]
            lines.append(f"{name:<24} {metric:<16}" + "".join(f"{cell:>14}" for cell in text))
    return "\n".join(lines)
