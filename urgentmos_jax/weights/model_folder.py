"""The model folder: `config.json` and `model.safetensors`. Self-contained; loading runs no code from it."""

import dataclasses
import json
import math
import os
import shutil
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import safetensors.numpy
from flax import nnx

from urgentmos_jax.encoders import ENCODERS
from urgentmos_jax.metrics import Metric
from urgentmos_jax.model.heads import HeadConfig
from urgentmos_jax.model.transformer import TransformerConfig
from urgentmos_jax.model.urgentmos import EncoderConfig, ModelConfig, UrgentMOS
from urgentmos_jax.schema import type_faults
from urgentmos_jax.version import __version__
from urgentmos_jax.weights.rules import fill, flat_state
from urgentmos_jax.weights.safetensors import read_safetensors

__all__ = ["FORMAT_VERSION", "ModelFolderError", "is_model_folder", "load_folder", "save_folder"]

FORMAT_VERSION = 1
CONFIG_FILE, WEIGHTS_FILE = "config.json", "model.safetensors"


class ModelFolderError(ValueError):
    """The folder holds no model of ours, or one that cannot be read."""


def save_folder(folder: str | Path, module: UrgentMOS, origin: dict[str, Any]) -> None:
    """Writes a model folder, whole or not at all.

    Args:
        folder: New or empty, or a model folder to be replaced.
        module: The model with its weights.
        origin: Where the weights come from (file hash, training run).

    Raises:
        FileExistsError: the folder holds something other than a model, or more than one.
    """
    folder = Path(folder).resolve()
    held = {path.name for path in folder.iterdir()} if folder.exists() else set()
    if held - {CONFIG_FILE, WEIGHTS_FILE} or (held and not is_model_folder(folder)):
        raise FileExistsError(f"{folder} holds other than a model: {sorted(held)[:5]}; choose another folder")
    folder.parent.mkdir(parents=True, exist_ok=True)
    config = {
        "format": "urgentmos_jax",
        "format_version": FORMAT_VERSION,
        "tool_version": __version__,
        "sample_rate_hz": 16000,
        "model": config_to_json(module.config),
        "origin": origin,
    }
    arrays = {path: np.ascontiguousarray(value[...]) for path, value in flat_state(module).items()}
    fresh = Path(tempfile.mkdtemp(prefix=f".{folder.name}.", dir=folder.parent))
    try:
        (fresh / CONFIG_FILE).write_text(json.dumps(config, indent=1) + "\n", encoding="utf-8")
        safetensors.numpy.save_file(arrays, fresh / WEIGHTS_FILE)
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


def is_model_folder(folder: Path) -> bool:
    """Whether the folder's config.json is one of ours."""
    try:
        content = json.loads((folder / CONFIG_FILE).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return False
    return isinstance(content, dict) and content.get("format") == "urgentmos_jax"


def load_folder(folder: str | Path) -> tuple[UrgentMOS, dict[str, Any]]:
    """Reads a model folder.

    Returns:
        The model with its weights, and the content of config.json.

    Raises:
        ModelFolderError: config.json is missing, damaged, of another tool or of a newer format.
        DamagedFile: model.safetensors is.
        WeightsError: config and weights disagree, or a weight is not finite; every parameter is named.
    """
    folder = Path(folder)
    path = folder / CONFIG_FILE
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ModelFolderError(f"{path}: cannot be read ({error}); give a folder made by `urgentmos convert`") from None
    if not isinstance(content, dict) or content.get("format") != "urgentmos_jax":
        raise ModelFolderError(f"{path}: not the config of an urgentmos_jax model; see `urgentmos convert`")
    if content.get("format_version") != FORMAT_VERSION:
        raise ModelFolderError(
            f"{path}: format version {content.get('format_version')}, this is {__version__} for version "
            f"{FORMAT_VERSION}; install a release that reads it"
        )
    try:
        if content["sample_rate_hz"] != 16000:
            raise ValueError(f"sample_rate_hz is {content['sample_rate_hz']}, supported is 16000")
        if not isinstance(content["origin"], dict):
            raise ValueError("origin is no object")
        config = config_from_json(content["model"])
        if faults := list(type_faults(config)):
            raise ValueError("; ".join(faults))
        module = nnx.eval_shape(lambda: UrgentMOS(config, rngs=nnx.Rngs(0)))
    except (ArithmeticError, AttributeError, LookupError, TypeError, ValueError) as error:
        raise ModelFolderError(f"{path}: not a config this release knows ({error!r})") from None
    weights = folder / WEIGHTS_FILE
    arrays = read_safetensors(weights)
    fill(module, arrays, origin=str(weights))
    return module, content


def config_to_json(config: ModelConfig) -> dict[str, Any]:
    """ModelConfig -> plain values; an open bound is null."""
    values = dataclasses.asdict(config)
    for metrics in values["categories"].values():
        for metric in metrics.values():
            for bound in ("minimum", "maximum"):
                metric[bound] = metric[bound] if math.isfinite(metric[bound]) else None
    return values


def config_from_json(values: dict[str, Any]) -> ModelConfig:
    """The inverse of `config_to_json`.

    Raises:
        KeyError, TypeError: a key is unknown or missing.
    """

    def stack(values: dict[str, Any] | None) -> TransformerConfig | None:
        return None if values is None else TransformerConfig(**values)

    def head(values: dict[str, Any]) -> HeadConfig:
        return HeadConfig(**{**values, "transformer": stack(values["transformer"])})

    def encoder(values: dict[str, Any]) -> EncoderConfig:
        family = ENCODERS[values["architecture"]["model_type"]].config_class
        sizes = {key: tuple(v) if isinstance(v, list) else v for key, v in values["architecture"].items()}
        return EncoderConfig(**{**values, "architecture": family(**sizes)})

    def metric(values: dict[str, Any]) -> Metric:
        low, high = values["minimum"], values["maximum"]
        return Metric(-math.inf if low is None else low, math.inf if high is None else high, values["comparative"])

    return ModelConfig(
        **{
            **values,
            "encoders": tuple(encoder(e) for e in values["encoders"]),
            "categories": {c: {n: metric(m) for n, m in ms.items()} for c, ms in values["categories"].items()},
            "shared": stack(values["shared"]),
            "category": stack(values["category"]),
            "absolute": head(values["absolute"]),
            "comparative": head(values["comparative"]),
        }
    )
