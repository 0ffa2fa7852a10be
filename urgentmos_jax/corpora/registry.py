"""The corpora by name."""

import importlib

from urgentmos_jax.corpora.corpus import Corpus

__all__ = ["NAMES", "corpus_of"]

NAMES = (
    "bc19",
    "bvcc",
    "chime-7-udase-eval",
    "nisqa",
    "pstn",
    "somos",
    "speecheval",
    "speechjudge",
    "tcd-voip",
    "tencent",
    "tmhint-qi",
    "ttsds2",
    "urgent2024-sqa",
    "urgent2025-sqa",
)


def corpus_of(name: str) -> Corpus:
    """The corpus of a name of `NAMES`; its module has the same name."""
    return importlib.import_module(f"urgentmos_jax.corpora.{name.replace('-', '_')}").CORPUS
