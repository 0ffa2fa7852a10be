"""Models from folders and the hub, and what is kept of them in the user's cache folder."""

import hashlib
import os
import platform
from pathlib import Path

import jax

from urgentmos_jax.files import file_hash
from urgentmos_jax.scoring.engine import Precision
from urgentmos_jax.scoring.model import Model
from urgentmos_jax.version import __version__
from urgentmos_jax.weights import urgent_mos as authors
from urgentmos_jax.weights.encoder_folder import find_folder
from urgentmos_jax.weights.model_folder import FORMAT_VERSION, is_model_folder, load_folder, save_folder

__all__ = ["find_model", "keep_compiled_programs", "load_model"]


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
        ModelFolderError, DamagedFile, WeightsError, UnsafeCheckpoint: the files are not whole or do not fit.
    """
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
    )


def keep_compiled_programs() -> None:
    """Keeps compiled programs in the user's cache folder, unless jax has such a folder already."""
    if not jax.config.jax_compilation_cache_dir:
        jax.config.update("jax_compilation_cache_dir", str(_private_folder("compiled", _processor())))


def find_model(source: str | Path, *, revision: str | None = None) -> Path:
    """The local folder of a model that `load_model` would load.

    Raises:
        ModelNotFound: no such folder, and no hub repository that can be reached.
        DamagedFile, WeightsError, UnsafeCheckpoint: the authors' checkpoint of the repository cannot be converted.
    """
    folder = find_folder(source, files=("config.json", "model.safetensors", "model.pt"), revision=revision)
    if not is_model_folder(folder) and (folder / "model.pt").is_file() and not Path(source).is_dir():
        return _converted(folder)
    return folder


def _private_folder(*parts: str) -> Path:
    """A folder of ours in the user's cache folder that no one else can write to."""
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    folder = Path(base, "urgentmos", *parts)
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    return folder


def _processor() -> str:
    """Name for the kind of processor: compiled CPU programs run on their own kind only."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        features = next((line for line in lines if line.startswith(("flags", "Features"))), "")
    except OSError:
        features = platform.processor()
    return f"{platform.machine()}-{hashlib.sha256(features.encode()).hexdigest()[:12]}"


def _converted(folder: Path) -> Path:
    """The model folder of an authors' checkpoint, converted once for each revision of the file."""
    checkpoint = folder / "model.pt"
    target = _private_folder("models", f"format-{FORMAT_VERSION}-tool-{__version__}") / file_hash(checkpoint)[:32]
    if not is_model_folder(target):
        converted = authors.read_checkpoint(checkpoint)
        save_folder(target, converted.module, converted.origin)
    return target
