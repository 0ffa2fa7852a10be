"""Statistics of numbers alone: agreement, preference, bootstrap intervals, strengths and significant differences."""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from urgentmos_jax.statistics.bootstrap import (
        Difference,
        Estimates,
        Interval,
        average,
        estimates,
        paired_differences,
    )
    from urgentmos_jax.statistics.correlation import agreement, agreement_with_intervals, system_means
    from urgentmos_jax.statistics.grouping import compact_letters, significantly_different
    from urgentmos_jax.statistics.preference import preference_with_intervals, sign_accuracy

_FILES = {
    "bootstrap": (
        "Difference",
        "Estimates",
        "Interval",
        "average",
        "estimates",
        "paired_differences",
    ),
    "correlation": (
        "agreement",
        "agreement_with_intervals",
        "system_means",
    ),
    "grouping": (
        "compact_letters",
        "significantly_different",
    ),
    "preference": (
        "preference_with_intervals",
        "sign_accuracy",
    ),
}
__all__ = [
    "Difference",
    "Estimates",
    "Interval",
    "agreement",
    "agreement_with_intervals",
    "average",
    "compact_letters",
    "estimates",
    "paired_differences",
    "preference_with_intervals",
    "sign_accuracy",
    "significantly_different",
    "system_means",
]


def __getattr__(name: str) -> Any:
    for file, names in _FILES.items():
        if name in names:
            return getattr(importlib.import_module(f"{__name__}.{file}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
