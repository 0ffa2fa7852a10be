"""Bootstrap intervals: how far a figure would move had other recordings or systems been tested (Efron 1979)."""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

__all__ = ["CONFIDENCE", "DRAWS", "Interval", "percentile_interval", "resampled_counts"]

DRAWS = 1000
CONFIDENCE = 0.95

# Elements of one piece of resampled counts: memory stays bounded however many items there are.
_PIECE = 4_000_000


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


def percentile_interval(value: float, drawn: np.ndarray) -> Interval:
    """Interval between the percentiles of a figure over resamples.

    Args:
        value: Of the sample itself.
        drawn: [draws] figures of the resamples; those not defined (NaN) are left out.
    """
    defined = drawn[np.isfinite(drawn)]
    if math.isnan(value) or not len(defined):
        return Interval(value)
    tail = 50 * (1 - CONFIDENCE)
    low, high = np.percentile(defined, [tail, 100 - tail])
    return Interval(value, float(low), float(high))


def resampled_counts(units: int, *, draws: int = DRAWS, seed: int = 0) -> Iterator[np.ndarray]:
    """How often each unit comes in each resample of as many units, in pieces of draws.

    Args:
        units: What is drawn with replacement: references, or systems.
        draws: Resamples in all.
        seed: Of the draws.

    Yields:
        [some draws, units] float64; each row sums to `units`.
    """
    rng = np.random.default_rng(seed)
    chances = np.full(units, 1 / units)
    most = max(1, _PIECE // units)
    for start in range(0, draws, most):
        yield rng.multinomial(units, chances, min(most, draws - start)).astype(np.float64)
