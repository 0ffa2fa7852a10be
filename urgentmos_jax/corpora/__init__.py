"""Corpora to manifests: published ones, and ratings of your own."""

import importlib
from typing import Any

_FILES = {
    "Corpus": "corpus",
    "DownloadError": "downloads",
    "NAMES": "registry",
    "corpus_of": "registry",
    "corpus_of_folder": "custom_folder",
    "download": "downloads",
    "prepare_corpus": "prepare",
}

__all__ = sorted(_FILES)


def __getattr__(name: str) -> Any:
    if name not in _FILES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_FILES[name]}"), name)
