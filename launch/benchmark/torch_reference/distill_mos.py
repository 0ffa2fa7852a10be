"""Distill-MOS by its own package `distillmos`, the reference of our encoder and converter."""

import contextlib
import importlib
import importlib.util
import io
import sys
import types
from pathlib import Path
from typing import Any

_NEEDED = ("torch", "distillmos", "xls_r_sqa")


def weights_file() -> Path:
    """`distill_mos_v7.pt` as it lies in the package.

    Raises:
        ModuleNotFoundError: The package is not there, or what it needs; with what to do.
    """
    specs = {name: importlib.util.find_spec(name) for name in _NEEDED}
    if missing := [name for name, spec in specs.items() if spec is None]:
        raise ModuleNotFoundError(
            f"{', '.join(missing)} missing: pip install torch && pip install --no-deps distillmos xls-r-sqa"
        )
    return Path(specs["distillmos"].origin).parent / "weights" / "distill_mos_v7.pt"


def package() -> types.ModuleType:
    """The package's module.

    It imports torchaudio, and needs it for reading files alone, so that an empty module stands for it here.

    Raises:
        ModuleNotFoundError: As of `weights_file`.
    """
    weights_file()
    before = sys.modules.get("torchaudio")
    sys.modules["torchaudio"] = types.ModuleType("torchaudio")
    try:
        return importlib.import_module("distillmos.sqa")
    finally:
        del sys.modules["torchaudio"]
        if before is not None:
            sys.modules["torchaudio"] = before


def package_model() -> Any:
    """The package's model with its weights, in evaluation: [1, T] at 16 kHz -> [1, 1]."""
    with contextlib.redirect_stdout(io.StringIO()):  # It tells where its weights are.
        return package().ConvTransformerSQAModel().eval()
