"""The engine: recordings are decoded, cut into windows, batched by length and encoded once; results become rows."""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from urgentmos_jax.scoring.loading import load_model
    from urgentmos_jax.scoring.model import Model
    from urgentmos_jax.scoring.rows import Compared, Comparison, ComparisonRow, Scored, ScoreRow

_FILES = {
    "loading": ("load_model",),
    "model": ("Model",),
    "rows": ("Compared", "Comparison", "ComparisonRow", "ScoreRow", "Scored"),
}
__all__ = ["Compared", "Comparison", "ComparisonRow", "Model", "ScoreRow", "Scored", "load_model"]


def __getattr__(name: str) -> Any:
    for file, names in _FILES.items():
        if name in names:
            return getattr(importlib.import_module(f"{__name__}.{file}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
