"""Files of a run's folder, local or remote (`gs://` and what else `etils.epath` reaches)."""

import json
import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from etils import epath

__all__ = ["JsonLines", "append_lines", "copy_files", "is_remote", "run_folder", "write_text"]


def run_folder(path: str | os.PathLike) -> Path:
    """A local path made absolute, or an `epath.Path` where it has a scheme."""
    text = os.fspath(path)
    return epath.Path(text) if "://" in text else Path(text).absolute()


def is_remote(path: Path) -> bool:
    """Whether a path of `run_folder` is not of the local file system."""
    return "://" in os.fspath(path)


def write_text(path: Path, text: str) -> None:
    """Writes a file so that it is whole or not there, and on the disk when this returns."""
    if is_remote(path):
        path.write_text(text)  # Object stores do so by themselves.
        return
    fresh = path.with_name(f".{path.name}.new")
    with fresh.open("w", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    fresh.replace(path)


def copy_files(source: Path, target: Path) -> None:
    """Copies the files of a folder, JSON last: a model folder is one once its config is there."""
    target.mkdir(parents=True, exist_ok=True)
    for path in sorted(source.iterdir(), key=lambda path: path.suffix == ".json"):
        (target / path.name).write_bytes(path.read_bytes())


def append_lines(path: Path, values: Iterable[Any]) -> None:
    """Appends JSON lines."""
    text = "".join(json.dumps(value) + "\n" for value in values)
    if is_remote(path):  # Object stores cannot append.
        text = (path.read_text() if path.exists() else "") + text
        path.write_text(text)
        return
    with path.open("a", encoding="utf-8") as file:
        file.write(text)


class JsonLines:
    """A file of JSON objects with a key `step`, written line by line.

    Args:
        path: The file; what it holds is kept up to a step. The last line of a killed run may be cut.
        upto: That step.
    """

    def __init__(self, path: Path, *, upto: int):
        self._path, self._new = path, []
        lines = path.read_text().split("\n") if path.exists() else []
        kept = [line for line in lines if line.endswith("}") and json.loads(line)["step"] <= upto]
        write_text(path, "".join(f"{line}\n" for line in kept))

    def add(self, value: dict[str, Any]) -> None:
        """Takes a line."""
        self._new.append(value)

    def flush(self) -> None:
        """Writes what was added."""
        append_lines(self._path, self._new)
        self._new = []
