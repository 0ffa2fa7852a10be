"""Packages that define labels and are no part of a plain installation: importing them, and what to do without one."""

import contextlib
import functools
import importlib
import importlib.metadata
import importlib.util
import threading
from collections.abc import Callable, Collection, Iterable, Iterator
from types import ModuleType
from typing import TypeVar

import numpy as np

Loaded = TypeVar("Loaded")

_EXTRAS = {
    "labels": ("pystoi", "pesq", "fast_bss_eval", "pysptk", "fastdtw"),
    "predictors": ("speechmos", "onnxruntime", "librosa", "requests"),
    "predictors-torch": (
        "torch", "transformers", "Levenshtein", "utmos_pytorch", "scoreq_pytorch", "torchmetrics", "librosa", "requests"
    ),
}  # fmt: skip
# What pip cannot install beside the rest: pesqc2 asks for numpy 1, espnet for an older fast_bss_eval; neither needs it.
_ESPNET = 'pip install espnet espnet_model_zoo torchaudio && pip install "fast_bss_eval >= 0.1.4"'
_BY_HAND = {
    "pesqc2": "pip install setuptools wheel cython && pip install --no-deps --no-build-isolation --use-pep517 pesqc2",
    "espnet2": _ESPNET,
    "espnet_model_zoo": _ESPNET,
}
_DISTRIBUTIONS = {"espnet2": "espnet"}
_GLOBAL_RANDOM = threading.Lock()


class WeightsMissing(RuntimeError):
    """Weights of a predictor that cannot be had; the message says what to do."""


def installed(packages: Iterable[str]) -> bool:
    """Whether all of them are installed."""
    return all(map(importlib.util.find_spec, packages))


def how_to_install(packages: Collection[str]) -> str:
    """The commands that install them: the extra that has them all, and what has to be installed by hand."""
    by_hand = [_BY_HAND[package] for package in packages if package in _BY_HAND]
    others = set(packages) - _BY_HAND.keys()
    extras = [f'pip install "urgentmos_jax[{extra}]"' for extra, members in _EXTRAS.items() if others <= set(members)]
    return " && ".join(dict.fromkeys([*extras[: bool(others)], *by_hand]))


def version_of(package: str) -> str:
    """The version of an installed package, by the name it is imported by."""
    try:
        return importlib.metadata.version(_DISTRIBUTIONS.get(package, package))
    except importlib.metadata.PackageNotFoundError:
        return "unknown"


def import_package(name: str) -> ModuleType:
    """Imports a package, or a module of one.

    Raises:
        ModuleNotFoundError: It is not installed, or what it needs; with what to do.
    """
    package = name.partition(".")[0]
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        missing = package if error.name in (None, name) else error.name
        text = f"{missing} is missing: {how_to_install([package])}, or leave its metrics out"
        raise ModuleNotFoundError(text, name=package) from error


def loaded_once(what: str) -> Callable[[Callable[..., Loaded]], Callable[..., Loaded]]:
    """Makes a function that loads a predictor load it once a process.

    Args:
        what: Where its weights come from, for the error.

    Raises:
        WeightsMissing: Whatever else than a missing package keeps it from loading.
    """

    def cached(load: Callable[..., Loaded]) -> Callable[..., Loaded]:
        @functools.cache
        @functools.wraps(load)
        def once(*arguments: str) -> Loaded:
            try:
                return load(*arguments)
            except ModuleNotFoundError:
                raise
            except Exception as error:  # Each library has its own.
                text = f"{what} could not be loaded ({type(error).__name__}: {error})"
                raise WeightsMissing(
                    f"{text}; download it where there is a network, or leave its metrics out"
                ) from None

        return once

    return cached


@contextlib.contextmanager
def same_random_numbers() -> Iterator[None]:
    """Gives a package that draws from numpy's global generator the same numbers each time; the caller's stay theirs."""
    with _GLOBAL_RANDOM:
        state = np.random.get_state()
        np.random.seed(0)
        try:
            yield
        finally:
            np.random.set_state(state)
