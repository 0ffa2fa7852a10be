"""Synthetic speech: eSpeak, degradations, generated corpora."""

import importlib
from typing import Any

_FILES = {
    "DEGRADATIONS": "degradations",
    "Degradation": "degradations",
    "Plan": "plans",
    "System": "plans",
    "active_speech_level": "speech_level",
    "all_systems": "plans",
    "default_splits": "plans",
    "generate": "generated",
    "synthesize": "espeak",
}

__all__ = sorted(_FILES)


def __getattr__(name: str) -> Any:
    if name not in _FILES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_FILES[name]}"), name)
