"""Files, local or remote (`gs://` and what else `etils.epath` reaches): atomic writes, JSON lines, hashes, locks.

And the bar that shows how far work on many of them has come.
"""

import bz2
import codecs
import contextlib
import errno
import gzip
import hashlib
import io
import json
import logging
import lzma
import os
import socket
import sys
import tempfile
import zlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import IO, Any

from etils import epath

logger = logging.getLogger(__name__)

_SHOWN = 20
# By suffix, how compressed files are opened, and what is raised where they are damaged or cut.
_UNPACKING: dict[str, Callable[..., Any]] = {".gz": gzip.open, ".bz2": bz2.open, ".xz": lzma.open}
UNREADABLE = (OSError, EOFError, zlib.error, lzma.LZMAError)
_PROBE_BYTES = 4096


# Paths.


def absolute_path(path: str | os.PathLike) -> Path:
    """A local path made absolute, or an `epath.Path` where it has a scheme."""
    text = os.fspath(path)
    return epath.Path(text) if "://" in text else Path(text).absolute()


def is_remote(path: str | os.PathLike) -> bool:
    """Whether a path has a scheme, and so is not of the local file system."""
    return "://" in os.fsdecode(path)


# Writing.


@contextlib.contextmanager
def atomic_write(path: str | os.PathLike, *, binary: bool = False, sync: bool = True) -> Iterator[IO[Any]]:
    """A file that appears under its name once it is written to the end, and not at all otherwise.

    Args:
        path: Its folder exists. A link is followed; a device or a pipe, such as `/dev/stdout`, is written at once.
        binary: Bytes instead of UTF-8 text. Names in a text that are not UTF-8 become `\\udcXX`, which JSON readers
            turn back; lines end in `\\n` on every system.
        sync: Whether it is on the disk when this returns; that takes milliseconds, too many for thousands of files.
    """
    text: dict[str, Any] = {"encoding": "utf-8", "errors": "backslashreplace", "newline": "\n"}
    if is_remote(path):  # Object stores write whole files by themselves, but also those that an error ended.
        buffer = io.BytesIO()
        file: IO[Any] = buffer if binary else io.TextIOWrapper(buffer, write_through=True, **text)
        yield file
        epath.Path(path).write_bytes(buffer.getvalue())
        return
    if os.path.exists(path) and not os.path.isfile(path):
        with open(path, "wb") if binary else open(path, "w", **text) as file:
            yield file
        return
    path = os.path.realpath(os.fsdecode(path))
    folder, name = os.path.split(path)
    temporary = os.path.join(folder, f".{name}.{os.getpid()}.tmp")
    try:
        with open(temporary, "wb") if binary else open(temporary, "w", **text) as file:
            yield file
            if sync:
                file.flush()
                os.fsync(file.fileno())
        os.replace(temporary, path)
    finally:
        with contextlib.suppress(FileNotFoundError):
            os.remove(temporary)


def write_text(path: str | os.PathLike, text: str) -> None:
    """Writes a text as `atomic_write` does."""
    with atomic_write(path) as file:
        file.write(text)


def write_json(path: str | os.PathLike, value: Any) -> None:
    """Writes JSON as `atomic_write` does.

    Raises:
        ValueError: NaN or infinity, which JSON does not have.
    """
    write_text(path, _json_text(value))


def _json_text(value: Any) -> str:
    return json.dumps(value, indent=1, ensure_ascii=False, allow_nan=False) + "\n"


@contextlib.contextmanager
def json_beside(path: str | os.PathLike, value: Any) -> Iterator[None]:
    """Writes JSON that appears once what is written meanwhile has, and only then: it tells of that.

    Raises:
        ValueError: NaN or infinity, which JSON does not have.
    """
    with atomic_write(path) as file:
        file.write(_json_text(value))
        file.flush()
        os.fsync(file.fileno())
        yield


