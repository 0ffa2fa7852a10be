"""Python paths that were shown before: each name is still found, and a warning says where it is now."""

import importlib
import sys

import pytest

from urgentmos_jax._moved import MODULES, NAMES

# What the README and the notebooks of 0.1.0 imported, or named.
SHOWN = {
    "audio": ("SAMPLE_RATE_HZ", "load_audio"),
    "authors": ("read_checkpoint",),
    "corpora.pairs": ("make_pairs",),
    "evaluation.bootstrap": ("Judged", "judged", "paired_differences"),
    "evaluation.correlation": ("agreement_with_intervals", "system_means"),
    "evaluation.joining": ("predict", "read_corpora"),
    "evaluation.judging": ("judge",),
    "evaluation.plots": ("frame_scores", "predicted_against_true"),
    "evaluation.preference": ("preference_with_intervals",),
    "evaluation.ranking": ("rank",),
    "evaluation.systems": ("systems_of_folders",),
    "loading": ("load_model",),
    "manifest": ("Pair", "Utterance", "read_pairs", "read_utterances", "write_pairs", "write_utterances"),
    "metrics": ("Metric",),
    "model.fusion": ("Fusion",),
    "model.heads": ("AbsoluteHead", "CMOSHead"),
    "model.pooling": ("AttentivePooling", "MeanPooling", "MetricTokenPooling"),
    "model.released": ("load_folder", "save_folder"),
    "scoring": ("Model",),
    "model.urgentmos": ("ModelConfig", "UrgentMOS"),
}


@pytest.mark.parametrize("old", sorted(SHOWN | MODULES))
def test_old_path(old):
    path = f"urgentmos_jax.{old}"
    sys.modules.pop(path, None) if old in MODULES else None
    if old in MODULES:
        with pytest.warns(DeprecationWarning, match=f"{path} is now urgentmos_jax.{MODULES[old][0]}"):
            module = importlib.import_module(path)
    else:
        module = importlib.import_module(path)
    for name in (*SHOWN.get(old, ()), *(name for module, name in NAMES if module == old)):
        assert getattr(module, name) is not None


def test_what_never_was_is_not_found():
    with pytest.raises(ModuleNotFoundError):
        importlib.import_module("urgentmos_jax.never")
    with pytest.warns(DeprecationWarning):
        sys.modules.pop("urgentmos_jax.losses", None)
        losses = importlib.import_module("urgentmos_jax.losses")
    with pytest.raises(AttributeError, match=r"urgentmos_jax\.losses.* has no attribute 'never'"):
        losses.never  # noqa: B018
