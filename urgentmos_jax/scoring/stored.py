"""What a model is made of, from folders and the hub; compiled programs are kept in the user's cache folder."""

import dataclasses
import hashlib
import platform
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import jax

from urgentmos_jax.model.urgentmos import UrgentMOS
from urgentmos_jax.schema import SchemaError, read
from urgentmos_jax.scoring.rows import Calibrations
from urgentmos_jax.statistics.calibration import Calibration
from urgentmos_jax.weights.cache import find_model
from urgentmos_jax.weights.model_folder import CONFIG_FILE, ModelFolderError, load_folder
from urgentmos_jax.weights.user_cache import cache_folder


@dataclasses.dataclass(frozen=True)
class StoredModel:
    """A model folder that was read: the module with its weights, and what `Model` is told besides."""

    module: UrgentMOS
    origin: dict[str, Any]
    name: str
    folder: Path
    calibrations: Calibrations


def read_stored(source: str | Path, revision: str | None) -> StoredModel:
    """Reads a model folder, or a hub repository; see `Model.from_pretrained`."""
    folder = find_model(source, revision=revision)
    module, content = load_folder(folder)
    name = str(source) if revision is None else f"{source}@{revision}"
    calibrations = _calibrations(folder / CONFIG_FILE, content, list(module.config.metrics))
    return StoredModel(module, content["origin"], name, folder, calibrations)


def keep_compiled_programs() -> None:
    """Keeps compiled programs in the user's cache folder, unless jax has such a folder already."""
    if jax.config.jax_compilation_cache_dir:  # type: ignore[attr-defined]  # jax adds its options at run time.
        return
    if folder := cache_folder("compiled", _processor()):
        jax.config.update("jax_compilation_cache_dir", str(folder))


def _calibrations(path: Path, content: Mapping[str, Any], metrics: Sequence[str]) -> Calibrations:
    """Of the key `calibration`, which models that are not calibrated lack."""
    given = content.get("calibration") or {}
    if not isinstance(given, dict) or (unknown := [name for name in given if name not in metrics]):
        what = f"unknown metrics {unknown}" if isinstance(given, dict) else "expected entries by name"
        raise ModelFolderError(f"{path}: calibration: {what}")
    try:
        return {name: read(Calibration, one, name=f"calibration.{name}") for name, one in given.items()}
    except SchemaError as error:
        raise ModelFolderError(f"{path}: {error}") from None


def _processor() -> str:
    """Name for the kind of processor: compiled CPU programs run on their own kind only."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        features = next((line for line in lines if line.startswith(("flags", "Features"))), "")
    except OSError:
        features = platform.processor()
    return f"{platform.machine()}-{hashlib.sha256(features.encode()).hexdigest()[:12]}"
