"""Models from folders and the hub; compiled programs are kept in the user's cache folder."""

import ctypes
import hashlib
import platform
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import jax

from urgentmos_jax.schema import SchemaError, read
from urgentmos_jax.scoring.engine import Precision, refuse_fork
from urgentmos_jax.scoring.model import Model
from urgentmos_jax.scoring.rows import Calibrations
from urgentmos_jax.statistics.calibration import Calibration
from urgentmos_jax.weights.cache import find_model
from urgentmos_jax.weights.model_folder import CONFIG_FILE, ModelFolderError, load_folder
from urgentmos_jax.weights.user_cache import cache_folder


def load_model(
    source: str | Path,
    *,
    revision: str | None = None,
    precision: Precision = "float32",
    batch_seconds: float | None = None,
    compile_cache: bool = True,
) -> Model:
    """Loads a model.

    Args:
        source: A model folder (made by `urgentmos convert` or training), or a hub id of a model folder or of the
            authors' checkpoints, which are downloaded, converted once and kept in the user's cache folder.
        revision: Of the hub repository.
        precision: float32 at highest matmul precision, or the encoders in bfloat16.
        batch_seconds: Audio a batch, padding included; None suits the device.
        compile_cache: Keep compiled programs in the user's cache folder, unless jax has such a folder already.

    Raises:
        ModelNotFound: no such folder, and no hub repository that can be reached.
        HubFileChanged: a file of the repository is not the one that was downloaded first under that revision.
        RuntimeError: This process was forked off one that has loaded a model; spawn it.
        ModelFolderError, DamagedFile, WeightsError, UnsafeCheckpoint: the files are not whole or do not fit.
    """
    refuse_fork()
    if compile_cache:
        keep_compiled_programs()
    folder = find_model(source, revision=revision)
    module, content = load_folder(folder)
    return Model(
        module,
        origin=content["origin"],
        name=str(source) if revision is None else f"{source}@{revision}",
        folder=folder,
        precision=precision,
        batch_seconds=batch_seconds,
        calibrations=_calibrations(folder / CONFIG_FILE, content, list(module.config.metrics)),
    )


def keep_compiled_programs() -> None:
    """Keeps compiled programs in the user's cache folder, unless jax has such a folder already."""
    if jax.config.jax_compilation_cache_dir:  # type: ignore[attr-defined]  # jax adds its options at run time.
        return
    if folder := cache_folder("compiled", _processor()):
        jax.config.update("jax_compilation_cache_dir", str(folder))


def keep_freed_memory() -> None:
    """Lets glibc keep the memory that is freed, for processes that compute on a CPU until they end.

    XLA takes its working memory anew in each call; where the system has to clear the pages each time, that takes a
    third of the update of a small model. Elsewhere than on Linux nothing changes.
    """
    trim_threshold, mmap_max, arena_max = -1, -4, -8
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (AttributeError, OSError, TypeError):
        return
    mallopt(mmap_max, 0)
    mallopt(trim_threshold, 2**31 - 1)
    # Other arenas than the first have heaps of 64 MB at most.
    mallopt(arena_max, 1)


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
