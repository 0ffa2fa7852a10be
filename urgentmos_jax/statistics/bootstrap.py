"""Bootstrap intervals: how far a statistic would move had other recordings or systems been tested (Efron 1979).

Shapes: R resamples, C clusters (references, systems, or items by themselves), which are resampled as wholes.
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
from scipy.special import ndtr, ndtri, stdtrit

RESAMPLES = 1000
CONFIDENCE = 0.95

# Elements of one piece of resampled counts: memory stays bounded however many items there are.
_PIECE = 2_000_000


@dataclass(frozen=True, slots=True)
class Interval:
    """A statistic and its bootstrap interval; NaN where it is not defined."""

    value: float
    low: float = math.nan
    high: float = math.nan

    def as_json(self) -> dict[str, Any]:
        """With null for what is not defined."""
        return {name: None if math.isnan(side) else side for name, side in asdict(self).items()}

    def __str__(self) -> str:
        if math.isnan(self.value):
            return "n/a"
        return f"{self.value:.3f}" + ("" if math.isnan(self.low) else f" [{self.low:.3f}, {self.high:.3f}]")


@dataclass(frozen=True, slots=True)
class Difference:
    """Difference of a statistic between two models, on the same items and resamples.

    Attributes:
        interval: The other model minus the first.
        p: Two-sided: twice the share of resamples on the far side of 0, at most 1; NaN where it is not defined.
    """

    interval: Interval
    p: float = math.nan

    def as_json(self) -> dict[str, Any]:
        """With null for what is not defined."""
        return {**self.interval.as_json(), "p": None if math.isnan(self.p) else self.p}

    def __str__(self) -> str:
        return str(self.interval) + ("" if math.isnan(self.p) else f" p {self.p:.3f}")


@dataclass(frozen=True)
class Estimates:
    """Statistics of one model's predictions of a set of n items in so many clusters.

    Attributes:
        intervals: {statistic: value and interval}.
        counts: {statistic: items it is computed from}, where that is not all of them.
        warnings: Names of what makes statistics undefined.
        resamples: {statistic: [R]} its values on the resamples.
        influence: {statistic: [C]}, as `bca_interval` takes it.
    """

    n: int
    clusters: int
    intervals: dict[str, Interval]
    counts: dict[str, int] = field(default_factory=dict)
    warnings: tuple[str, ...] = ()
    resamples: dict[str, np.ndarray] = field(default_factory=dict, repr=False, compare=False)
    influence: dict[str, np.ndarray] = field(default_factory=dict, repr=False, compare=False)


def bca_interval(value: float, resampled: np.ndarray, influence: np.ndarray | None = None) -> Interval:
    """Bias-corrected and accelerated interval (Efron 1987): percentiles moved by the statistic's bias and skewness.

    The percentiles start from Student's t in place of the normal distribution, for small samples (Hesterberg 2015).

    Args:
        value: Of the sample itself.
        resampled: [R] values on the resamples; those not defined (NaN) are left out.
        influence: [C] derivative of the statistic by the weight of each cluster (the infinitesimal jackknife), whose
            skewness gives the acceleration; None: the plain percentile interval.
    """
    defined = resampled[np.isfinite(resampled)]
    if math.isnan(value) or not len(defined):
        return Interval(value)
    levels = np.array([(1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2])
    if influence is not None and (spread := float(np.sum(influence**2))) > 0:
        # Half of the resamples equal to the value count as below it; at least one is on each side, so that the bias
        # is finite.
        below, least = np.mean(defined < value) + np.mean(defined == value) / 2, 1 / (len(defined) + 1)
        bias = ndtri(np.clip(below, least, 1 - least))
        acceleration = float(np.sum(influence**3)) / (6 * spread**1.5)
        clusters = len(influence)
        moved = bias + stdtrit(clusters - 1, levels) * math.sqrt(clusters / (clusters - 1))
        levels = ndtr(bias + moved / np.maximum(1 - acceleration * moved, least))
    low, high = np.percentile(defined, 100 * levels)
    return Interval(value, float(low), float(high))


def expanded_interval(value: float, resampled: np.ndarray, clusters: int) -> Interval:
    """Expanded percentile interval (Hesterberg 2015, Am. Stat. 69): as wide as Student's for few clusters.

    Args:
        value, resampled: As `bca_interval`.
        clusters: Number of clusters that the value is computed from; there is no interval for fewer than two.
    """
    from scipy import stats  # Slow to import.

    defined = resampled[np.isfinite(resampled)]
    if clusters < 2 or math.isnan(value) or not len(defined):
        return Interval(value)
    freedom = clusters - 1
    tail = 100 * stats.norm.sf(stats.t.isf((1 - CONFIDENCE) / 2, freedom) * math.sqrt(1 + 1 / freedom))
    return Interval(value, *np.percentile(defined, [tail, 100 - tail]).tolist())


def estimates(
    n: int,
    clusters: int,
    values: Mapping[str, float],
    resamples: Mapping[str, np.ndarray],
    influence: Mapping[str, np.ndarray] = {},
    *,
    counts: Mapping[str, int] = {},
    warnings: Sequence[str] = (),
) -> Estimates:
    """Statistics with their intervals: bias-corrected and accelerated where influences are given, else percentile."""
    intervals = {
        name: bca_interval(value, resamples[name], influence.get(name)) if name in resamples else Interval(value)
        for name, value in values.items()
    }
    return Estimates(n, clusters, intervals, dict(counts), tuple(warnings), dict(resamples), dict(influence))


def average(parts: Sequence[Estimates], statistic: str) -> Interval:
    """Mean of a statistic over independent sets of items, each weighted alike, with its interval.

    The statistic is defined in each of the sets, which were resampled with different seeds.
    """
    value = float(np.mean([part.intervals[statistic].value for part in parts]))
    if any(statistic not in part.resamples for part in parts):
        return Interval(value)
    resampled = np.mean([part.resamples[statistic] for part in parts], axis=0)
    moves = [part.influence[statistic] / len(parts) for part in parts if statistic in part.influence]
    return bca_interval(value, resampled, np.concatenate(moves) if moves else None)


def paired_differences(first: Estimates, other: Estimates) -> dict[str, Difference]:
    """The paired bootstrap: both models on the same resamples of the same items.

    Args:
        first, other: Of the same items in the same order, with the same clusters, resamples and seed.

    Returns:
        {statistic: the other minus the first}, with its percentile interval.

    Raises:
        ValueError: They are not of the same number of items and clusters.
    """
    if (first.n, first.clusters) != (other.n, other.clusters):
        text = f"{first.n} items in {first.clusters} clusters against {other.n} in {other.clusters}"
        raise ValueError(f"{text}; give the same")
    found = {}
    for name, interval in first.intervals.items():
        value = other.intervals[name].value - interval.value
        if math.isnan(value) or name not in first.resamples:
            found[name] = Difference(Interval(value))
            continue
        moved = other.resamples[name] - first.resamples[name]
        moved = moved[np.isfinite(moved)]
        # The sample itself counts as a resample, so that p is never 0.
        least = min(int(np.sum(moved <= 0)), int(np.sum(moved >= 0)))
        found[name] = Difference(bca_interval(value, moved), min(1.0, 2 * (least + 1) / (len(moved) + 1)))
    return found


def cluster_numbers(names: Sequence[str | None]) -> np.ndarray:
    """[N] cluster of each item: items of one name are resampled together, one without a name by itself."""
    numbers: dict[Any, int] = {}
    return np.array(
        [numbers.setdefault(index if name is None else name, len(numbers)) for index, name in enumerate(names)],
        np.int64,
    )


def resampled_counts(
    clusters: int, *, resamples: int = RESAMPLES, seed: int | Sequence[int] = 0, width: int | None = None
) -> Iterator[np.ndarray]:
    """How often each of C clusters comes in each of R resamples of C clusters, some resamples at a time.

    Pieces are the smaller if the caller needs `width` numbers for one resample; the numbers do not depend on it.

    Yields:
        [part of R, C] float64; each row sums to C.
    """
    rng = np.random.default_rng(seed)
    most = max(1, _PIECE // max(clusters, width or 0))
    for start in range(0, resamples, most):
        rows = min(most, resamples - start)
        # Counting sampled numbers is faster than multinomial numbers where there are many clusters.
        numbers = rng.integers(clusters, size=(rows, clusters), dtype=np.int32)
        numbers += (clusters * np.arange(rows, dtype=np.int32))[:, None]
        yield np.bincount(numbers.ravel(), minlength=rows * clusters).reshape(rows, clusters).astype(np.float64)
