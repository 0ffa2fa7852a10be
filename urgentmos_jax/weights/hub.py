"""Folders on this machine, or snapshots of hub repositories whose files stay what they were at the first download.

And what is pushed there.
"""

import functools
import json
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import huggingface_hub
import huggingface_hub.errors

from urgentmos_jax.files import file_hash, write_json
from urgentmos_jax.weights.user_cache import cache_folder, tell, temporary_folder


class ModelNotFound(FileNotFoundError):
    """Neither a folder nor a hub repository that can be reached."""


class PushFailed(OSError):
    """Nothing was pushed to the hub; the message says why."""


class HubFileChanged(ValueError):
    """A file of a hub repository is not the one that was downloaded first; the message names both revisions."""


def find_folder(source: str | Path, *, files: tuple[str, ...], revision: str | None = None) -> Path:
    """A local folder: `source` itself, or the snapshot of a hub repository, downloaded where it is not cached.

    Args:
        source: Folder, or hub id: `owner/name`, or `owner/name@revision`.
        files: Patterns of the files wanted from the hub.
        revision: Branch, tag or commit of the hub repository; by default that of `source`, else main.

    Raises:
        ModelNotFound: saying what was tried and how to give a folder instead.
        HubFileChanged: a file is not the one that was downloaded first under that revision.
    """
    name = str(source)
    if Path(source).is_dir():
        if revision is not None:
            raise ModelNotFound(f"{name}: a folder on this machine has no revision {revision}; leave the revision out")
        return Path(source)
    if Path(source).exists():
        raise ModelNotFound(f"{name}: a file; give the folder of a model, or a hub id (owner/name)")
    if revision is None and "@" in name:
        name, revision = name.rsplit("@", 1)
    if name.count("/") != 1 or name.startswith((".", "/", "~")):
        raise ModelNotFound(f"{name}: no such folder, and not a hub id (owner/name)")
    try:
        folder = _snapshot(name, files, revision)
    except huggingface_hub.errors.RevisionNotFoundError:
        raise ModelNotFound(
            f"{name}: the hub repository has no revision {revision or 'main'}; give a branch, tag or commit of it"
        ) from None
    except Exception as error:  # Of the hub, of its HTTP client, or of the disk: they have no base in common.
        raise ModelNotFound(
            f"{name}: no folder of this name, and the hub repository could not be downloaded ({_first_line(error)}). "
            f"Without network: copy the repository's files to a folder on this machine and give its path"
        ) from None
    found = sorted({path for pattern in files for path in folder.glob(pattern)})
    if not found:
        raise ModelNotFound(f"{name}: the hub repository has none of {', '.join(files)}; check the id")
    if (records := cache_folder("hub")) is not None:
        _compare(records / f"{name.replace('/', '--')}.json", name, revision or "main", found)
    return folder


def push_files(
    repo_id: str,
    files: Mapping[str, Path | bytes],
    *,
    message: str,
    revision: str | None = None,
    private: bool | None = None,
    token: str | None = None,
) -> str:
    """Pushes files to a hub repository in one commit, so that nobody downloads files of two versions.

    Args:
        repo_id: `owner/name`; made where it is not there.
        files: {name in the repository: file, or its content}.
        message: Of the commit.
        revision: Branch, made where it is not there; None = main.
        private: Whether a repository that is made is private; None = as the hub has it.
        token: Of the hub; None = that of `hf auth login`.

    Returns:
        Address of the commit.

    Raises:
        ValueError: that is no id.
        PushFailed: the hub cannot be reached, or does not let this token write.
    """
    if repo_id.count("/") != 1 or repo_id.startswith((".", "/", "~")):
        raise ValueError(f"{repo_id}: not the id of a hub repository (owner/name)")
    additions = [huggingface_hub.CommitOperationAdd(name, content) for name, content in files.items()]
    try:
        api = huggingface_hub.HfApi(token=token)
        api.create_repo(repo_id, private=private, exist_ok=True)
        if revision is not None:
            api.create_branch(repo_id, branch=revision, exist_ok=True)
        return str(api.create_commit(repo_id, additions, commit_message=message, revision=revision).commit_url)
    except Exception as error:  # As in `find_folder`.
        raise PushFailed(
            f"{repo_id}: could not be pushed ({_first_line(error)}); log in by `hf auth login`, or give a token that "
            f"may write there"
        ) from error


@functools.lru_cache
def _content_hash(path: Path, size: int, changed_ns: int) -> str:
    return file_hash(path)


def content_hash(path: Path) -> str:
    """SHA-256 of a file, computed once in a process unless the file changes."""
    found = path.stat()
    return _content_hash(path, found.st_size, found.st_mtime_ns)


def _first_line(error: Exception) -> str:
    lines = str(error).strip().splitlines()
    return lines[0] if lines else type(error).__name__


def _snapshot(name: str, files: tuple[str, ...], revision: str | None) -> Path:
    wanted: dict[str, Any] = {"revision": revision, "allow_patterns": list(files)}
    try:
        return Path(huggingface_hub.snapshot_download(name, **wanted))
    except OSError:
        if _is_writable(Path(huggingface_hub.constants.HF_HUB_CACHE)):
            raise
        return Path(huggingface_hub.snapshot_download(name, cache_dir=temporary_folder() / "hub", **wanted))


def _is_writable(folder: Path) -> bool:
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            return True
    except OSError as error:
        tell(error)
        return False


def _compare(record: Path, name: str, revision: str, files: list[Path]) -> None:
    """Compares files with those that were downloaded first; the record gets those that are new.

    Raises:
        HubFileChanged: naming the first that differs.
    """
    try:
        recorded = json.loads(record.read_text(encoding="utf-8"))
        first = {file: (one["commit"], one["sha256"]) for file, one in recorded.get(revision, {}).items()}
    except (OSError, ValueError, LookupError, AttributeError, TypeError):
        recorded, first = {}, {}
    now = {path.name: (path.parent.name, content_hash(path)) for path in files}
    for path in files:
        (old_commit, old), (commit, found) = first.get(path.name, now[path.name]), now[path.name]
        if old == found:
            continue
        if old_commit == commit:
            raise HubFileChanged(
                f"{path}: not what was downloaded from {name} (SHA-256 {found[:12]}, it was {old[:12]}); remove "
                f"{path.parents[2]}, it is then downloaded again"
            )
        raise HubFileChanged(
            f"{name}: the hub's {path.name} is not the one that was downloaded first. Give {name}@{old_commit} for "
            f"that, {name}@{commit} for the new one, or remove {record} to take what the hub has from now on"
        )
    if now.keys() - first.keys():
        kept = {file: {"commit": commit, "sha256": digest} for file, (commit, digest) in (now | first).items()}
        try:
            write_json(record, recorded | {revision: kept})
        except OSError as error:
            tell(error)
