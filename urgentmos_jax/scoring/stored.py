"""What a model is made of, from folders and the hub; compiled programs are kept in the user's cache folder."""

import dataclasses
import hashlib
import platform
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import jax
import safetensors.numpy

from urgentmos_jax.files import atomic_write
from urgentmos_jax.model.urgentmos import UrgentMOS
from urgentmos_jax.schema import SchemaError, read
from urgentmos_jax.scoring.rows import Calibrations
from urgentmos_jax.statistics.calibration import Calibration
from urgentmos_jax.statistics.training_distribution import TrainingDistribution
from urgentmos_jax.version import __version__
from urgentmos_jax.weights.cache import find_model
from urgentmos_jax.weights.hub import push_files
from urgentmos_jax.weights.model_card import model_card
from urgentmos_jax.weights.model_folder import (
    CARD_FILE,
    CONFIG_FILE,
    DISTRIBUTION_FILE,
    WEIGHTS_FILE,
    ModelFolderError,
    load_folder,
    read_folder_config,
)
from urgentmos_jax.weights.safetensors import DamagedFile, read_safetensors
from urgentmos_jax.weights.user_cache import cache_folder


@dataclasses.dataclass(frozen=True)
class StoredModel:
    """A model folder that was read: the module with its weights, and what `Model` is told besides."""

    module: UrgentMOS
    origin: dict[str, Any]
    name: str
    folder: Path
    calibrations: Calibrations
    distribution: TrainingDistribution | None


def read_stored(source: str | Path, revision: str | None) -> StoredModel:
    """Reads a model folder, or a hub repository; see `Model.from_pretrained`."""
    folder = find_model(source, revision=revision)
    module, content = load_folder(folder)
    name = str(source) if revision is None else f"{source}@{revision}"
    calibrations = _calibrations(folder / CONFIG_FILE, content, list(module.config.metrics))
    distribution = _distribution(folder / DISTRIBUTION_FILE, module.config.width)
    return StoredModel(module, content["origin"], name, folder, calibrations, distribution)


def add_distribution(folder: str | Path, distribution: TrainingDistribution) -> None:
    """Writes what the training clips look like into a model folder, beside weights that stay as they are."""
    with atomic_write(Path(folder) / DISTRIBUTION_FILE, binary=True) as file:
        file.write(safetensors.numpy.save(vars(distribution)))


def push_stored(folder: Path, repo_id: str, *, card: str | None, **where: Any) -> str:
    """Pushes a model folder; see `Model.push_to_hub`."""
    written = folder / CARD_FILE
    if card is None and written.is_file():
        card = written.read_text(encoding="utf-8")
    if card is None:
        card = model_card(read_folder_config(folder)[1], repo_id)
    names = CONFIG_FILE, WEIGHTS_FILE, DISTRIBUTION_FILE
    files: dict[str, Path | bytes] = {name: folder / name for name in names if (folder / name).exists()}
    files[CARD_FILE] = card.encode()
    return push_files(repo_id, files, message=f"Model of urgentmos_jax {__version__}", **where)


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


def _distribution(path: Path, width: int) -> TrainingDistribution | None:
    """Of the file that models lack whose training clips are not known."""
    if not path.exists():
        return None
    try:
        found = TrainingDistribution(**read_safetensors(path))
    except (TypeError, ValueError) as error:
        text = str(error) if isinstance(error, DamagedFile) else f"{path}: {error}"
        raise ModelFolderError(f"{text}; rows have no flag unlike_training without it") from None
    if len(found.mean) != width:
        raise ModelFolderError(f"{path}: of {len(found.mean)} features, the model has {width}; it is of another model")
    return found


def _processor() -> str:
    """Name for the kind of processor: compiled CPU programs run on their own kind only."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        features = next((line for line in lines if line.startswith(("flags", "Features"))), "")
    except OSError:
        features = platform.processor()
    return f"{platform.machine()}-{hashlib.sha256(features.encode()).hexdigest()[:12]}"
