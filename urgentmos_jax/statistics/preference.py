"""Agreement of predicted and true comparisons: which of two recordings is better, or neither.

Tie rules. `sign_acc@0` leaves out labels of exactly 0; `sign_acc@0.5` those nearer to 0 than 0.5, so that a label of
exactly 0.5 counts. In both a prediction of exactly 0 is wrong. `tie3_acc@0.5` takes all pairs and three classes, for
label and prediction alike: A better above +0.5, B better below -0.5, else a tie, exactly 0.5 included (the rule of the
losses). A label of exactly 0.5 is thus a clear one to `sign_acc@0.5`, which asks for the side, and a tie to
`tie3_acc@0.5`.

`acc_0.5` and `acc_0` are those of the paper (Tables 4 and 9), by the three-class head: `acc_0.5` over all pairs, the
classes of labels as above and that of the head the most probable of A, B and tie, where equal probabilities are a tie;
`acc_0` over pairs of unequal labels, by the larger of p_a and p_b, where equal ones are wrong. Without a head they are
`tie3_acc@0.5` and `sign_acc@0`. Labels of sets of preferences are 1, 0 and -1, to which the same rules apply.
"""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from urgentmos_jax.statistics.bootstrap import RESAMPLES, Estimates, cluster_numbers, estimates, resampled_counts
from urgentmos_jax.statistics.correlation import Numbers, faults_of_sides
from urgentmos_jax.statistics.ranks import resampled_spearman, spearman, spearman_influence

# Labels nearer than this are ties to listeners.
CLEAR = 0.5
PAIR_STATISTICS = ("acc_0.5", "acc_0", "sign_acc@0", "sign_acc@0.5", "tie3_acc@0.5", "pair_srcc")


def sign_accuracy(predicted: Numbers, true: Numbers, threshold: float = 0.0) -> dict[str, float]:
    """Part of the pairs whose better recording is found.

    Args:
        predicted, true: [P] CMOS or differences of scores, positive = A better, and labels.
        threshold: Pairs count where the label is not 0 and |label| is at least this: listeners disagree on the rest.

    Returns:
        `n` and `accuracy` (NaN without such a pair). A predicted difference of exactly 0 is wrong.
    """
    counted, right = _signs(np.asarray(predicted, np.float64), np.asarray(true, np.float64), threshold)
    n = int(counted.sum())
    return {"n": n, "accuracy": float(right.sum() / n) if n else math.nan}


def paper_accuracy(predicted: Numbers, true: Numbers, probabilities: Any = None) -> dict[str, float]:
    """`acc_0.5` and `acc_0` (NaN without a pair) as the paper has them; arguments as `preference_with_intervals`."""
    parts = _by_head(np.asarray(predicted, np.float64), np.asarray(true, np.float64), probabilities)
    return {name: float(_quotient(right.sum(), counted.sum())) for name, (counted, right) in parts.items()}


def preference_with_intervals(
    predicted: Numbers,
    true: Numbers,
    references: Sequence[tuple[str | None, str | None]] | None = None,
    *,
    probabilities: Any = None,
    resamples: int = RESAMPLES,
    seed: int | Sequence[int] = 0,
) -> Estimates:
    """Accuracies by the rules above and Spearman's correlation over pairs, with percentile bootstrap intervals.

    References are resampled. A pair within one reference counts as often as it is sampled, a pair across two as often
    as both are (the product of their counts; Owen 2007), a pair without references as often as it is sampled itself.
    Two references that only meet each other are one cluster. The product counts what is a pair's own three times, so
    resampled values are moved nearer to the statistic by what its variance over pairs of shared references says
    (Aronow et al. 2015). Where every pair is right the interval has no width, which says that mistakes are few, not
    that there are none.

    Args:
        predicted, true: As `sign_accuracy`.
        references: [P] those of A and B. None: no pair has any.
        probabilities: [P, 3] that A is better, B is, of a tie; NaN, or None for all, where there is no head.
        resamples, seed: R, and of the resamples.

    Returns:
        Of `PAIR_STATISTICS`. Warnings: `no_clear_pairs` (no label of at least 0.5), and as
        `correlation.agreement_with_intervals`.
    """
    x, y = np.asarray(predicted, np.float64), np.asarray(true, np.float64)
    if x.shape != y.shape or x.ndim != 1:
        raise ValueError(f"predicted has shape {x.shape}, true {y.shape}; expected two lists of one length")
    a, b = _clusters([(None, None)] * len(x) if references is None else references)
    clusters = int(max(a.max(), b.max())) + 1 if len(x) else 0
    of_statistic = _by_head(x, y, probabilities) | {
        "sign_acc@0": _signs(x, y, 0.0),
        "sign_acc@0.5": _signs(x, y, CLEAR),
        "tie3_acc@0.5": (np.ones(len(x), bool), _class(x) == _class(y)),
    }
    counts = {name: int(counted.sum()) for name, (counted, _) in of_statistic.items()}
    values = {name: float(_quotient(right.sum(), counts[name])) for name, (_, right) in of_statistic.items()}
    faults = faults_of_sides(x, y)
    values["pair_srcc"] = math.nan if faults else spearman(x, y)
    warnings = faults + ["one_cluster"] * (clusters == 1) + ["no_clear_pairs"] * (not counts["sign_acc@0.5"])
    if clusters < 2:
        return estimates(len(x), clusters, values, {}, counts=counts, warnings=warnings)
    influence = {
        name: (right - values[name] * counted) / max(1, counts[name]) for name, (counted, right) in of_statistic.items()
    }
    if not faults:
        influence["pair_srcc"] = spearman_influence(x, y)
        ranked = resampled_spearman(x, y, np.arange(len(x)))
    columns = np.stack([part for pair in of_statistic.values() for part in pair], axis=1).astype(np.float64)
    resampled: dict[str, Any] = {name: [] for name, value in values.items() if not math.isnan(value)}
    for sampled in resampled_counts(clusters, resamples=resamples, seed=seed, width=len(x)):
        weights = sampled[:, a] * np.where(a == b, 1.0, sampled[:, b])
        sums = dict(zip(of_statistic, np.split(weights @ columns, len(of_statistic), axis=1), strict=True))
        for name, parts in resampled.items():
            parts.append(ranked(weights) if name == "pair_srcc" else _quotient(*sums[name].T[::-1]))
    for name, parts in resampled.items():
        joined = np.concatenate(parts)
        resampled[name] = values[name] + _shrinkage(influence[name], a, b) * (joined - values[name])
    return estimates(len(x), clusters, values, resampled, counts=counts, warnings=warnings)


