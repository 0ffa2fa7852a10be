"""Validation: scores and comparisons of held-out clips, as users would get them, against their labels."""

import dataclasses
import logging
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import jax
import numpy as np

from urgentmos_jax.audio.loading import SAMPLE_RATE_HZ
from urgentmos_jax.data.partners import PairingScope, Partners
from urgentmos_jax.data.training_set import Source, TrainingSet, read_training_set
from urgentmos_jax.metrics import Metric
from urgentmos_jax.scoring.model import Model
from urgentmos_jax.scoring.rows import Compared, failure
from urgentmos_jax.statistics.correlation import agreement, system_means
from urgentmos_jax.statistics.preference import CLEAR, paper_accuracy, sign_accuracy
from urgentmos_jax.tables import text_table
from urgentmos_jax.training import topology

logger = logging.getLogger(__name__)

_COMPARED: tuple[Literal["cmos", "p_a", "p_b", "p_tie"], ...] = ("cmos", "p_a", "p_b", "p_tie")


@dataclasses.dataclass(frozen=True)
class ValidationSet:
    """Labelled clips, and the pairs (A, B) that are compared: given ones, or one partner a clip."""

    name: str
    data: TrainingSet
    pairs: np.ndarray
    cmos: np.ndarray


def read_validation_sets(
    sources: Sequence[Source], metrics: dict[str, Metric], *, audio_root: Path | None, scope: PairingScope, seed: int
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
        {set: {metric: values}}: the statistics of `agreement` by utterance, the same with `system_` by system, and
        for comparative metrics `pairs`, `pair_accuracy`, for labels of at least 0.5 `clear_pairs` and
        `clear_pair_accuracy`, and by the three-class head `acc_0.5` and `acc_0` as the paper has them. What
        cannot be scored is reported and left out.
    """
    return {one.name: _validate_one(model, one) for one in sets}


def _validate_one(model: Model, one: ValidationSet) -> dict[str, dict[str, float]]:
    data, found = one.data, {}
    wanted = np.flatnonzero((~np.isnan(data.labels)).any(1))
    scores, compared, failed = _predictions(model, one, wanted)
    for k, name in enumerate(data.metrics):
        true = data.labels[wanted, k]
        both = np.flatnonzero(~np.isnan(true) & ~np.isnan(scores[wanted, k]))
        if not len(both):
            continue
        predicted, true = scores[wanted[both], k].tolist(), true[both].tolist()
        found[name] = agreement(predicted, true)
        means = agreement(*system_means(predicted, true, [data.systems[i] for i in wanted[both]]))
        found[name] |= {f"system_{key}": value for key, value in means.items() if means["n"]}
    for k, name in enumerate(data.comparative):
        both = np.flatnonzero(~np.isnan(one.cmos[:, k]) & ~np.isnan(compared[:, k, 0]))
        if len(both):
            sides = compared[both, k, 0], one.cmos[both, k]
            every, clear = (sign_accuracy(*sides, minimum) for minimum in (0.0, CLEAR))
            pairs = {"pairs": every["n"], "pair_accuracy": every["accuracy"]}
            pairs |= {"clear_pairs": clear["n"], "clear_pair_accuracy": clear["accuracy"]}
            found[name] = found.get(name, {}) | pairs | paper_accuracy(*sides, compared[both, k, 1:])
    if failed:
        logger.warning("%s: %d clips could not be scored: %s", one.name, len(failed), "; ".join(failed[:5]))
    return found


def _predictions(model: Model, one: ValidationSet, wanted: np.ndarray) -> tuple[np.ndarray, np.ndarray, list[str]]:
    """Scores [N, K] of the wanted clips, `_COMPARED` [P, K, 4] of the pairs, why clips failed; NaN where there is none.

    The hosts share the pairs in blocks, and with them their clips; a clip in pairs of two blocks is encoded by both.
    """
    data, hosts_count = one.data, topology.host_count()
    blocks = np.array_split(np.arange(len(one.pairs)), hosts_count)
    mine = blocks[jax.process_index()]
    # The host that scores a clip: that of its first pair, or by turns.
    scorer = np.arange(len(data.uids)) % hosts_count
    for host, block in reversed(list(enumerate(blocks))):
        scorer[one.pairs[block].ravel()] = host
    own = wanted[scorer[wanted] == jax.process_index()]
    clips = np.unique(np.concatenate([own, one.pairs[mine].ravel()]).astype(np.int64))
    pairs = np.searchsorted(clips, one.pairs[mine])
    scores = np.full((len(data.uids), len(data.metrics)), np.nan)
    compared = np.full((len(one.pairs), len(data.comparative), len(_COMPARED)), np.nan)
    failed = []
    for result in model.assess([data.paths[i] for i in clips], pairs, uids=[data.uids[i] for i in clips]):
        if isinstance(result, Compared):
            if comparison := result.row["comparison"]:
                rows = (comparison[name] for name in data.comparative)
                compared[mine[result.index]] = [[row[key] for key in _COMPARED] for row in rows]
        elif scorer[clips[result.index]] == jax.process_index():
            if (found := result.row["scores"]) is None:
                failed.append(failure(result.row))
            else:
                scores[clips[result.index]] = [found[name] for name in data.metrics]
    messages = [message for of_host in topology.gather_json(failed) for message in of_host]
    of_pairs = _of_all_hosts(compared.reshape(len(compared), -1)).reshape(compared.shape)
    return _of_all_hosts(scores), of_pairs, messages


def _of_all_hosts(values: np.ndarray) -> np.ndarray:
    """Values [N, K], each row known to one of the hosts and NaN on the others."""
    if not values.size:
        return values
    parts = topology.gather(values)
    known = ~np.isnan(parts).all(-1)
    return np.take_along_axis(parts, known.argmax(0)[None, :, None], 0)[0]


def format_table(results: dict[str, dict[str, dict[str, Any]]]) -> str:
    """Results of `validate` as text, a line for each set and metric."""
    columns = (
        "n",
        "mse",
        "lcc",
        "srcc",
        "ktau",
        "system_lcc",
        "system_srcc",
        "pairs",
        "pair_accuracy",
        "acc_0.5",
        "acc_0",
    )
    rows = [["set", "metric", *columns]]
    for name, metrics in results.items():
        for metric, values in metrics.items():
            cells = [values.get(column, math.nan) for column in columns]
            text = ["-" if math.isnan(v) else f"{v:d}" if isinstance(v, int) else f"{v:.3f}" for v in cells]
            rows.append([name, metric, *text])
    return text_table(rows, text_columns=(0, 1))
