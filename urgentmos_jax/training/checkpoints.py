"""Checkpoints of a training run: Orbax arrays and, written last, a list of checksums that makes a step complete.

A step is `<step>/state` (Orbax), `<step>/step.json` (format, config, shapes and dtypes of the arrays) and
`<step>/checksums.json`. One without its list is one that a killed run was writing: it does not count. Orbax alone would
take an empty folder for a step and restore a flipped bit without a word. A checksum is `algorithm:digits`, SHA-256
where none is named.
"""

import functools
import json
import logging
import math
import os
import shutil
import threading
from collections.abc import Callable, Collection, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, TypeVar

import jax
from etils import epath

from urgentmos_jax.files import file_hash, is_remote, write_text
from urgentmos_jax.lazy import missing
from urgentmos_jax.training import topology
from urgentmos_jax.training.sharding import path_name
from urgentmos_jax.version import __version__

try:
    from orbax.checkpoint import v1 as ocp
except ModuleNotFoundError as error:
    raise missing(error, "train") from None
try:
    import xxhash
except ModuleNotFoundError:  # It comes with the extra `train`; without it, checksums take a sixth of a save.
    xxhash = None  # type: ignore[assignment]  # as the line above says

logger = logging.getLogger(__name__)

FORMAT_VERSION = 1
ABOUT, CHECKSUMS = "step.json", "checksums.json"
# Free space needed before a run starts, in sizes of its state: the steps that are kept, and one being written.
SPACE = 3


State = TypeVar("State")


class CheckpointError(RuntimeError):
    """A checkpoint cannot be written or read; the message names it."""


