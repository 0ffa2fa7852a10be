"""Fits a calibration to labelled pairs, and tells by nested cross-validation how well it does on others."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from scipy import optimize, sparse
from scipy.sparse import csgraph

from urgentmos_jax.statistics.calibration import Calibration, class_probabilities, lengths
from urgentmos_jax.statistics.preference import CLEAR

# Numbers of segments of the map that cross-validation chooses between; with 0 scores stay as they are.
SEGMENTS = (0, 1, 2, 3, 5)
FOLDS = 5
# Of groups that all meet each other: a pair is tested where both of its sides are in one fold.
_FOLDS_ACROSS = 3
_MIN_GROUPS = 3
# Of the map: no two scores become one.
_MIN_SLOPE = 0.05
# Of a segment, as part of the range of scores.
_MIN_WIDTH = 0.02
# Of the logits of classes, by a unit of CMOS: pairs that they separate would have no bound.
_MAX_STEEPNESS, _MAX_LOGIT = 20.0, 20.0


@dataclass(frozen=True)
class LabelledPairs:
    """P pairs to calibrate by.

    Attributes:
        scores: [P, 2] of A and B.
        labels: [P], positive = A better.
        head: [P] CMOS of a head; None without one.
        ties: [P] `calibration.tie_logit` of the head; 0 without one.
        groups: [P, 2] numbers of the groups of A and B, see `group`.
    """

    scores: np.ndarray
    labels: np.ndarray
    head: np.ndarray | None
    ties: np.ndarray
    groups: np.ndarray

    def part(self, indices: np.ndarray) -> "LabelledPairs":
        """Some of them."""
        head = None if self.head is None else self.head[indices]
        return LabelledPairs(self.scores[indices], self.labels[indices], head, self.ties[indices], self.groups[indices])


def group(references: np.ndarray, recordings: np.ndarray) -> np.ndarray:
    """Groups that folds keep together, so that what is tested was not met.

    References (or recordings, where none is known) that meet each other in a pair are one group. Where they then are
    fewer than three groups, each reference is one, and where there are fewer of them, each recording.

    Args:
        references, recordings: [P, 2] names of those of A and B.

    Returns:
        [P, 2] numbers.
    """
    for names, joined in ((references, True), (references, False), (recordings, True), (recordings, False)):
        known, numbers = np.unique(names, return_inverse=True)
        numbers = numbers.reshape(names.shape)
        if joined:
            edges = sparse.coo_matrix((np.ones(len(numbers)), tuple(numbers.T)), shape=(len(known), len(known)))
            numbers = csgraph.connected_components(edges, directed=False)[1][numbers]
        if len(np.unique(numbers)) >= _MIN_GROUPS:
            break
    return numbers


def fit(pairs: LabelledPairs, segments: int) -> Calibration:
    """Fits map and weights by least squares, the classes by maximum likelihood.

    Differences say nothing of the level: the mean of the scores stays as it is.

    Args:
        pairs: To fit to.
        segments: Of the map, at most; its knots are quantiles of the scores. 0: scores stay as they are.

    Raises:
        ValueError: All scores are equal, or neither the head nor the difference of scores agrees with the labels.
    """
    knots, slopes = _fit_map(pairs, segments)
    difference = _difference(pairs, knots, slopes)
    weights = [0.0, 1.0]
    if pairs.head is not None:
        weights = _least_squares(np.stack([pairs.head, difference], 1), pairs.labels, 0.0).tolist()
    cmos = weights[1] * difference + (0 if pairs.head is None else weights[0] * pairs.head)
    if not (cmos * pairs.labels).sum() > 0:
        raise ValueError("neither the head nor the difference of scores agrees with the labels; is A better above 0?")
    reached = lengths(pairs.scores, knots)
    level = pairs.scores.mean() - (reached * slopes).sum(-1).mean()
    mapped = level + np.concatenate([[0.0], np.cumsum(slopes * np.diff(knots))])
    steepness, tie, tie_head = _fit_classes(cmos, pairs)
    return Calibration(
        scores=tuple(knots.tolist()),
        mapped=tuple(mapped.tolist()),
        head=weights[0],
        difference=weights[1],
        steepness=steepness,
        tie=tie,
        tie_head=tie_head,
        pairs=len(pairs.labels),
        groups=len(np.unique(pairs.groups)),
    )


def choose_segments(pairs: LabelledPairs, *, seed: int) -> int:
    """The number of `SEGMENTS` with the least squared error of differences of mapped scores in cross-validation."""
    parts = [(pairs.part(train), pairs.part(test)) for train, test in split(pairs.groups, seed=seed)]

    def error(segments: int) -> float:
        return sum(_squared_error(*part, segments) for part in parts)

    return min(SEGMENTS, key=error)


def cross_validate(pairs: LabelledPairs, *, seed: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Nested cross-validation: the fit that predicts a pair, its number of segments included, has not met its groups.

    Args:
        pairs: To fit to and to test.
        seed: Of the folds.

    Returns:
        [P] CMOS, [P, 3] probabilities, [P] difference of mapped scores; NaN where a pair was not tested, see `split`.
    """
    found = np.full((len(pairs.labels), 5), np.nan)
    for train, test in split(pairs.groups, seed=seed):
        known = pairs.part(train)
        cmos, probabilities, difference = _predict(known, pairs.part(test), choose_segments(known, seed=seed + 1))
        found[test] = np.column_stack([cmos, probabilities, difference])
    return found[:, 0], found[:, 1:4], found[:, 4]


