"""Comparisons of recordings on shared references, by a model or by predictions in a file: scores, and wins of pairs."""

import math
import os
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from urgentmos_jax.evaluation.predictions import Predictions, PredictionsError
from urgentmos_jax.files import progress
from urgentmos_jax.manifests.records import Utterance
from urgentmos_jax.ranking.ranking import higher_is_better, wins_by_score
from urgentmos_jax.ranking.systems import possible_pairs, shared_pairs
from urgentmos_jax.scoring.rows import Scored, failure

if TYPE_CHECKING:
    from urgentmos_jax.scoring.model import Model

# Comparing two recordings by a CMOS head takes a hundredth of what encoding them does; by their scores, nothing.
MAX_PAIRS_BY_HEAD = 100_000
MAX_PAIRS_BY_SCORE = 5_000_000


@dataclass(frozen=True)
class Comparisons:
    """Scores of recordings, and comparisons of those of different systems on a shared reference.

    Attributes:
        scores, failed: {uid: score} of those that have one, and {uid: why not} of the others.
        pairs: [P, 2] indices of recordings that share a reference, of different systems.
        shares: [P] share of a win of the first of each, NaN where a recording failed.
        notes: How they were compared, a sentence each.
        predictions: {uid: {metric: value}}, all that is known of a recording.
    """

    scores: dict[str, float]
    failed: dict[str, str]
    pairs: np.ndarray
    shares: np.ndarray
    notes: tuple[str, ...]
    predictions: dict[str, dict[str, float]]


def compare_by_model(
    model: "Model",
    recordings: Sequence[Utterance],
    metric: str,
    *,
    by_scores: bool = False,
    max_pairs: int | None = None,
    seed: int = 0,
) -> Comparisons:
    """Scores recordings and compares those that share a reference; each is encoded once.

    Pairs are compared by the CMOS head of the metric, in both orders; the share of a win of A is p_a + p_tie / 2, what
    the model expects A to win if a tie is half a win. If the model has no such head, or where less is better (a CMOS of
    which has no settled sign), they are compared by their scores, see `wins_by_score`.

    Args:
        model: With the metric.
        recordings: Of systems.
        metric: Of scores and comparisons.
        by_scores: Compare scores even if there is a CMOS head.
        max_pairs: Greatest number of comparisons, sampled with the seed where there are more; None: 100,000 by CMOS
            heads, 5,000,000 by scores.
    """
    by_scores = by_scores or metric not in model.comparative_metrics or not higher_is_better(metric)
    pairs = np.empty((0, 2), np.int64)
    if not by_scores:
        pairs = shared_pairs(recordings, MAX_PAIRS_BY_HEAD if max_pairs is None else max_pairs, seed)
    values: dict[str, dict[str, float] | str] = {}
    shares = np.full(len(pairs), np.nan)
    with progress(None, len(recordings), "clip") as bar:
        for result in model.assess(
            [one.audio_path for one in recordings], pairs, comparative_metrics=None if by_scores else [metric]
        ):
            if isinstance(result, Scored):
                found = result.row["scores"]
                values[recordings[result.index].uid] = failure(result.row) if found is None else found
                bar.update()
            elif result.row["comparison"] is not None:
                comparison = result.row["comparison"][metric]
                shares[result.index] = comparison["p_a"] + comparison["p_tie"] / 2
    if by_scores:
        return _by_scores(recordings, values, metric, max_pairs, seed)
    scores, failed, predictions = _separated(recordings, values, metric)
    how = f"by the CMOS head of {metric} in both orders; each counts p_a + p_tie / 2 of a win"
    return Comparisons(scores, failed, pairs, shares, _notes(recordings, shares, how, seed), predictions)


def compare_by_predictions(
    predictions: Predictions,
    recordings: Sequence[Utterance],
    metric: str,
    *,
    max_pairs: int | None = None,
    seed: int = 0,
) -> Comparisons:
    """`compare_by_model` by predictions of scores, found by uid, else by path; a recording without one failed.

    Raises:
        PredictionsError: There is none at all.
    """
    values: dict[str, dict[str, float] | str] = {}
    for one in recordings:
        known = predictions.uids.get((os.path.abspath(one.audio_path),), "")
        uid = one.uid if one.uid in predictions else known
        values[one.uid] = predictions.get(uid, {})
    if not any(metric in found for found in values.values()):
        if metric not in predictions.metrics:
            fault = f"has no {metric}, but {', '.join(predictions.metrics) or 'no values'}; choose another --metric"
        else:
            uids = f"its uids are as {next(iter(predictions))!r}, those of the recordings as {recordings[0].uid!r}"
            fault = f"has no {metric} of any recording; {uids}"
        raise PredictionsError([f"{predictions.name}: {fault}"])
    return _by_scores(recordings, values, metric, max_pairs, seed, f"{predictions.name} has no {metric} of it")


def _by_scores(
    recordings: Sequence[Utterance],
    values: dict[str, dict[str, float] | str],
    metric: str,
    max_pairs: int | None,
    seed: int,
    without: str = "",
) -> Comparisons:
    scores, failed, predictions = _separated(recordings, values, metric, without)
    pairs = shared_pairs(recordings, MAX_PAIRS_BY_SCORE if max_pairs is None else max_pairs, seed)
    how = "of the scores on shared references; equal scores are half a win for each"
    shares = wins_by_score(recordings, scores, pairs, metric)
    return Comparisons(scores, failed, pairs, shares, _notes(recordings, shares, how, seed), predictions)


def _separated(
    recordings: Sequence[Utterance], values: dict[str, dict[str, float] | str], metric: str, without: str = ""
) -> tuple[dict[str, float], dict[str, str], dict[str, dict[str, float]]]:
    """Scores, why there is none, and all values; what is not finite is none."""
    scores, failed, predictions = {}, {}, {}
    for one in recordings:
        found = values[one.uid]
        if isinstance(found, str):
            failed[one.uid] = found
            continue
        finite = found
        if not all(map(math.isfinite, found.values())):
            finite = {name: value for name, value in found.items() if math.isfinite(value)}
        predictions[one.uid] = finite
        if metric in predictions[one.uid]:
            scores[one.uid] = found[metric]
        else:
            failed[one.uid] = f"{one.audio_path}: the model says {found[metric]}" if metric in found else without
    return scores, failed, predictions


def _notes(recordings: Sequence[Utterance], shares: np.ndarray, how: str, seed: int) -> tuple[str, ...]:
    possible, failed = possible_pairs(recordings), int(np.isnan(shares).sum())
    if not possible:
        return ()
    text = f"{len(shares) - failed:,} comparisons"
    if failed:
        text += f" ({failed:,} more failed)"
    if len(shares) < possible:
        text += f", sampled from {possible:,} (seed {seed}; --most-pairs takes more),"
    return (f"{text} {how}.",)
