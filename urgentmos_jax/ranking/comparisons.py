"""What a model, or a file of predictions, says of the recordings of systems: scores, and wins of pairs."""

import math
import os
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from urgentmos_jax.audio.loading import AudioError
from urgentmos_jax.evaluation.predictions import Predictions, PredictionsError
from urgentmos_jax.files import progress
from urgentmos_jax.manifests.reading import Utterance
from urgentmos_jax.ranking.rank import higher_is_better, wins_by_score
from urgentmos_jax.ranking.systems import possible_pairs, shared_pairs

if TYPE_CHECKING:
    from urgentmos_jax.scoring.model import Encoded, Model

__all__ = ["Judgement", "judge", "judge_by_predictions"]

# Comparing two recordings by a CMOS head takes a hundredth of what encoding them does; by their scores, nothing.
MOST_BY_HEADS = 100_000
MOST_BY_SCORES = 5_000_000
_PAIRS = 64  # Compared at a time, or more.


@dataclass(frozen=True)
class Judgement:
    """Scores and comparisons.

    Attributes:
        scores: {uid: score}, of those that could be judged.
        failed: {uid: why not}, of the others.
        pairs: [P, 2] numbers of recordings that share a reference, of different systems.
        shares: [P] share of a win of the first of each, NaN where one failed.
        notes: How they were judged, a sentence each.
        predictions: {uid: {metric: value}}, all that is known of a recording.
    """

    scores: dict[str, float]
    failed: dict[str, str]
    pairs: np.ndarray
    shares: np.ndarray
    notes: tuple[str, ...]
    predictions: dict[str, dict[str, float]]


def judge(
    model: "Model",
    recordings: Sequence[Utterance],
    metric: str,
    *,
    by_scores: bool = False,
    most_pairs: int | None = None,
    seed: int = 0,
) -> Judgement:
    """Judges recordings; each is encoded once, and its features are kept while its reference is at work.

    Pairs are compared by the CMOS head of the metric, in both orders; the share of a win of A is p_a + p_tie / 2, what
    the model expects A to win if a tie is half a win. If the model has no such head, or where less is better (a CMOS of
    which has no settled sign), they are compared by their scores, see `wins_by_score`.

    Args:
        model: With the metric.
        recordings: Of systems.
        metric: Of scores and comparisons.
        by_scores: Compare scores even if there is a CMOS head.
        most_pairs: Greatest number of comparisons, drawn where there are more; None: 100,000 by CMOS heads, 5,000,000
            by scores.
        seed: Of the draw.
    """
    if by_scores or metric not in model.comparative_metrics or not higher_is_better(metric):
        inputs, uids = [one.audio_path for one in recordings], [one.uid for one in recordings]
        rows = progress(model.iter_scores(inputs, uids=uids), len(recordings), "clip")
        values = {row["uid"]: row["error"]["message"] if row["error"] else row["scores"] for row in rows}
        return _by_scores(recordings, values, metric, most_pairs, seed)
    pairs = shared_pairs(recordings, MOST_BY_HEADS if most_pairs is None else most_pairs, seed)
    values, shares = _compared(model, recordings, pairs, metric)
    scores, failed, predictions = _parted(recordings, values, metric)
    how = f"by the CMOS head of {metric} in both orders; each counts p_a + p_tie / 2 of a win"
    return Judgement(scores, failed, pairs, shares, _notes(recordings, shares, how, seed), predictions)