class Checkpoints:
    """The steps below one folder.

    `save` returns once the arrays are copied to the host; files, checksums and the removal of old steps come in the
    background, one save at a time. An error there is raised by the next `save`, `check` or `wait`.

    Args:
        folder: Made where it does not exist; a path of `files.absolute_path`, local or remote.
        keep: Steps kept, the newest ones.
        config: Of the run, stored with each step.
        differ: Says in what a stored config differs from the run's; such a step is refused.
        strict: Stop where the newest step is damaged, instead of going back to the one before.
    """

    def __init__(
        self,
        folder: Path,
        *,
        keep: int,
        config: Mapping[str, Any] | None = None,
        differ: Callable[[Any, Any], list[str]] | None = None,
        strict: bool = False,
    ):
        self.folder, self._keep, self._strict = folder, keep, strict
        self._config, self._differ = config, differ
        self.best: int | None = None
        self._thread: threading.Thread | None = None
        self._failure: Exception | None = None
        self.folder.mkdir(parents=True, exist_ok=True)

    def steps(self) -> list[int]:
        """Complete steps, ascending."""
        return complete_steps(self.folder)

    def remove_unfinished(self) -> None:
        """Removes what a killed run was writing; on one host, while no one saves."""
        complete = self.steps()
        for path in self.folder.iterdir():
            if not (path.name.isdigit() and int(path.name) in complete):
                kept = f", resuming from step {complete[-1]}" if complete else ""
                logger.warning("%s was not finished: removed%s", path, kept)
                _remove(path)

    def save(self, step: int, state: Any) -> None:
        """Starts to write a step; on every host.

        Raises:
            CheckpointError: the step before could not be written (disk full, say), or this one could not be begun.
        """
        self.wait()
        folder = self.folder / str(step)
        try:
            if topology.is_first():
                _remove(folder)
                folder.mkdir(parents=True)
            topology.wait_for_all(f"save {step}")
            response = ocp.save_async(folder / "state", _by_name(state))
        except Exception as error:
            raise _not_written(folder, error) from error
        about = {
            "format_version": FORMAT_VERSION,
            "tool_version": __version__,
            "config": self._config,
            "arrays": _shapes(state),
        }
        self._thread = threading.Thread(target=self._finish, args=(folder, response, about), name=f"save {step}")
        self._thread.start()

    def _finish(self, folder: Path, response: Any, about: dict[str, Any]) -> None:
        try:
            response.result()
            if topology.is_first():
                write_text(folder / ABOUT, json.dumps(about, indent=1) + "\n")
                files = _files(folder)
                digests = hash_files(files, algorithm := "xxh3_128" if xxhash else "sha256")
                sums = {
                    str(path.relative_to(folder)): f"{algorithm}:{digest}"
                    for path, digest in zip(files, digests, strict=True)
                }
                write_text(folder / CHECKSUMS, _listed(sums))
                self._remove_old()
        except Exception as error:
            failure = _not_written(folder, error)
            failure.__cause__ = error
            self._failure = failure

    def _remove_old(self) -> None:
        steps = self.steps()
        for old in steps[: -self._keep]:
            if old != self.best:
                # Without its list first, so that a kill in between leaves no half step that counts.
                (self.folder / str(old) / CHECKSUMS).unlink()
                _remove(self.folder / str(old))

    def wait(self) -> None:
        """Waits for the save under way.

        Raises:
            CheckpointError: it failed.
        """
        if self._thread is not None:
            self._thread.join()
            self._thread = None
        self.check()

    def check(self) -> None:
        """Raises what went wrong in the background, if anything did.

        Raises:
            CheckpointError: naming the step.
        """
        if self._failure is not None:
            failure, self._failure = self._failure, None
            raise failure

    def restore_newest(self, abstract: State) -> State | None:
        """The newest step whose files are what they were, or None where there is no step.

        Args:
            abstract: State with shapes, dtypes and shardings (`jax.ShapeDtypeStruct`).

        Raises:
            CheckpointError: there are steps, and none of them can be read; or, where that is asked for, the newest one
                is damaged; or it is of another format, config, shape or precision.
        """
        steps, faults = topology.broadcast_from_first(self.steps), []
        for step in reversed(steps):
            names = topology.broadcast_from_first(functools.partial(_damaged, self.folder / str(step)))
            if not names:
                return self._restore(step, abstract)
            faults.append(f"{self.folder / str(step)}: damaged or missing: {', '.join(names)}")
            if self._strict:
                raise CheckpointError(
                    f"{faults[0]}; remove this step, or leave out --strict to resume from the one before"
                )
            logger.warning("%s; going back to an older step", faults[-1])
        if faults:
            raise CheckpointError("no step can be read; remove them to start again:\n  " + "\n  ".join(faults))
        return None

    def restore(self, step: int, abstract: State) -> State:
        """A step, see `restore_newest`.

        Raises:
            CheckpointError: it cannot be read.
        """
        if names := topology.broadcast_from_first(lambda: _damaged(self.folder / str(step))):
            raise CheckpointError(f"{self.folder / str(step)}: damaged or missing: {', '.join(names)}")
        return self._restore(step, abstract)

    def _restore(self, step: int, abstract: State) -> State:
        folder = self.folder / str(step)
        about = json.loads((folder / ABOUT).read_text()) if (folder / ABOUT).is_file() else {}
        if (version := about.get("format_version")) != FORMAT_VERSION:
            raise CheckpointError(
                f"{folder} is of format version {version}, this is {__version__} for version {FORMAT_VERSION}; "
                f"resume with the release that wrote it ({about.get('tool_version', 'unknown')}), or give another "
                f"--workdir"
            )
        changed = self._differ(about["config"], self._config) if self._differ else []
        changed += topology.differing_values(about["arrays"], _shapes(abstract))
        if changed:
            raise CheckpointError(
                f"{folder} does not fit this config and code: {'; '.join(changed)}. Set them back, or give another "
                f"--workdir; to take over the weights alone, start there from an exported model (start_from)"
            )
        try:
            leaves = ocp.load(folder / "state", _by_name(abstract))
        except Exception as error:
            raise CheckpointError(f"{folder} cannot be read: {_causes(error)}") from error
        return jax.tree.unflatten(jax.tree.structure(abstract), [leaves[name] for name in _by_name(abstract)])

    def check_space(self, abstract: Any) -> None:
        """Refuses to start where the disk is too full for the checkpoints of a run.

        Raises:
            CheckpointError: with the space that is free and that is needed.
        """
        if is_remote(self.folder):
            return
        wanted, free = SPACE * state_bytes(abstract), shutil.disk_usage(self.folder).free
        if free < wanted:
            raise CheckpointError(
                f"{self.folder}: {free / 1e9:.2f} GB free, checkpoints of this run need {wanted / 1e9:.2f} GB; make "
                f"room, or give another --workdir"
            )


