"""The model folder: `config.json` and `model.safetensors`, and perhaps `training_distribution.safetensors`.

Self-contained; loading runs no code from it.
"""

import dataclasses
import json
import os
import shutil
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

import numpy as np
import safetensors.numpy
from flax import nnx

from urgentmos_jax.model.urgentmos import ModelConfig, UrgentMOS
from urgentmos_jax.schema import as_json, read
from urgentmos_jax.version import __version__
from urgentmos_jax.weights.rules import fill, flat_state
from urgentmos_jax.weights.safetensors import read_safetensors

FORMAT_VERSION = 1
CONFIG_FILE, WEIGHTS_FILE, CARD_FILE = "config.json", "model.safetensors", "README.md"
# What the training clips look like; a folder without it is a whole one.
DISTRIBUTION_FILE = "training_distribution.safetensors"


class ModelFolderError(ValueError):
    """The folder holds no model of ours, or one that cannot be read."""


@dataclasses.dataclass(frozen=True)
class _Content:
    """What is read of config.json."""

    sample_rate_hz: Literal[16000]
    model: ModelConfig
    origin: dict[str, Any]


def save_folder(
    folder: str | Path,
    module: UrgentMOS,
    origin: dict[str, Any],
    calibration: dict[str, Any] | None = None,
    distribution: Mapping[str, np.ndarray] | None = None,
) -> None:
    """Writes a model folder, whole or not at all.

    Args:
        folder: New or empty, or a model folder to be replaced.
        module: The model with its weights.
        origin: Where the weights come from (file hash, training run).
        calibration: {metric: `statistics.calibration.Calibration` as JSON}, of a model that is calibrated.
        distribution: Arrays of a `statistics.training_distribution.TrainingDistribution`, where it is known.

    Raises:
        FileExistsError, OSError: as `check_target`.
    """
    folder = check_target(folder)
    folder.parent.mkdir(parents=True, exist_ok=True)
    config = {
        "format": "urgentmos_jax",
        "format_version": FORMAT_VERSION,
        "tool_version": __version__,
        "sample_rate_hz": 16000,
        "model": as_json(module.config),
        "origin": origin,
        **({"calibration": calibration} if calibration else {}),
    }
    arrays = {path: np.ascontiguousarray(value[...]) for path, value in flat_state(module).items()}
    fresh = Path(tempfile.mkdtemp(prefix=f".{folder.name}.", dir=folder.parent))
    try:
        (fresh / CONFIG_FILE).write_text(json.dumps(config, indent=1) + "\n", encoding="utf-8")
        safetensors.numpy.save_file(arrays, fresh / WEIGHTS_FILE)
        if distribution:
            safetensors.numpy.save_file(dict(distribution), fresh / DISTRIBUTION_FILE)
        fresh.chmod(0o755)
        aside = fresh.with_name(fresh.name + ".old")
        if folder.exists():
            os.replace(folder, aside)
        try:
            os.replace(fresh, folder)
        except OSError:
            if aside.exists():
                os.replace(aside, folder)
            raise
        shutil.rmtree(aside, ignore_errors=True)
    finally:
        shutil.rmtree(fresh, ignore_errors=True)


def check_target(folder: str | Path) -> Path:
    """The absolute path of a model folder that can be written, or replaced; to be asked before long work.

    Raises:
        FileExistsError: it is a file, or holds something other than a model, or more than one.
        OSError: nothing can be written where it would be.
    """
    folder = Path(folder).resolve()
    if folder.exists() and not folder.is_dir():
        raise FileExistsError(f"{folder} is a file; choose another folder")
    held = {path.name for path in folder.iterdir()} if folder.exists() else set()
    if held - {CONFIG_FILE, WEIGHTS_FILE, DISTRIBUTION_FILE} or (held and not is_model_folder(folder)):
        raise FileExistsError(f"{folder} holds other than a model: {sorted(held)[:5]}; choose another folder")
    above = next(path for path in folder.parents if path.exists())
    try:
        os.rmdir(tempfile.mkdtemp(prefix=f".{folder.name}.", dir=above))
    except OSError as error:
        raise OSError(f"{folder}: cannot be written ({error.strerror or error}); choose another folder") from None
    return folder


def is_model_folder(folder: Path) -> bool:
    """Whether the folder's config.json is one of ours."""
    try:
        content = json.loads((folder / CONFIG_FILE).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return False
    return isinstance(content, dict) and content.get("format") == "urgentmos_jax"


def read_folder_config(folder: str | Path) -> tuple[ModelConfig, dict[str, Any]]:
    """Reads config.json of a model folder.

    Returns:
        The architecture, and all that the file holds.

    Raises:
        ModelFolderError: it is missing, damaged, of another tool or of a newer format.
    """
    folder = Path(folder)
    path = folder / CONFIG_FILE
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ModelFolderError(f"{path}: cannot be read ({error}); give a folder made by `urgentmos convert`") from None
    if not isinstance(content, dict) or content.get("format") != "urgentmos_jax":
        if (folder / "checkpoints").is_dir():
            advice = "write its model by the command that trained it, with --export DIR added, and give DIR"
            raise ModelFolderError(f"{folder}: the folder of a training run, not a model; {advice}")
        raise ModelFolderError(f"{path}: not the config of an urgentmos_jax model; see `urgentmos convert`")
    if content.get("format_version") != FORMAT_VERSION:
        raise ModelFolderError(
            f"{path}: format version {content.get('format_version')}, this is {__version__} for version "
            f"{FORMAT_VERSION}; install a release that reads it"
        )
    known = {field.name: content[field.name] for field in dataclasses.fields(_Content) if field.name in content}
    try:
        return read(_Content, known).model, content
    except (ArithmeticError, AttributeError, LookupError, TypeError, ValueError) as error:
        raise ModelFolderError(f"{path}: not a config this release knows: {error}") from None


def load_folder(folder: str | Path) -> tuple[UrgentMOS, dict[str, Any]]:
    """Reads a model folder.

    Returns:
        The model with its weights, and the content of config.json.

    Raises:
        ModelFolderError: as `read_folder_config`.
        DamagedFile: model.safetensors is.
        WeightsError: config and weights disagree, or a weight is not finite; every parameter is named.
    """
    folder = Path(folder)
    config, content = read_folder_config(folder)
    try:
        module = nnx.eval_shape(lambda: UrgentMOS(config, rngs=nnx.Rngs(0)))
    except (ArithmeticError, AttributeError, LookupError, TypeError, ValueError) as error:
        raise ModelFolderError(f"{folder / CONFIG_FILE}: not a config this release knows: {error}") from None
    weights = folder / WEIGHTS_FILE
    arrays = read_safetensors(weights)
    fill(module, arrays, origin=str(weights))
    return module, content
