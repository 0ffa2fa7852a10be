"""The published corpora by name."""

import importlib
import pkgutil
from pathlib import Path

from urgentmos_jax.corpora.corpus import Corpus

_FOLDER = Path(__file__).parent / "published"

NAMES = tuple(sorted(module.name.replace("_", "-") for module in pkgutil.iter_modules([str(_FOLDER)])))


def corpus_of(name: str) -> Corpus:
    """Returns the corpus of a name of `NAMES`: `CORPUS` of the module of that name in `published/`."""
    module = importlib.import_module(f"urgentmos_jax.corpora.published.{name.replace('-', '_')}")
    return module.CORPUS
