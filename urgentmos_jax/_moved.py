"""Python paths of version 0.1.0 that the README or a notebook showed: they work for one version, with a warning."""

import importlib
import sys
import warnings
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import Any

# Old module -> where its names are now; the first that has a name gives it.
MODULES: dict[str, tuple[str, ...]] = {
    "authors": ("weights.urgent_mos",),
    "corpora.health": ("manifests.checking",),
    "corpora.pairs": ("manifests.pairs",),
    "decoding": ("scoring.decoding",),
    "encoders.pretrained": ("weights.encoder_folder",),
    "evaluation.bootstrap": ("statistics.bootstrap",),
    "evaluation.correlation": ("statistics.correlation",),
    "evaluation.joining": ("evaluation.predicting", "evaluation.predictions", "evaluation.datasets"),
    "evaluation.judging": ("ranking.comparisons",),
    "evaluation.preference": ("statistics.preference",),
    "evaluation.ranking": ("ranking.ranking",),
    "evaluation.systems": ("ranking.systems",),
    "loading": ("scoring.loading", "scoring.stored"),
    "losses": ("model.losses",),
    "manifest": ("manifests.records", "manifests.reading", "manifests.writing", "manifests.durations"),
    "model.released": ("weights.model_folder",),
    "model.sizes": ("model.cost",),
    "submission": ("challenges.vmc2026",),
    "torch_file": ("weights.torch_zip",),
}
# (Old module, old name) -> name now.
NAMES: dict[tuple[str, str], str] = {
    ("corpora.health", "Health"): "Summary",
    ("corpora.health", "examine"): "check_manifests",
    ("corpora.pairs", "draw_pairs"): "sample_pairs",
    ("evaluation.judging", "Judgement"): "Comparisons",
    ("evaluation.judging", "judge"): "compare_by_model",
    ("evaluation.judging", "judge_by_predictions"): "compare_by_predictions",
    ("evaluation.bootstrap", "Judged"): "Estimates",
    ("evaluation.bootstrap", "judged"): "estimates",
    ("evaluation.joining", "Corpus"): "Dataset",
    ("evaluation.joining", "read_corpora"): "read_datasets",
}


class _Finder(MetaPathFinder, Loader):
    """Finds the old modules, after every other finder has failed."""

    def find_spec(self, fullname: str, path: Any = None, target: ModuleType | None = None) -> ModuleSpec | None:
        package, _, old = fullname.partition(".")
        return ModuleSpec(fullname, self) if package == __package__ and old in MODULES else None

    def exec_module(self, module: ModuleType) -> None:
        old = module.__name__.partition(".")[2]
        places = [f"{__package__}.{name}" for name in MODULES[old]]
        text = f"{module.__name__} is now {' and '.join(places)}; the old path goes with the next version"
        warnings.warn(text, DeprecationWarning, stacklevel=2)
        found = [importlib.import_module(place) for place in places]

        def get(name: str) -> Any:
            now = NAMES.get((old, name), name)
            for one in found:
                if hasattr(one, now):
                    return getattr(one, now)
            raise AttributeError(f"module {module.__name__!r} has no attribute {name!r}")

        module.__getattr__ = get  # type: ignore[method-assign]  # PEP 562: the way a module gets one.


def install() -> None:
    """Lets the old paths be imported."""
    if not any(isinstance(finder, _Finder) for finder in sys.meta_path):
        sys.meta_path.append(_Finder())
