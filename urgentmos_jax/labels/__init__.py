"""Labels computed from audio: metrics against a clean reference (`intrusive`), for all of a manifest (`labelling`).

`references` finds the clean recording, `alignment` brings both into step, `workers` are the processes, `results` is the
file that a stopped run resumes from, and `scores` reads ready-made scores.
"""

import importlib
from typing import Any

# Public names and the files that hold them, imported when asked for.
_FILES = {
    "METRICS": "intrusive",
    "available": "intrusive",
    "measure": "intrusive",
    "Labelled": "labelling",
    "label_manifest": "labelling",
    "Rule": "references",
    "ScoreFile": "scores",
}

__all__ = [*_FILES]


def __getattr__(name: str) -> Any:
    if name not in _FILES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_FILES[name]}"), name)