def check_writable(path: str | os.PathLike) -> None:
    """Sees whether a file could be written, and folders above it that are not there be made; nothing changes.

    Raises:
        OSError: It is a folder, its folder cannot be written to, or the disk is full.
    """
    path = Path(path)
    if path.is_dir():
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(path))
    if path.exists() and not path.is_file():
        return
    folder = Path(os.path.realpath(path)).parent
    while not folder.exists():
        folder = folder.parent
    if not folder.is_dir():
        raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR), str(folder))
    with tempfile.TemporaryFile(dir=folder, buffering=0) as file:
        file.write(bytes(_PROBE_BYTES))


def copy_files(source: Path, target: Path) -> None:
    """Copies the files of a folder, JSON last: a model folder is one once its config is there."""
    target.mkdir(parents=True, exist_ok=True)
    for path in sorted(source.iterdir(), key=lambda path: path.suffix == ".json"):
        (target / path.name).write_bytes(path.read_bytes())


# Compressed files, JSON lines.


def without_packing(name: str) -> str:
    """A name without the suffix that says how the file is compressed."""
    return name[: -len(packing)] if (packing := _packing(name)) else name


def unpacked(file: IO[bytes], name: str) -> IO[bytes]:
    """The content of an open file that is compressed if its name says so: `.gz`, `.bz2`, `.xz`."""
    packing = _packing(name)
    return _UNPACKING[packing](file) if packing else file


def _packing(name: str) -> str | None:
    return next((suffix for suffix in _UNPACKING if name.lower().endswith(suffix)), None)


def read_json_lines(path: str | os.PathLike) -> Iterator[tuple[int, dict[str, Any] | str]]:
    """(line number, JSON object or what is wrong with the line) of each line that is not blank; `.gz` and the
    like are unpacked.

    Raises:
        OSError: The file cannot be read; or another of `UNREADABLE`.
    """
    with epath.Path(path).open("rb") as raw, unpacked(raw, os.fsdecode(path)) as file:
        for number, line in enumerate(file, 1):
            if number == 1 and line.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
                yield number, "is UTF-16; save it as UTF-8"
                return
            if number == 1:
                line = line.removeprefix(codecs.BOM_UTF8)
            if line.strip():
                yield number, _json_object(line)


def parse_json(text: str) -> Any:
    """The value of a JSON text whose objects have each key once; of two, Python would take the last.

    Raises:
        ValueError: It is not JSON, or has a key twice.
    """
    return _DECODER.decode(text)


def _with_each_key_once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        names = [name for name, _ in pairs]
        raise ValueError(f"the key {next(name for name in names if names.count(name) > 1)!r} is there twice")
    return found


_DECODER = json.JSONDecoder(object_pairs_hook=_with_each_key_once)


def _json_object(line: bytes) -> dict[str, Any] | str:
    try:
        entry = parse_json(line.decode("utf-8"))
    except UnicodeDecodeError as error:
        return f"is not UTF-8 ({error.reason}); save it as UTF-8"
    except (ValueError, RecursionError) as error:
        return f"broken JSON ({error})"
    return entry if isinstance(entry, dict) else "not a JSON object"


def append_json_lines(path: Path, values: Iterable[Any]) -> None:
    """Appends a line for each value."""
    text = "".join(json.dumps(value) + "\n" for value in values)
    if is_remote(path):  # Object stores cannot append.
        path.write_text((path.read_text() if path.exists() else "") + text)
        return
    with path.open("a", encoding="utf-8") as file:
        file.write(text)


class StepLog:
    """JSON objects with a key `step`, appended line by line.

    Args:
        path: The file; what it holds is kept up to a step. The last line of a killed run may be cut.
        upto: That step.
    """

    def __init__(self, path: Path, *, upto: int):
        self._path = path
        self._new: list[dict[str, Any]] = []
        lines = path.read_text().split("\n") if path.exists() else []
        kept = [line for line in lines if line.endswith("}") and json.loads(line)["step"] <= upto]
        write_text(path, "".join(f"{line}\n" for line in kept))

    def add(self, value: dict[str, Any]) -> None:
        """Takes a line."""
        self._new.append(value)

    def flush(self) -> None:
        """Writes what was added."""
        append_json_lines(self._path, self._new)
        self._new = []


