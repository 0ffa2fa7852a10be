"""Positions of the marks of plots; the page draws them as SVG."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from urgentmos_jax.tables import shortened

# More points of one plot say no more, and slow the page down.
MAX_POINTS = 2000
_MAX_TICKS = 400
_MAX_LABEL = 18
# Height of a letter and mean width, in units of a scatter plot.
_LETTER = (11.0, 5.9)


@dataclass(frozen=True)
class Axis:
    """A range of values with round numbers to mark on it."""

    low: float
    high: float
    ticks: tuple[tuple[float, str], ...]

    @classmethod
    def over(cls, *values: Sequence[float] | np.ndarray, most: int = 6) -> "Axis":
        """The range of values [N], a little widened, with at most so many ticks at multiples of 1, 2 or 5."""
        every = np.concatenate([np.asarray(part, np.float64).ravel() for part in values])
        low, high = float(every.min()), float(every.max())
        margin = 0.04 * (high - low) or 0.1 * abs(low) or 0.5
        low, high = low - margin, high + margin
        power = 10.0 ** math.floor(math.log10((high - low) / most))
        step = next(power * k for k in (1, 2, 5, 10, 20) if (high - low) / (power * k) < most)
        decimals = max(0, -math.floor(math.log10(step) + 1e-9))
        first, last = math.ceil(low / step), math.floor(high / step)
        return cls(low, high, tuple((k * step, f"{k * step:.{decimals}f}") for k in range(first, last + 1)))

    def at(self, value: float) -> float:
        """Position of a value, 0 at the low end, 1 at the high one."""
        return (value - self.low) / (self.high - self.low)


@dataclass(frozen=True)
class Point:
    """A mark of a scatter plot, in units of its size; `label` (text, x, y, anchor) where there is room for one."""

    x: float
    y: float
    name: str
    label: tuple[str, float, float, str] | None = None


@dataclass(frozen=True)
class Scatter:
    """Predictions over labels, both on the same range, in a square of `SIDE`; `left_out` points are not drawn."""

    axis: Axis
    points: tuple[Point, ...]
    left_out: int

    SIDE = 240


def scatter(
    true: Sequence[float] | np.ndarray, predicted: Sequence[float] | np.ndarray, names: Sequence[str], *, labels: bool
) -> Scatter:
    """A scatter plot.

    Args:
        true, predicted: [N] values, finite; above `MAX_POINTS` a random sample is shown, always the same.
        names: [N] what the points are.
        labels: Whether to write the names, shortened, beside the points, where they do not cover each other.
    """
    axis = Axis.over(true, predicted)
    chosen: list[int] = list(range(len(true)))
    if len(true) > MAX_POINTS:
        chosen = np.sort(np.random.default_rng(0).choice(len(true), MAX_POINTS, replace=False)).tolist()
    side = Scatter.SIDE
    places = [(side * axis.at(true[i]), side * (1 - axis.at(predicted[i]))) for i in chosen]
    beside = _labels(places, [shortened(names[i], _MAX_LABEL) for i in chosen]) if labels else [None] * len(places)
    points = (Point(x, y, names[i], label) for i, (x, y), label in zip(chosen, places, beside, strict=True))
    return Scatter(axis, tuple(points), len(true) - len(chosen))


def _labels(places: Sequence[tuple[float, float]], names: Sequence[str]) -> list[tuple[str, float, float, str] | None]:
    """Name of each point and the first free place right, left, above or below it, or None."""
    height, letter = _LETTER
    taken = [(x - 5, y - 5, x + 5, y + 5) for x, y in places]
    found: list[tuple[str, float, float, str] | None] = []
    for (x, y), name in zip(places, names, strict=True):
        width = letter * len(name)
        tries = {"start": (x + 7, y + 4), "end": (x - 7, y + 4), "middle": (x, y - 8), "middle ": (x, y + 15)}
        for anchor, (left, base) in tries.items():
            start = left - {"start": 0, "end": width}.get(anchor, width / 2)
            box = (start, base - height + 2, start + width, base + 2)
            inside = min(box[:2]) > 0 and max(box[2:]) < Scatter.SIDE
            if inside and not any(_overlap(box, other) for other in taken):
                taken.append(box)
                found.append((name, left, base, anchor.strip()))
                break
        else:
            found.append(None)
    return found


def _overlap(one: tuple[float, ...], other: tuple[float, ...]) -> bool:
    return one[0] < other[2] and other[0] < one[2] and one[1] < other[3] and other[1] < one[3]


@dataclass(frozen=True)
class Distribution:
    """Values of one group, as shares of an axis but for the mean; the ticks of many values are their quantiles."""

    name: str
    count: int
    ticks: tuple[float, ...]
    quartiles: tuple[float, float, float]
    mean: float


def distribution(name: str, values: Sequence[float] | np.ndarray, axis: Axis) -> Distribution:
    """How values [N] lie on an axis."""
    values = np.sort(np.asarray(values, np.float64))
    shown = values if len(values) <= _MAX_TICKS else np.quantile(values, np.linspace(0, 1, _MAX_TICKS))
    first, second, third = (axis.at(float(value)) for value in np.quantile(values, [0.25, 0.5, 0.75]))
    ticks = tuple(map(axis.at, shown.tolist()))
    return Distribution(name, len(values), ticks, (first, second, third), float(values.mean()))


def envelope(waveform: np.ndarray, *, width: int = 300) -> str:
    """Outline of a waveform [T] as an SVG path, its peak filling a box of `width` x 100."""
    columns = min(width, len(waveform))
    edges = np.linspace(0, len(waveform), columns + 1).astype(int)[:-1]
    peak = float(np.abs(waveform).max()) or 1.0
    high, low = (50 - 50 * ends.reduceat(waveform, edges) / peak for ends in (np.maximum, np.minimum))
    x = np.arange(columns) * (width / columns)
    upper = " ".join(f"{a:.4g},{b:.1f}" for a, b in zip(x, high, strict=True))
    lower = " ".join(f"{a:.4g},{b:.1f}" for a, b in zip(x[::-1], low[::-1], strict=True))
    return f"M{upper} L{lower}Z"


def polyline(values: Sequence[float] | np.ndarray, axis: Axis, *, width: int = 300, most: int = 600) -> str:
    """Points of a curve through values [L] at even times in a box of `width` x 100; more than `most` are averaged."""
    values = np.asarray(values, np.float64)
    edges = np.linspace(0, len(values), min(most, len(values)) + 1).astype(int)
    means = np.add.reduceat(values, edges[:-1]) / np.diff(edges)
    centres = (edges[:-1] + edges[1:]) / 2 / len(values) * width
    return " ".join(f"{x:.4g},{100 * (1 - axis.at(y)):.1f}" for x, y in zip(centres, means, strict=True))
