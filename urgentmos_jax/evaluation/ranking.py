"""Ranking of systems by mean scores and by pairwise comparisons, with the systems that cannot be told apart."""

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from urgentmos_jax.evaluation.bootstrap import Interval

__all__ = ["RankedSystem", "Ranking"]


@dataclass(frozen=True)
class RankedSystem:
    """Place of one system.

    Args:
        name: Of the system.
        clips: Recordings of it that have a score.
        mean: Mean score.
        strength: Of Bradley and Terry, natural logarithm, centred at 0 over the systems; NaN where it is not defined.
        win_rate: Mean share of wins over the other systems, ties half.
        group: Letters of its tie groups, "A" the best; systems that share a letter cannot be told apart at 95 %.
    """

    name: str
    clips: int
    mean: Interval
    strength: Interval
    win_rate: Interval
    group: str


@dataclass(frozen=True)
class Ranking:
    """Systems in order, and what the order rests on.

    Args:
        metric: Name of the score.
        systems: Best first.
        wins: [S, S] share of the shared references where the system of the row beats that of the column, ties half;
            NaN on the diagonal and without a shared reference. In the order of `systems`, as all below.
        shared: [S, S] number of shared references compared.
        missing: (system, reference) that other systems have and this one has not, or whose recording failed.
        notes: What a reader must know of how the order was found, a sentence each.
    """

    metric: str
    systems: tuple[RankedSystem, ...]
    wins: np.ndarray
    shared: np.ndarray
    missing: tuple[tuple[str, str], ...]
    notes: tuple[str, ...] = ()

    def as_json(self) -> dict[str, Any]:
        """For a JSON file; null for what is not defined."""
        return {
            "metric": self.metric,
            "systems": [
                {
                    "name": system.name,
                    "clips": system.clips,
                    "mean": system.mean.as_json(),
                    "strength": system.strength.as_json(),
                    "win_rate": system.win_rate.as_json(),
                    "group": system.group,
                }
                for system in self.systems
            ],
            "wins": [[None if math.isnan(share) else share for share in row] for row in self.wins.tolist()],
            "shared": self.shared.tolist(),
            "missing": [{"system": system, "reference": reference} for system, reference in self.missing],
            "notes": list(self.notes),
        }
