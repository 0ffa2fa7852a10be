"""Metrics of speech quality: what a model predicts and what a label means."""

import dataclasses
import math

__all__ = ["Metric"]


@dataclasses.dataclass(frozen=True)
class Metric:
    """One metric as a model predicts it.

    Args:
        minimum: Least value, or -inf.
        maximum: Greatest value, or inf.
        comparative: Whether a CMOS head compares two recordings by it.
    """

    minimum: float = -math.inf
    maximum: float = math.inf
    comparative: bool = False