class BestCheckpoint:
    """The step that is best by a statistic of validation; it is kept however old it is.

    Args:
        file: Where it is noted, so that a resumed run knows it.
        statistic: `set/metric/statistic`, the smallest is best where it is an error; "" = none is kept.
        checkpoints: Of the run.
    """

    def __init__(self, file: Path, statistic: str, checkpoints: Checkpoints):
        self._file, self._statistic, self._checkpoints = file, statistic, checkpoints
        self._value = math.nan
        if statistic and file.exists():
            best = json.loads(file.read_text())
            if best["figure"] == statistic and best["update"] in checkpoints.steps():
                checkpoints.best, self._value = best["update"], best["value"]

    def note(self, step: int, values: Mapping[str, float]) -> None:
        """Takes the statistics of a step; of equal ones the first is best."""
        value, lower = values.get(self._statistic, math.nan), self._statistic.endswith("mse")
        worse = not math.isnan(self._value) and (value >= self._value if lower else value <= self._value)
        if math.isnan(value) or worse:
            return
        self._value, self._checkpoints.best = value, step
        if topology.is_first():
            write_text(self._file, json.dumps({"figure": self._statistic, "value": value, "update": step}) + "\n")


def complete_steps(folder: Path) -> list[int]:
    """Steps in a folder that exists, ascending."""
    found = [path for path in folder.iterdir() if path.name.isdigit() and path.is_dir()]
    return sorted(int(path.name) for path in found if (path / CHECKSUMS).is_file())


def state_bytes(state: Any) -> int:
    """Bytes of all arrays."""
    return sum(math.prod(x.shape) * x.dtype.itemsize for x in jax.tree.leaves(state))


def _by_name(tree: Any) -> dict[str, Any]:
    """Leaves by the name of their path."""
    return {path_name(path): x for path, x in jax.tree.leaves_with_path(tree)}


def _shapes(tree: Any) -> dict[str, str]:
    """`float32[6, 768]` by name."""
    return {name: f"{x.dtype}{list(x.shape)}" for name, x in _by_name(tree).items()}


def _files(folder: Path) -> Collection[Path]:
    found = (path for path in folder.rglob("*") if path.is_file() and not path.name.startswith((CHECKSUMS, ".")))
    return sorted(found, key=str)


def _listed(sums: dict[str, str]) -> str:
    return json.dumps(sums, indent=1) + "\n"


def hash_files(files: Collection[Path], algorithm: str) -> list[str]:
    """Checksums of files, several at a time, by "sha256" or "xxh3_128".

    Raises:
        CheckpointError: the algorithm needs a package that is not installed.
    """
    if algorithm != "sha256" and xxhash is None:
        raise CheckpointError(
            f"the checkpoint has {algorithm} checksums, which need xxhash: pip install 'urgentmos_jax[train]'"
        )
    new = algorithm if algorithm == "sha256" else xxhash.xxh3_128
    with ThreadPoolExecutor() as pool:
        return list(pool.map(lambda path: file_hash(path, new), files))


def _damaged(folder: Path) -> list[str]:
    """Files that are not what the list says."""
    try:
        text = (folder / CHECKSUMS).read_text()
        wanted = json.loads(text)
        if text != _listed(wanted):
            return [CHECKSUMS]
        if missing := [name for name in wanted if not (folder / name).is_file()]:
            return missing
        by_algorithm: dict[str, list[str]] = {}
        for name, one in wanted.items():
            by_algorithm.setdefault(one.rpartition(":")[0] or "sha256", []).append(name)
        if by_algorithm.keys() - {"sha256", "xxh3_128"}:
            return [CHECKSUMS]
        damaged = []
        for algorithm, names in by_algorithm.items():
            digests = hash_files([folder / name for name in names], algorithm)
            damaged += [n for n, digest in zip(names, digests, strict=True) if wanted[n].rpartition(":")[2] != digest]
        return damaged
    except (OSError, ValueError, AttributeError):
        return [CHECKSUMS]


def _remove(path: Path) -> None:
    if is_remote(path):
        epath.Path(path).rmtree(missing_ok=True) if path.is_dir() else path.unlink(missing_ok=True)
    elif path.is_dir():
        shutil.rmtree(path)
    elif path.exists():
        os.unlink(path)


def _not_written(folder: Path, error: Exception) -> CheckpointError:
    return CheckpointError(
        f"{folder}: the checkpoint could not be written ({_causes(error)}); the steps before are as they were"
    )


def _causes(error: BaseException | None) -> str:
    """First lines of an error and of those that led to it: Orbax hides the cause down the chain."""
    found = []
    while error is not None:
        text = str(error).strip()
        found.append(text.splitlines()[0] if text else type(error).__name__)
        error = error.__cause__ or error.__context__
    return "; ".join(dict.fromkeys(found))
