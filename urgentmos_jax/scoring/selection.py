"""Which part of the inputs a run takes, which of its rows are kept, and what its scores must reach."""

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np

Item = TypeVar("Item")

_STATISTICS = "mean, median, min, max or a percentile, as p5"


@dataclass(frozen=True)
class Shard:
    """One of several contiguous parts of the inputs, as even as can be; their rows in order are those of the whole.

    Args:
        number: Of the part, from 1.
        count: Of all parts.
    """

    number: int
    count: int

    @classmethod
    def parse(cls, text: str) -> "Shard":
        """Reads K/N.

        Raises:
            ValueError: It is none.
        """
        found = re.fullmatch(r"(\d+)/(\d+)", text)
        if not found or not 1 <= int(found[1]) <= int(found[2]):
            raise ValueError("give K/N with K from 1 to N, as 2/7")
        return cls(int(found[1]), int(found[2]))

    def __str__(self) -> str:
        return f"{self.number}/{self.count}"

    def of(self, items: Sequence[Item]) -> Sequence[Item]:
        """The items of this part."""
        return items[(self.number - 1) * len(items) // self.count : self.number * len(items) // self.count]


@dataclass(frozen=True)
class Bounds:
    """What a number of a row must be for the row to be kept; see `row_numbers` for their names."""

    name: str
    minimum: float = -math.inf
    maximum: float = math.inf

    @classmethod
    def parse(cls, text: str) -> "Bounds":
        """Reads METRIC:MIN:MAX.

        Raises:
            ValueError: It is none.
        """
        example = "give METRIC:MIN:MAX, either bound may be empty, as mos_overall:3: or mos_overall:3:4.5"
        name, *bounds = text.split(":")
        if not name or len(bounds) != 2 or not any(bounds):
            raise ValueError(example)
        low, high = (_number(bound, example) if bound else None for bound in bounds)
        found = cls(name, -math.inf if low is None else low, math.inf if high is None else high)
        if found.minimum > found.maximum:
            raise ValueError(f"{low:g} is above {high:g}; {example}")
        return found

    def fault(self, numbers: Mapping[str, float]) -> str | None:
        """Why a row with these numbers is not kept."""
        value = numbers.get(self.name)
        if value is None:
            return f"{self.name} is missing"
        if value < self.minimum:
            return f"{self.name} is {value:g}, under {self.minimum:g}"
        return f"{self.name} is {value:g}, over {self.maximum:g}" if value > self.maximum else None


@dataclass(frozen=True)
class Gate:
    """What a statistic of all rows that have a number must reach."""

    name: str
    statistic: str
    value: float

    @classmethod
    def parse(cls, text: str) -> "Gate":
        """Reads METRIC:STAT:VALUE.

        Raises:
            ValueError: It is none.
        """
        example = f"give METRIC:STAT:VALUE with STAT {_STATISTICS}, as mos_overall:mean:3.5"
        name, *rest = text.split(":")
        if not name or len(rest) != 2 or (_percent(rest[0]) is None and rest[0] != "mean"):
            raise ValueError(example)
        return cls(name, rest[0], _number(rest[1], example))

    def __str__(self) -> str:
        return f"{self.name}:{self.statistic}:{self.value:g}"

    def fault(self, values: Sequence[float]) -> str | None:
        """Why numbers do not pass."""
        if not len(values):
            return f"no row has {self.name}"
        found = statistic(values, self.statistic)
        if found >= self.value:
            return None
        return f"the {self.statistic} of {self.name} is {found:.6g}, under {self.value:g}"


def statistic(values: Sequence[float], name: str) -> float:
    """The mean, median, min, max or percentile (`p5`) of values."""
    percent = _percent(name)
    return float(np.mean(values) if percent is None else np.percentile(values, percent))


def row_numbers(row: Mapping[str, Any]) -> dict[str, float]:
    """What rows can be chosen by: scores by metric; of a comparison the CMOS by metric, and `METRIC_p_a`,
    `METRIC_p_b`, `METRIC_p_tie`, `METRIC_score_difference`. Empty where a row failed."""
    if "comparison" not in row:
        return row["scores"] or {}
    found = {}
    for metric, values in (row["comparison"] or {}).items():
        found[metric] = values["cmos"]
        found |= {f"{metric}_{name}": value for name, value in values.items() if isinstance(value, float)}
    return found


def dropped_because(row: Mapping[str, Any], bounds: Sequence[Bounds]) -> str | None:
    """Why a row is not kept, None where it is."""
    if row["error"]:
        return f"{row['error']['code']}: {row['error']['message']}"
    numbers = row_numbers(row)
    return "; ".join(fault for one in bounds if (fault := one.fault(numbers))) or None


def _percent(name: str) -> float | None:
    fixed = {"median": 50.0, "min": 0.0, "max": 100.0}
    if name in fixed:
        return fixed[name]
    found = re.fullmatch(r"p(\d+(?:\.\d+)?)", name)
    return float(found[1]) if found and float(found[1]) <= 100 else None


def _number(text: str, example: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise ValueError(f"{text!r} is not a number; {example}")
    return value
