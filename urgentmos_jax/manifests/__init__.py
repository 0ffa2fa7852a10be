"""Manifests: lists of labelled recordings (`data.jsonl`) and of pairs of them (`data_pairs.jsonl`).

A record is in `records`; a line is checked in `lines`, a file read in `reading` and written in `writing`. Whether it
lists pairs is decided in `naming`, pairs are made in `pairs`, and `urgentmos check` stands on `checking`. CSV files,
spreadsheets and scp lists are read in `tables`.
"""

import importlib
from typing import Any

# Public names and the files that hold them, imported when asked for.
_FILES = {
    "check_manifests": "checking",
    "measure_durations": "durations",
    "lists_pairs": "naming",
    "make_pairs": "pairs",
    "read_pairs": "reading",
    "read_utterances": "reading",
    "ManifestError": "records",
    "Pair": "records",
    "Utterance": "records",
    "write_pairs": "writing",
    "write_utterances": "writing",
}

__all__ = [*_FILES]


def __getattr__(name: str) -> Any:
    if name not in _FILES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_FILES[name]}"), name)