def summarise_errors(faults: Sequence[str], what: str) -> str:
    """The first twenty faults, and how many there are; `what` says of what."""
    if len(faults) == 1:
        return faults[0]
    more = f"\n  and {len(faults) - _SHOWN} more" if len(faults) > _SHOWN else ""
    return f"{len(faults)} {what}:\n  " + "\n  ".join(faults[:_SHOWN]) + more


# Hashes, locks, progress.


def file_hash(path: Path, algorithm: str | Callable[[], Any] = "sha256") -> str:
    """Hash of a file, hexadecimal; the algorithm is a name of `hashlib` or a constructor like its own."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, algorithm).hexdigest()


def hash_in_background(path: Path) -> Future[str]:
    """`file_hash` in a thread; hashing holds no other thread up."""
    executor = ThreadPoolExecutor(max_workers=1)
    found = executor.submit(file_hash, path)
    executor.shutdown(wait=False)
    return found


class InUse(RuntimeError):
    """Another process holds what this one wants; the message names its host and process id."""


class Lock:
    """Holds a file or folder until `release`, or until this process ends in whatever way.

    The operating system holds the lock, so that one left by a dead process does not stand in the way.

    Args:
        path: Of the lock, beside or in what is held; `PATH.holder` says who holds it.
        held: What is held, for messages.
        option: That names another one, for messages.

    Raises:
        InUse: Another process, or another `Lock` of this one, holds it.
        OSError: The lock cannot be written.
    """

    def __init__(self, path: Path, *, held: Path, option: str):
        import filelock

        self._holder_file = path.with_name(f"{path.name}.holder")
        self._lock = filelock.FileLock(path, timeout=0, thread_local=False)
        try:
            self._lock.acquire()
        except filelock.Timeout:
            raise InUse(
                f"{held} is in use by {self._holder() or 'another process'}; wait for it to end, stop it, or give "
                f"another {option}"
            ) from None
        except (OSError, NotImplementedError) as error:  # NotImplementedError: of filelock, for ENOSYS.
            if isinstance(error, OSError) and error.errno not in (errno.ENOLCK, errno.EOPNOTSUPP, errno.ENOSYS):
                raise
            logger.warning("%s: this file system has no locks; take care that no other process uses it", held)
        if before := self._holder():
            logger.info("lock of %s taken over, it has ended", before)
        write_text(self._holder_file, json.dumps({"host": socket.gethostname(), "pid": os.getpid()}) + "\n")

    def _holder(self) -> str | None:
        try:
            found = json.loads(self._holder_file.read_text(encoding="utf-8"))
            return f"process {found['pid']} on {found['host']}"
        except (OSError, ValueError, KeyError, TypeError):
            return None

    def release(self) -> None:
        """Lets others in."""
        self._holder_file.unlink(missing_ok=True)
        self._lock.release()


def progress(
    iterable: Iterable[Any] | None,
    total: int | None,
    unit: str,
    title: str | None = None,
    *,
    start: int = 0,
    hidden: bool = False,
) -> Any:
    """A progress bar on standard error, where that is a terminal.

    Args:
        iterable: What is shown passing; without it, the caller tells the bar by `update`.
        total: How many there are.
        unit: Of what; bytes, "B", are shown as kB, MB and so on.
        title: Stands before the bar.
        start: How many were done before.
        hidden: Show nothing.

    Returns:
        The iterable (`tqdm`).
    """
    from tqdm import tqdm

    return tqdm(
        iterable,
        title,
        total,
        initial=start,
        unit=unit,
        unit_scale=unit == "B",
        file=sys.stderr,
        disable=hidden or sys.stderr is None or None,
        dynamic_ncols=True,
    )
