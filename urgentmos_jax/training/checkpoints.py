"""Checkpoints of a training run: Orbax arrays and, written last, a list of checksums that makes a step complete."""

import hashlib
import json
import logging
import os
import shutil
from pathlib import Path
from typing import Any

import jax
from orbax.checkpoint import v1 as ocp

__all__ = ["CheckpointError", "Checkpoints", "abstract_state"]

logger = logging.getLogger(__name__)

CHECKSUMS = "checksums.json"


class CheckpointError(RuntimeError):
    """A checkpoint cannot be written or read; the message names it."""


class Checkpoints:
    """The steps below one folder, `<step>/state` (Orbax) and `<step>/checksums.json`.

    A step without its list of checksums is one that a killed run was writing: it does not count and is removed.
    Orbax alone would take an empty folder for a step and restore a flipped bit without a word.

    Args:
        folder: Made where it does not exist.
        keep: Steps kept, the newest ones.
    """

    def __init__(self, folder: Path, *, keep: int):
        self.folder, self._keep = Path(folder).absolute(), keep
        self.folder.mkdir(parents=True, exist_ok=True)
        for path in self.folder.iterdir():
            if path.is_dir() and not (path / CHECKSUMS).is_file():
                logger.warning("%s was not finished: removed", path)
                shutil.rmtree(path)

    def steps(self) -> list[int]:
        """Complete steps, ascending."""
        return sorted(int(path.name) for path in self.folder.iterdir() if path.name.isdigit())

    def save(self, step: int, state: Any) -> None:
        """Writes a step, then removes the oldest.

        Raises:
            CheckpointError: it could not be written (disk full, say); the steps before are as they were.
        """
        folder = self.folder / str(step)
        try:
            shutil.rmtree(folder, ignore_errors=True)
            folder.mkdir()
            ocp.save(folder / "state", _by_name(state))
            sums = {str(path.relative_to(folder)): _sha256(path) for path in _files(folder)}
            fresh = folder / f"{CHECKSUMS}.new"
            with fresh.open("w", encoding="utf-8") as file:
                file.write(json.dumps(sums, indent=1) + "\n")
                file.flush()
                os.fsync(file.fileno())
            fresh.replace(folder / CHECKSUMS)
        except (OSError, ValueError) as error:
            raise CheckpointError(f"{folder}: the checkpoint of step {step} could not be written ({error})") from error
        for old in self.steps()[: -self._keep]:
            # Without its list first, so that a kill in between leaves no half step that counts.
            (self.folder / str(old) / CHECKSUMS).unlink()
            shutil.rmtree(self.folder / str(old))

    def restore_newest(self, abstract: Any) -> Any | None:
        """The newest step whose files are what they were, or None where there is no step.

        Args:
            abstract: State with shapes, dtypes and shardings (`jax.ShapeDtypeStruct`).

        Raises:
            CheckpointError: there are steps, and none of them can be read.
        """
        faults = []
        for step in reversed(self.steps()):
            folder = self.folder / str(step)
            if damaged := _damaged(folder):
                faults.append(f"{folder}: damaged or missing: {', '.join(damaged)}")
                logger.warning("%s; going back to an older step", faults[-1])
                continue
            try:
                leaves = ocp.load(folder / "state", _by_name(abstract))
                return jax.tree.unflatten(jax.tree.structure(abstract), [leaves[name] for name in _by_name(abstract)])
            except Exception as error:
                # Orbax hides the cause (another shape, a missing key) down the chain of errors.
                causes, cause = [], error
                while cause is not None:
                    causes.append(str(cause).strip().splitlines()[0] if str(cause).strip() else type(cause).__name__)
                    cause = cause.__cause__ or cause.__context__
                raise CheckpointError(
                    f"{folder} does not fit this config and code: {'; '.join(dict.fromkeys(causes))}. Give another "
                    f"--workdir for a new run"
                ) from error
        if faults:
            raise CheckpointError("no step can be read; remove them to start anew:\n  " + "\n  ".join(faults))
        return None


def abstract_state(state: Any) -> Any:
    """Shapes, dtypes and shardings of a state."""
    return jax.tree.map(lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=x.sharding), state)


def _by_name(tree: Any) -> dict[str, Any]:
    """Leaves by a name that says their place."""
    return {jax.tree_util.keystr(path, simple=True, separator="."): x for path, x in jax.tree.leaves_with_path(tree)}


def _files(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob("*") if path.is_file() and not path.name.startswith(CHECKSUMS))


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _damaged(folder: Path) -> list[str]:
    """Files that are not what the list says."""
    try:
        wanted = json.loads((folder / CHECKSUMS).read_text())
    except (OSError, ValueError):
        return [CHECKSUMS]
    found = {str(path.relative_to(folder)): path for path in _files(folder)}
    return [name for name, digest in wanted.items() if name not in found or _sha256(found[name]) != digest]
