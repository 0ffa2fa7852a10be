"""Bootstrap intervals: how far a figure would move had other recordings or systems been tested (Efron 1979)."""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from scipy.special import ndtr, ndtri, stdtrit

__all__ = [
    "CONFIDENCE",
    "DRAWS",
    "Difference",
    "Interval",
    "Judged",
    "average",
    "bca_interval",
    "judged",
    "paired_differences",
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


@dataclass(frozen=True)
class Judged:
    """Figures of a predictor on a set of items.

    Attributes:
        n: Items.
        units: How many units were resampled: references, systems, or items by themselves.
        figures: {figure: value and interval}.
        counts: {figure: items it is of}, where that is not all of them.
        warnings: Names of what makes figures undefined.
        drawn: {figure: [draws]} figures of the resamples.
        influence: {figure: [units]}, as `bca_interval` takes it.
    """

    n: int
    units: int
    figures: dict[str, Interval]
    counts: dict[str, int] = field(default_factory=dict)
    warnings: tuple[str, ...] = ()
    drawn: dict[str, np.ndarray] = field(default_factory=dict, repr=False, compare=False)
    influence: dict[str, np.ndarray] = field(default_factory=dict, repr=False, compare=False)


def percentile_interval(value: float, drawn: np.ndarray) -> Interval:
    """Interval between the percentiles of a figure over resamples.

    Args:
        value: Of the sample itself.
        drawn: [draws] figures of the resamples; those not defined (NaN) are left out.
    """
    return bca_interval(value, drawn, None)


def bca_interval(value: float, drawn: np.ndarray, influence: np.ndarray | None) -> Interval:
    """Bias-corrected and accelerated interval (Efron 1987): percentiles moved by the bias and the skewness of a figure.

    The percentiles start from Student's t in place of the normal distribution, for small samples (Hesterberg 2015).

    Args:
        value: Of the sample itself.
        drawn: [draws] figures of the resamples; those not defined (NaN) are left out.
        influence: [units] derivative of the figure by the weight of each unit (the infinitesimal jackknife), whose
            skewness gives the acceleration; None: the plain percentile interval.
    """
    defined = drawn[np.isfinite(drawn)]
    if math.isnan(value) or not len(defined):
        return Interval(value)
    levels = np.array([(1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2])
    if influence is not None and (spread := float(np.sum(influence**2))) > 0:
        # Half of the draws that equal the value are below it; one draw at least is on each side, so that it is finite.
        below, least = np.mean(defined < value) + np.mean(defined == value) / 2, 1 / (len(defined) + 1)
        bias = ndtri(np.clip(below, least, 1 - least))
        acceleration = float(np.sum(influence**3)) / (6 * spread**1.5)
        units = len(influence)
        moved = bias + stdtrit(units - 1, levels) * math.sqrt(units / (units - 1))
        levels = ndtr(bias + moved / np.maximum(1 - acceleration * moved, least))
    low, high = np.percentile(defined, 100 * levels)
    return Interval(value, float(low), float(high))


def judged(
    n: int,
    units: int,
    values: Mapping[str, float],
    drawn: Mapping[str, np.ndarray],
    influence: Mapping[str, np.ndarray] = {},
    *,
    counts: Mapping[str, int] = {},
    warnings: Sequence[str] = (),
) -> Judged:
    """Figures with their intervals: bias-corrected and accelerated where there are influences, else percentile ones."""
    intervals = {
        name: bca_interval(value, drawn[name], influence.get(name)) if name in drawn else Interval(value)
        for name, value in values.items()
    }
    return Judged(n, units, intervals, dict(counts), tuple(warnings), dict(drawn), dict(influence))


def average(parts: Sequence[Judged], figure: str) -> Interval:
    """Mean of a figure over independent sets of items, each counted alike, with its interval.

    Args:
        parts: Sets of items, in each of which the figure is defined, drawn with different seeds.
        figure: Name.
    """
    value = float(np.mean([part.figures[figure].value for part in parts]))
    if any(figure not in part.drawn for part in parts):
        return Interval(value)
    drawn = np.mean([part.drawn[figure] for part in parts], axis=0)
    moves = [part.influence[figure] / len(parts) for part in parts if figure in part.influence]
    return bca_interval(value, drawn, np.concatenate(moves) if moves else None)


def paired_differences(first: Judged, other: Judged) -> dict[str, Difference]:
    """The paired bootstrap: both predictors judged on the same resamples of the same items.

    Args:
        first, other: Judged on the same items in the same order, with the same units, draws and seed.

    Returns:
        {figure: the other minus the first}, with its percentile interval.
    """
    if (first.n, first.units) != (other.n, other.units):
        raise ValueError(f"{first.n} items in {first.units} units against {other.n} in {other.units}; give the same")
    found = {}
    for name, interval in first.figures.items():
        value = other.figures[name].value - interval.value
        if math.isnan(value) or name not in first.drawn:
            found[name] = Difference(Interval(value))
            continue
        drawn = other.drawn[name] - first.drawn[name]
        drawn = drawn[np.isfinite(drawn)]
        # The sample itself counts as a draw, so that p is never 0.
        least = min(int(np.sum(drawn <= 0)), int(np.sum(drawn >= 0)))
        found[name] = Difference(percentile_interval(value, drawn), min(1.0, 2 * (least + 1) / (len(drawn) + 1)))
    return found


def unit_numbers(names: Sequence[str | None]) -> np.ndarray:
    """[N] which unit each item belongs to: items of one name are resampled together, one without a name by itself."""
    numbers: dict[Any, int] = {}
    return np.array(
        [numbers.setdefault(place if name is None else name, len(numbers)) for place, name in enumerate(names)],
        np.int64,
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
        numbers = rng.integers(units, size=(rows, units), dtype=np.int32)
        numbers += (units * np.arange(rows, dtype=np.int32))[:, None]
        yield np.bincount(numbers.ravel(), minlength=rows * units).reshape(rows, units).astype(np.float64)
