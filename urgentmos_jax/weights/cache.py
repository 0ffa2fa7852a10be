"""Models by folder or hub id; what is made of them once is kept in the user's cache folder."""

import os
from pathlib import Path

from urgentmos_jax.files import file_hash
from urgentmos_jax.version import __version__
from urgentmos_jax.weights.hub import find_folder
from urgentmos_jax.weights.model_folder import FORMAT_VERSION, is_model_folder, save_folder
from urgentmos_jax.weights.urgent_mos import read_checkpoint


def find_model(source: str | Path, *, revision: str | None = None) -> Path:
    """The model folder on this machine: that of `source`, downloaded or converted where it is not cached.

    Args:
        source: A model folder, or a hub id (`owner/name`) of a model folder or of a checkpoint of the authors.
        revision: Branch, tag or commit of the hub repository.

    Raises:
        ModelNotFound: no such folder, and no hub repository that can be reached.
        DamagedFile, WeightsError, UnsafeCheckpoint: the authors' checkpoint of the repository cannot be converted.
    """
    folder = find_folder(source, files=("config.json", "model.safetensors", "model.pt"), revision=revision)
    if not is_model_folder(folder) and (folder / "model.pt").is_file() and not Path(source).is_dir():
        return _converted(folder / "model.pt")
    return folder


def cache_folder(*parts: str) -> Path:
    """A folder of ours in the user's cache folder, made so that no one else can write to it."""
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    folder = Path(base, "urgentmos", *parts)
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    return folder


def _converted(checkpoint: Path) -> Path:
    """The model folder of an authors' checkpoint, converted once for each content of the file."""
    target = cache_folder("models", f"format-{FORMAT_VERSION}-tool-{__version__}") / file_hash(checkpoint)[:32]
    if not is_model_folder(target):
        converted = read_checkpoint(checkpoint)
        save_folder(target, converted.module, converted.origin)
    return target
