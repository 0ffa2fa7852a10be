"""Corpora to manifests: published ones, and your own ratings."""

import importlib
from typing import Any

_FILES = {
    "Columns": "custom",
    "Corpus": "corpus",
    "DownloadError": "unpacking",
    "NAMES": "registry",
    "Scale": "custom",
    "corpus_of": "registry",
    "corpus_of_folder": "custom_folder",
    "download": "downloads",
    "extract": "hub_tables",
    "hub_rows": "hub_tables",
    "prepare_corpus": "prepare",
    "prepare_table": "custom",
}

__all__ = sorted(_FILES)


def __getattr__(name: str) -> Any:
    if name not in _FILES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_FILES[name]}"), name)