def _signs(predicted: np.ndarray, true: np.ndarray, threshold: float) -> tuple[np.ndarray, np.ndarray]:
    """[P] whether a pair counts, and whether it counts and is right."""
    counted = (np.abs(true) >= threshold) & (true != 0)
    return counted, counted & (np.sign(predicted) == np.sign(true))


def _by_head(x: np.ndarray, y: np.ndarray, probabilities: Any) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """{statistic: which pairs count, and which of those are right} of the paper's accuracies."""
    p = np.full((len(x), 3), np.nan) if probabilities is None else np.asarray(probabilities, np.float64)
    if p.shape != (len(x), 3):
        raise ValueError(f"probabilities has shape {p.shape}; expected ({len(x)}, 3)")
    has_head = ~np.isnan(p).any(1)
    side = np.where(has_head, np.sign(p[:, 0] - p[:, 1]), np.sign(x))
    predicted = np.where(has_head, np.where(np.maximum(p[:, 0], p[:, 1]) > p[:, 2], side, 0.0), _class(x))
    every, unequal = np.ones(len(x), bool), y != 0
    return {"acc_0.5": (every, predicted == _class(y)), "acc_0": (unequal, unequal & (side == np.sign(y)))}


def _class(values: np.ndarray) -> np.ndarray:
    """[P] 1: A is better, -1: B is, 0: a tie."""
    return np.where(np.abs(values) > CLEAR, np.sign(values), 0.0)


def _quotient(part: np.ndarray, whole: np.ndarray | int) -> np.ndarray:
    """NaN where the whole is 0."""
    return np.divide(part, whole, out=np.full(np.shape(part), np.nan), where=np.asarray(whole) > 0)


def _shrinkage(influence: np.ndarray, a: np.ndarray, b: np.ndarray) -> float:
    """Factor from the spread of resamples weighted by products to that of pairs which share references.

    With s the sum over references of the squared sum of its pairs' influences, and g that over pairs of references,
    products have the variance s + g (s holds each g twice); pairs that share references have s - g.
    """
    across = a != b
    if not across.any():
        return 1.0
    clusters = int(max(a.max(), b.max())) + 1
    sums = np.bincount(a, influence, clusters) + np.bincount(b[across], influence[across], clusters)
    _, dyad = np.unique(np.sort(np.stack([a, b], 1)[across], axis=1), axis=0, return_inverse=True)
    s, g = float(np.sum(sums**2)), float(np.sum(np.bincount(dyad.ravel(), influence[across]) ** 2))
    # No less than independent pairs of references would have.
    return math.sqrt(max(s - g, g) / (s + g)) if s + g > 0 else 1.0


def _clusters(references: Sequence[tuple[str | None, str | None]]) -> tuple[np.ndarray, np.ndarray]:
    """[P] and [P] numbers of the clusters of A and B; the same where one cluster decides about the pair."""
    partners: dict[str, set[str]] = {}
    for one, other in references:
        if one is not None and other is not None and one != other:
            partners.setdefault(one, set()).add(other)
            partners.setdefault(other, set()).add(one)
    names = [cluster for sides in references for cluster in _names(*sides, partners)]
    numbers = cluster_numbers(names).reshape(-1, 2)
    alone = [names[2 * index] is None for index in range(len(references))]
    a, b = numbers.T
    b = np.where(alone, a, b)
    a, b = np.unique(np.stack([a, b]), return_inverse=True)[1].reshape(2, -1)
    return a, b


def _names(one: str | None, other: str | None, partners: Mapping[str, set[str]]) -> tuple[str | None, str | None]:
    """Clusters of the two sides, or none; the same where one is missing, or where they only meet each other."""
    if one is None or other is None:
        known = other if one is None else one
        return known, known
    if one != other and partners[one] == {other} and partners[other] == {one}:
        return min(one, other), min(one, other)
    return one, other
