"""Folders on this machine, or snapshots of hub repositories."""

from pathlib import Path

import huggingface_hub


class ModelNotFound(FileNotFoundError):
    """Neither a folder nor a hub repository that can be reached."""


def find_folder(source: str | Path, *, files: tuple[str, ...], revision: str | None = None) -> Path:
    """A local folder: `source` itself, or the snapshot of a hub repository, downloaded where it is not cached.

    Args:
        source: Folder or hub id (`owner/name`).
        files: Patterns of the files wanted from the hub.
        revision: Branch, tag or commit of the hub repository.

    Raises:
        ModelNotFound: saying what was tried and how to give a folder instead.
    """
    if Path(source).is_dir():
        return Path(source)
    name = str(source)
    if Path(source).exists():
        raise ModelNotFound(f"{name}: a file; give the folder of a model, or a hub id (owner/name)")
    if name.count("/") != 1 or name.startswith((".", "/", "~")):
        raise ModelNotFound(f"{name}: no such folder, and not a hub id (owner/name)")
    try:
        folder = Path(huggingface_hub.snapshot_download(name, revision=revision, allow_patterns=list(files)))
    except Exception as error:  # Of the hub, of its HTTP client, or of the disk: they have no base in common.
        reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise ModelNotFound(
            f"{name}: no folder of this name, and the hub repository could not be downloaded ({reason}). Without "
            f"network: copy the repository's files to a folder on this machine and give its path"
        ) from None
    if not any(any(folder.glob(pattern)) for pattern in files):
        raise ModelNotFound(f"{name}: the hub repository has none of {', '.join(files)}; check the id")
    return folder