def judge_by_predictions(
    predictions: Predictions,
    recordings: Sequence[Utterance],
    metric: str,
    *,
    most_pairs: int | None = None,
    seed: int = 0,
) -> Judgement:
    """Judges recordings by predictions of their scores, found by uid, else by the path of the recording.

    Args:
        predictions: Of scores.
        recordings: Of systems; one without a prediction failed.
        metric: Name of the scores.
        most_pairs: Greatest number of comparisons by scores, drawn where there are more; None: 5,000,000.
        seed: Of the draw.

    Raises:
        PredictionsError: There is none at all.
    """
    values: dict[str, dict[str, float] | str] = {}
    for one in recordings:
        uid = one.uid if one.uid in predictions else predictions.uids.get((os.path.abspath(one.audio_path),))
        values[one.uid] = predictions.get(uid, {})
    if not any(metric in found for found in values.values()):
        if metric not in predictions.metrics:
            fault = f"has no {metric}, but {', '.join(predictions.metrics) or 'no values'}; choose another --metric"
        else:
            one, other = next(iter(predictions)), recordings[0].uid
            fault = f"has no {metric} of any recording; its uids are as {one!r}, those of the recordings as {other!r}"
        raise PredictionsError([f"{predictions.name}: {fault}"])
    return _by_scores(recordings, values, metric, most_pairs, seed, f"{predictions.name} has no {metric} of it")


def _by_scores(
    recordings: Sequence[Utterance],
    values: dict[str, dict[str, float] | str],
    metric: str,
    most_pairs: int | None,
    seed: int,
    without: str = "",
) -> Judgement:
    scores, failed, predictions = _parted(recordings, values, metric, without)
    pairs = shared_pairs(recordings, MOST_BY_SCORES if most_pairs is None else most_pairs, seed)
    how = "of the scores on shared references; equal scores are half a win for each"
    shares = wins_by_score(recordings, scores, pairs, metric)
    return Judgement(scores, failed, pairs, shares, _notes(recordings, shares, how, seed), predictions)


def _compared(
    model: "Model", recordings: Sequence[Utterance], pairs: np.ndarray, metric: str
) -> tuple[dict[str, dict[str, float] | str], np.ndarray]:
    """Scores, or why there are none, by uid; and shares of a win [P]."""
    values: dict[str, dict[str, float] | str] = {}
    shares = np.full(len(pairs), np.nan)
    # Recordings in the order of the pairs, which is that of the references; those that meet nobody last.
    order = list(dict.fromkeys([*pairs.ravel().tolist(), *range(len(recordings))]))
    place = np.empty(len(order), np.int64)
    place[order] = np.arange(len(order))
    complete = np.maximum.accumulate(place[pairs].max(1)) if len(pairs) else place[:0]
    uses = Counter(pairs.ravel().tolist())
    held: dict[int, Encoded | AudioError] = {}
    done = 0

    def compare(until: int) -> None:
        rows = model.compare_encoded(
            [[held[side] for side in pair] for pair in pairs[done:until].tolist()], metrics=[metric]
        )
        for number, row in enumerate(rows, done):
            if row["error"] is None:
                shares[number] = row["comparison"][metric]["p_a"] + row["comparison"][metric]["p_tie"] / 2
        for side in pairs[done:until].ravel().tolist():
            uses[side] -= 1
            if not uses[side]:
                held.pop(side, None)

    encoded = progress(model.iter_encoded([recordings[number].audio_path for number in order]), len(order), "clip")
    for here, (number, recording) in enumerate(zip(order, encoded, strict=True)):
        failed = isinstance(recording, AudioError)
        values[recordings[number].uid] = recording.message if failed else recording.scores
        if uses[number]:
            held[number] = recording
        ready = int(np.searchsorted(complete, here, side="right"))
        if ready - done >= _PAIRS:
            compare(ready)
            done = ready
    compare(len(pairs))
    return values, shares


def _parted(
    recordings: Sequence[Utterance], values: dict[str, dict[str, float] | str], metric: str, without: str = ""
) -> tuple[dict[str, float], dict[str, str], dict[str, dict[str, float]]]:
    """Scores, why there is none, and all values; what is not finite is none."""
    scores, failed, predictions = {}, {}, {}
    for one in recordings:
        found = values[one.uid]
        if isinstance(found, str):
            failed[one.uid] = found
            continue
        predictions[one.uid] = {name: value for name, value in found.items() if math.isfinite(value)}
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
        text += f", drawn of {possible:,} (seed {seed}; --most-pairs takes more),"
    return (f"{text} {how}.",)
