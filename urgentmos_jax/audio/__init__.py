"""Audio files and arrays -> float32 mono waveforms at 16 kHz (`loading`); what containers claim (`containers`)."""

import importlib
from typing import Any

# Public names and the files that hold them, imported when asked for.
_FILES = {
    "AudioError": "loading",
    "Clip": "loading",
    "SAMPLE_RATE_HZ": "loading",
    "load_audio": "loading",
    "probe": "loading",
}

__all__ = [*_FILES]


def __getattr__(name: str) -> Any:
    if name not in _FILES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_FILES[name]}"), name)
