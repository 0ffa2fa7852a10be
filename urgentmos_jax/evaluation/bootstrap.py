"""Bootstrap intervals: how far a figure would move had other recordings or systems been tested (Efron 1979)."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

__all__ = [
    "CONFIDENCE",
    "DRAWS",
    "Difference",
    "Interval",
    "bca_interval",
    "paired_difference",
    "percentile_interval",
    "resampled_counts",
    "unit_numbers",
]

DRAWS = 1000
CONFIDENCE = 0.95

# Elements of one piece of resampled counts: memory stays bounded however many items there are.
_PIECE = 2_000_000


@dataclass(frozen=True, slots=True)
class Interval:
    """A figure and its bootstrap interval; NaN where it is not defined."""

    value: float
    low: float = math.nan
    high: float = math.nan

    def as_json(self) -> dict[str, Any]:
        """With null for what is not defined."""
        sides = {"value": self.value, "low": self.low, "high": self.high}
        return {name: None if math.isnan(side) else side for name, side in sides.items()}

    def __str__(self) -> str:
        if math.isnan(self.value):
            return "n/a"
        return f"{self.value:.3f}" + ("" if math.isnan(self.low) else f" [{self.low:.3f}, {self.high:.3f}]")


@dataclass(frozen=True, slots=True)
class Difference:
    """How far two predictors are apart by a figure, on the same items and resamples.

    Attributes:
        interval: The difference, the other minus the first.
        p: Two-sided: twice the share of resamples on the far side of 0, at most 1; NaN where it is not defined.
    """

    interval: Interval
    p: float = math.nan

    def as_json(self) -> dict[str, Any]:
        """With null for what is not defined."""
        return {**self.interval.as_json(), "p": None if math.isnan(self.p) else self.p}

    def __str__(self) -> str:
        return str(self.interval) + ("" if math.isnan(self.p) else f" p {self.p:.3f}")


def percentile_interval(value: float, drawn: np.ndarray) -> Interval:
    """Interval between the percentiles of a figure over resamples.

    Args:
        value: Of the sample itself.
        drawn: [draws] figures of the resamples; those not defined (NaN) are left out.
    """
    return bca_interval(value, drawn, None)


def bca_interval(value: float, drawn: np.ndarray, influence: np.ndarray | None) -> Interval:
    """Bias-corrected and accelerated interval (Efron 1987): percentiles moved by the bias and the skewness of a figure.

    Args:
        value: Of the sample itself.
        drawn: [draws] figures of the resamples; those not defined (NaN) are left out.
        influence: [units] how the figure moves with the weight of each unit (the infinitesimal jackknife), from whose
            skewness the acceleration comes; None moves nothing.
    """
    from scipy.special import ndtr, ndtri

    defined = drawn[np.isfinite(drawn)]
    if math.isnan(value) or not len(defined):
        return Interval(value)
    levels = np.array([(1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2])
    if influence is not None and (spread := float(np.sum(influence**2))) > 0:
        # Half of the draws that equal the value count as below it. One draw at least on each side, so that it is finite.
        below = np.mean(defined < value) + np.mean(defined == value) / 2
        bias = ndtri(np.clip(below, 1 / (len(defined) + 1), len(defined) / (len(defined) + 1)))
        acceleration = float(np.sum(influence**3)) / (6 * spread**1.5)
        moved = bias + ndtri(levels)
        levels = ndtr(bias + moved / (1 - acceleration * moved))
    low, high = np.percentile(defined, 100 * levels)
    return Interval(value, float(low), float(high))


def paired_difference(first: tuple[float, np.ndarray], other: tuple[float, np.ndarray]) -> Difference:
    """The paired bootstrap: both predictors judged on the same resamples of the same items.

    Args:
        first, other: (figure, [draws] figures of the resamples), with the same units, draws and seed.

    Returns:
        The other minus the first, with its percentile interval and p.
    """
    value, drawn = other[0] - first[0], other[1] - first[1]
    interval, defined = percentile_interval(value, drawn), drawn[np.isfinite(drawn)]
    if math.isnan(interval.low):
        return Difference(interval)
    # The sample itself counts as a draw, so that p is never 0.
    least = min(int(np.sum(defined <= 0)), int(np.sum(defined >= 0)))
    return Difference(interval, min(1.0, 2 * (least + 1) / (len(defined) + 1)))


def unit_numbers(names: Sequence[str | None]) -> np.ndarray:
    """[N] which unit each item belongs to: items of one name are resampled together, one without a name by itself."""
    numbers: dict[Any, int] = {}
    return np.array(
        [numbers.setdefault(place if name is None else name, len(numbers)) for place, name in enumerate(names)], np.int64
    )


def resampled_counts(
    units: int, *, draws: int = DRAWS, seed: int | Sequence[int] = 0, width: int | None = None
) -> Iterator[np.ndarray]:
    """How often each unit comes in each resample of as many units, in pieces of draws.

    Args:
        units: What is drawn with replacement: references, or systems.
        draws: Resamples in all.
        seed: Of the draws. The draws do not depend on `width`.
        width: Numbers that a draw is spread to by the caller, if more than `units`: pieces are the smaller.

    Yields:
        [some draws, units] float64; each row sums to `units`.
    """
    rng = np.random.default_rng(seed)
    most = max(1, _PIECE // max(units, width or 0))
    for start in range(0, draws, most):
        rows = min(most, draws - start)
        # Counting drawn numbers is faster than multinomial numbers where there are many units.
        numbers = rng.integers(units, size=(rows, units)) + units * np.arange(rows)[:, None]
        yield np.bincount(numbers.ravel(), minlength=rows * units).reshape(rows, units).astype(np.float64)
