"""Rows of a hub dataset from its local copy, and the recordings that are embedded in them, as they are."""

import contextlib
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from urgentmos_jax.corpora.tables import Place
from urgentmos_jax.manifest import ManifestError

__all__ = ["extract", "hub_rows"]

_KINDS = {b"fLaC": ".flac", b"RIFF": ".wav", b"OggS": ".ogg", b"ID3": ".mp3"}


def hub_rows(
    folder: Path, split: str, columns: Sequence[str], *, audio: Sequence[str] = ()
) -> Iterator[tuple[Place, dict[str, Any]]]:
    """Rows of a split, one at a time; recordings come as {"bytes", "path"}, not decoded.

    Args:
        folder: Local copy of the dataset, as `hf download --repo-type dataset` makes it.
        split: Its name on the hub.
        columns: Names it must have.
        audio: Those of them that hold recordings.

    Raises:
        ManifestError: No such split or column, or files that cannot be read.
        ModuleNotFoundError: The package datasets is not installed.
    """
    try:
        import datasets
    except ModuleNotFoundError as error:
        text = 'datasets is missing, which reads hub datasets: pip install "urgentmos_jax[corpora]"'
        raise ModuleNotFoundError(text, name="datasets") from error
    if not folder.is_dir():
        raise ManifestError([f"{folder}: no such folder; --download fetches the dataset into it"])
    place = f"{folder} ({split})"
    try:
        found = datasets.load_dataset_builder(str(folder)).config.data_files or {}
        if split not in found:
            raise ManifestError([f"{place}: no such split; there are {', '.join(map(str, found)) or 'none'}"])
        # The files of this split alone: beside others they would have to have the same columns.
        rows = datasets.load_dataset(str(folder), data_files={split: found[split]}, split=split, streaming=True)
    except (ValueError, OSError, datasets.exceptions.DatasetsError) as error:
        if isinstance(error, ManifestError):
            raise
        raise ManifestError([f"{place}: is not read as a hub dataset ({_first_line(error)})"]) from None
    found = list(rows.features or next(iter(rows), {}))
    if missing := [name for name in columns if name not in found]:
        raise ManifestError([f"{place}: no column {', '.join(map(repr, missing))}; the columns are {found}"])
    for name in audio:
        rows = rows.cast_column(name, datasets.Audio(decode=False))
    numbered = enumerate(rows)
    while True:
        try:
            number, row = next(numbered)
        except StopIteration:
            return
        except (ValueError, OSError) as error:
            raise ManifestError([f"{place}: cannot be read ({_first_line(error)})"]) from None
        yield Place(place, number), row


def extract(recording: dict[str, Any] | None, path: Path) -> Path:
    """Writes an embedded recording unless it is there already, byte for byte.

    Args:
        recording: {"bytes", "path"}, as `hub_rows` gives it.
        path: Where to, without suffix; that follows from the content.

    Returns:
        The file; `path` itself, which is not there, where there is no recording.
    """
    data = (recording or {}).get("bytes")
    if not data:
        local = (recording or {}).get("path")
        return Path(local) if local and os.path.isfile(local) else path
    suffix = next((suffix for start, suffix in _KINDS.items() if data.startswith(start)), None)
    suffix = suffix or Path((recording or {}).get("path") or "").suffix or ".wav"
    path = path.with_name(path.name + suffix)
    with contextlib.suppress(FileNotFoundError):
        if path.stat().st_size == len(data):
            return path
    path.parent.mkdir(parents=True, exist_ok=True)
    fresh = path.with_name(f".{path.name}.new")
    fresh.write_bytes(data)
    fresh.replace(path)
    return path


def _first_line(error: Exception) -> str:
    return f"{type(error).__name__}: {error}".split("\n")[0]
