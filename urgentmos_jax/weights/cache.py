"""Models by name, folder or hub id; the authors' checkpoints are converted once and kept in the user's cache folder."""

from pathlib import Path

from urgentmos_jax.version import __version__
from urgentmos_jax.weights.hub import content_hash, find_folder
from urgentmos_jax.weights.model_folder import (
    CONFIG_FILE,
    DISTRIBUTION_FILE,
    FORMAT_VERSION,
    WEIGHTS_FILE,
    is_model_folder,
    save_folder,
)
from urgentmos_jax.weights.urgent_mos import read_checkpoint
from urgentmos_jax.weights.user_cache import cache_folder, tell, temporary_folder

_PACKAGED = Path(__file__).with_name("packaged")
# Models within the package, by name.
PACKAGED = ("urgentmos-small",)


def find_model(source: str | Path, *, revision: str | None = None) -> Path:
    """The model folder on this machine: that of `source`, downloaded or converted where it is not cached.

    Args:
        source: A name of `PACKAGED`; a model folder; or a hub id (`owner/name`, `owner/name@revision`) of a model
            folder or of a checkpoint of the authors.
        revision: Branch, tag or commit of the hub repository.

    Raises:
        ModelNotFound: no such folder, and no hub repository that can be reached.
        HubFileChanged: a file is not the one that was downloaded first.
        DamagedFile, WeightsError, UnsafeCheckpoint: the authors' checkpoint of the repository cannot be converted.
    """
    if str(source) in PACKAGED and revision is None:
        return _PACKAGED / str(source)
    files = (CONFIG_FILE, WEIGHTS_FILE, DISTRIBUTION_FILE, "model.pt")
    folder = find_folder(source, files=files, revision=revision)
    if not is_model_folder(folder) and (folder / "model.pt").is_file() and not Path(source).is_dir():
        return _converted(folder / "model.pt")
    return folder


def _converted(checkpoint: Path) -> Path:
    """The model folder of an authors' checkpoint, converted once for each content of the file."""
    name = content_hash(checkpoint)[:32]
    kept = cache_folder("models", f"format-{FORMAT_VERSION}-tool-{__version__}")
    target = (kept or temporary_folder()) / name
    if not is_model_folder(target):
        converted = read_checkpoint(checkpoint)
        try:
            save_folder(target, converted.module, converted.origin)
        except OSError as error:
            tell(error)
            target = temporary_folder() / name
            save_folder(target, converted.module, converted.origin)
    return target
