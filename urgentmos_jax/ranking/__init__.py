"""Systems in order, with intervals."""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from urgentmos_jax.ranking.comparisons import Comparisons, compare_by_model, compare_by_predictions
    from urgentmos_jax.ranking.ranking import RankedSystem, Ranking, rank, wins_by_score
    from urgentmos_jax.ranking.systems import read_systems, shared_pairs, systems_of_folders, systems_of_manifest
    from urgentmos_jax.ranking.table import as_markdown, as_text

_FILES = {
    "comparisons": (
        "Comparisons",
        "compare_by_model",
        "compare_by_predictions",
    ),
    "ranking": (
        "RankedSystem",
        "Ranking",
        "rank",
        "wins_by_score",
    ),
    "systems": (
        "read_systems",
        "shared_pairs",
        "systems_of_folders",
        "systems_of_manifest",
    ),
    "table": (
        "as_markdown",
        "as_text",
    ),
}
__all__ = [
    "Comparisons",
    "RankedSystem",
    "Ranking",
    "as_markdown",
    "as_text",
    "compare_by_model",
    "compare_by_predictions",
    "rank",
    "read_systems",
    "shared_pairs",
    "systems_of_folders",
    "systems_of_manifest",
    "wins_by_score",
]


def __getattr__(name: str) -> Any:
    for file, names in _FILES.items():
        if name in names:
            return getattr(importlib.import_module(f"{__name__}.{file}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