def split(groups: np.ndarray, *, seed: int) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Indices to fit to and to test of each fold: folds of whole groups, with about as many pairs in each.

    A pair of two groups is tested where both are in one fold, and fitted to where neither is tested.

    Args:
        groups: [P, 2].
        seed: Of the order in which groups of one size go to folds.
    """
    names, numbers, sizes = np.unique(groups, return_inverse=True, return_counts=True)
    folds = min(len(names), FOLDS if (groups[:, 0] == groups[:, 1]).all() else _FOLDS_ACROSS)
    fold, load = np.zeros(len(names), int), np.zeros(folds)
    shuffled = np.random.default_rng(seed).permutation(len(names))
    for one in shuffled[np.argsort(-sizes[shuffled], kind="stable")]:
        fold[one] = load.argmin()
        load[fold[one]] += sizes[one]
    sides = fold[numbers.reshape(groups.shape)]
    for number in range(folds):
        train, test = (np.flatnonzero(part.all(1)) for part in (sides != number, sides == number))
        if len(train) and len(test):
            yield train, test


def _predict(train: LabelledPairs, test: LabelledPairs, segments: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """CMOS, probabilities and difference of mapped scores of pairs; where nothing can be fitted, all are ties."""
    try:
        found = fit(train, segments)
    except ValueError:
        nothing = np.zeros(len(test.labels))
        return nothing, np.full((len(nothing), 3), 1 / 3), nothing
    a, b = found.score(test.scores).T
    cmos = found.compare(0.0 if test.head is None else test.head, a - b)
    classes = found.steepness, found.tie, found.tie_head
    return cmos, class_probabilities(cmos, test.ties, classes), a - b


def _squared_error(train: LabelledPairs, test: LabelledPairs, segments: int) -> float:
    """Of differences of scores by the map of other pairs, the sum over pairs."""
    try:
        difference = _difference(test, *_fit_map(train, segments))
    except ValueError:
        difference = np.zeros(len(test.labels))
    return float(np.square(difference - test.labels).sum())


def _fit_map(pairs: LabelledPairs, segments: int) -> tuple[np.ndarray, np.ndarray]:
    """Knots [S + 1], and slopes [S] between them."""
    knots = _knots(pairs.scores, max(1, segments))
    if not segments:
        return knots, np.ones(1)
    reached = lengths(pairs.scores, knots)
    return knots, _least_squares(reached[:, 0] - reached[:, 1], pairs.labels, _MIN_SLOPE)


def _difference(pairs: LabelledPairs, knots: np.ndarray, slopes: np.ndarray) -> np.ndarray:
    """[P] of mapped scores."""
    reached = lengths(pairs.scores, knots)
    return ((reached[:, 0] - reached[:, 1]) * slopes).sum(-1)


def _knots(scores: np.ndarray, segments: int) -> np.ndarray:
    low, *inner, high = np.quantile(scores, np.linspace(0, 1, segments + 1))
    width = _MIN_WIDTH * (high - low)
    if not width > 0:
        raise ValueError("all recordings have the same score")
    knots = [low]
    for one in inner:
        if knots[-1] + width <= one <= high - width:
            knots.append(one)
    return np.array([*knots, high])


def _least_squares(design: np.ndarray, labels: np.ndarray, lowest: float) -> np.ndarray:
    """[K] coefficients of at least `lowest` for design [P, K]."""
    # By sums of products, without threads of BLAS, which for so little wait for each other where cores are busy.
    gram, product = np.einsum("pk,pl->kl", design, design), np.einsum("pk,p->k", design, labels)
    factor = np.linalg.cholesky(gram + 1e-9 * max(np.trace(gram), 1e-9) * np.eye(len(gram)))
    return lowest + optimize.nnls(factor.T, np.linalg.solve(factor, product) - factor.T.sum(1) * lowest)[0]


def _fit_classes(cmos: np.ndarray, pairs: LabelledPairs) -> list[float]:
    """`steepness`, `tie` and `tie_head` of a `Calibration`, by maximum likelihood."""
    classes = np.select([pairs.labels > CLEAR, pairs.labels < -CLEAR], [0, 1], 2)
    rows = np.arange(len(classes))

    def loss(parameters: np.ndarray) -> float:
        likely = class_probabilities(cmos, pairs.ties, parameters)[rows, classes]
        return -float(np.log(np.maximum(likely, 1e-12)).mean())

    bounds = [(1e-3, _MAX_STEEPNESS), (-_MAX_LOGIT, _MAX_LOGIT), (0, 10 if pairs.ties.any() else 0)]
    return optimize.minimize(loss, [1.0, 0.0, 0.0], bounds=bounds, method="L-BFGS-B").x.tolist()
