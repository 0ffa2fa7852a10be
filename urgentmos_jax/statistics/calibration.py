"""A calibrated metric: a monotone map of scores, and how the head and the scores make a comparison.

A score s becomes g(s), piecewise linear and increasing. The CMOS of a pair becomes

    head * (CMOS of the head) + difference * (g(s_A) - g(s_B)),        both weights at least 0,

and the classes A better, B better, tie have the logits

    steepness * CMOS,   -steepness * CMOS,   tie + tie_head * t,         t = log p_tie - (log p_a + log p_b) / 2

with the head's probabilities. All of it is odd: with A and B exchanged a CMOS changes its sign, and p_a and p_b their
places; the larger of them is that of the better side.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from scipy.special import softmax

from urgentmos_jax.schema import at_least

# Of probabilities, whose logarithm is taken.
_LEAST = 1e-6


@dataclass(frozen=True)
class Calibration:
    """Of one metric, as a model folder holds it.

    Attributes:
        scores: Knots of the map, increasing.
        mapped: What they become, increasing. The first and the last segment continue beyond the knots.
        head: Weight of the head's CMOS; 0 for a metric without a head.
        difference: Weight of the difference of mapped scores.
        steepness, tie, tie_head: Of the logits of the classes; `tie_head` is 0 for a metric without a head.
        pairs: That it was fitted to, both orders counted once.
        groups: Of pairs, by reference or recording, that cross-validation kept together.
        gain: {statistic: (with less without calibration, low, high)} of nested cross-validation.
    """

    scores: tuple[float, ...]
    mapped: tuple[float, ...]
    head: float = field(metadata=at_least(0))
    difference: float = field(metadata=at_least(0))
    steepness: float = field(metadata={"above": 0})
    tie: float
    tie_head: float = field(metadata=at_least(0))
    pairs: int = field(metadata=at_least(1))
    groups: int = field(metadata=at_least(1))
    gain: dict[str, tuple[float, ...]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Raises ValueError where the map is not an increasing one, or a number is not finite."""
        weights = self.head, self.difference, self.steepness, self.tie, self.tie_head
        if not all(map(math.isfinite, (*self.scores, *self.mapped, *weights))):
            raise ValueError("a number is not finite")
        increasing = all((np.diff(side) > 0).all() for side in (self.scores, self.mapped))
        if len(self.scores) != len(self.mapped) or len(self.scores) < 2 or not increasing:
            raise ValueError("scores and mapped must be increasing, of one length, and at least 2")
        if not self.head + self.difference:
            raise ValueError("head and difference are both 0")

    def score(self, score: Any, numpy: Any = np) -> Any:
        """g of scores [...]; `numpy` is `jax.numpy` within a program of jax."""
        slopes = np.diff(self.mapped) / np.diff(self.scores)
        return self.mapped[0] + (lengths(score, self.scores, numpy) * slopes).sum(-1)

    def compare(self, head: Any, difference: Any) -> Any:
        """CMOS, of the head's CMOS and the difference of mapped scores."""
        return self.head * head + self.difference * difference

    def probabilities(self, cmos: Any, of_head: Any = None) -> np.ndarray:
        """[..., 3] that A is better, that B is, of a tie; of the calibrated CMOS [...] and the head's [..., 3]."""
        tie = 0.0 if of_head is None else tie_logit(of_head)
        return class_probabilities(cmos, tie, (self.steepness, self.tie, self.tie_head))


def class_probabilities(cmos: Any, tie_of_head: Any, parameters: Sequence[float] | np.ndarray) -> np.ndarray:
    """[..., 3] of CMOS [...] and `tie_logit` [...] of the head, with `steepness`, `tie` and `tie_head`."""
    steepness, tie, tie_head = parameters
    a, tie = np.broadcast_arrays(steepness * np.asarray(cmos), tie + tie_head * np.asarray(tie_of_head))
    return softmax(np.stack([a, -a, tie], -1), axis=-1)


def tie_logit(probabilities: Any) -> np.ndarray:
    """[...] what a head says for a tie, of its [..., 3] that A is better, B is, of a tie."""
    a, b, tie = np.moveaxis(np.log(np.maximum(probabilities, _LEAST)), -1, 0)
    return tie - (a + b) / 2


def lengths(scores: Any, knots: Sequence[float] | np.ndarray, numpy: Any = np) -> Any:
    """[..., S] how far scores [...] reach into each segment between knots [S + 1], beyond the ends without limit."""
    widths = np.diff(knots)
    low, high = np.zeros(len(widths)), widths.copy()
    low[0], high[-1] = -np.inf, np.inf
    return numpy.clip(numpy.asarray(scores)[..., None] - np.asarray(knots)[:-1], low, high)
