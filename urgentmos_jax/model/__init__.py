"""The UrgentMOS model: encoders fused, a transformer a category, heads a metric; its losses and its cost."""

import importlib
from typing import Any

# Public names and the files that hold them, imported when asked for.
_FILES = {
    "clip_flops": "cost",
    "format_sizes": "cost",
    "parts": "cost",
    "scoring_bytes": "cost",
    "training_bytes": "cost",
    "HeadConfig": "heads",
    "LossConfig": "losses",
    "absolute_loss": "losses",
    "comparative_loss": "losses",
    "metric_weights": "losses",
    "total_loss": "losses",
    "TransformerConfig": "transformer",
    "Absolute": "urgentmos",
    "EncoderConfig": "urgentmos",
    "Features": "urgentmos",
    "ModelConfig": "urgentmos",
    "UrgentMOS": "urgentmos",
}

__all__ = [*_FILES]


def __getattr__(name: str) -> Any:
    if name not in _FILES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_FILES[name]}"), name)
