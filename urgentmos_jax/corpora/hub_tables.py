"""Rows of a hub dataset from its local copy, and the recordings that are embedded in them, as they are."""

import contextlib
import os
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

from urgentmos_jax.corpora.split import escape_id
from urgentmos_jax.files import atomic_write, progress
from urgentmos_jax.manifests.reading import ManifestError
from urgentmos_jax.manifests.tables import Place

__all__ = ["extract", "hub_rows"]

_KINDS = {b"fLaC": ".flac", b"RIFF": ".wav", b"OggS": ".ogg", b"ID3": ".mp3"}


def hub_rows(
    folder: Path, split: str | None, columns: Sequence[str], *, audio: Sequence[str] = (), config: str | None = None
) -> Iterator[tuple[Place, dict[str, Any]]]:
    """Rows of a split, one at a time, with progress; recordings come as {"bytes", "path"}, not decoded.

    Args:
        folder: Local copy of the dataset, as `hf download --repo-type dataset` makes it.
        split: Its name on the hub; None for all there are.
        columns: Names it must have.
        audio: Those of them that hold recordings.
        config: Name of the configuration, of a dataset with several.

    Raises:
        ManifestError: No such configuration, split or column, or files that cannot be read.
        ModuleNotFoundError: The package datasets is not installed.
    """
    try:
        import datasets
    except ModuleNotFoundError as error:
        text = 'datasets is missing, which reads hub datasets: pip install "urgentmos_jax[corpora]"'
        raise ModuleNotFoundError(text, name="datasets") from error
    if not folder.is_dir():
        raise ManifestError([f"{folder}: no such folder; --download fetches the dataset into it"])
    place = f"{folder} ({', '.join(name for name in (config, split) if name)})"
    with _told_by(place):
        if config is not None and config not in (configs := datasets.get_dataset_config_names(str(folder))):
            # Without a README.md that names them, configurations are folders.
            if not (folder / config).is_dir():
                raise ManifestError([f"{place}: no such configuration; there are {', '.join(configs)}"])
            folder, config = folder / config, None
        found = datasets.load_dataset_builder(str(folder), config).config.data_files or {}
    if not found or split not in (None, *found):
        raise ManifestError([f"{place}: no such split; there are {', '.join(map(str, found)) or 'none'}"])
    for name in found if split is None else [split]:
        with _told_by(place):
            # The files of this split alone: beside others they would have to have the same columns.
            rows = datasets.load_dataset(str(folder), data_files={name: found[name]}, split=name, streaming=True)
            named = list(rows.features or next(iter(rows), {}))
        if missing := [column for column in columns if column not in named]:
            raise ManifestError([f"{place}: no column {', '.join(map(repr, missing))}; the columns are {named}"])
        for column in audio:
            rows = rows.cast_column(column, datasets.Audio(decode=False))
        yield from _numbered(rows, place, f"{config or folder.name} {name}: rows")


def _numbered(rows: Iterable[dict[str, Any]], place: str, title: str) -> Iterator[tuple[Place, dict[str, Any]]]:
    numbered = enumerate(progress(rows, None, "row", title))
    while True:
        with _told_by(place):
            found = next(numbered, None)
        if found is None:
            return
        yield Place(place, found[0]), found[1]


@contextlib.contextmanager
def _told_by(place: str) -> Iterator[None]:
    """What the library cannot read is a fault of the dataset."""
    from datasets.exceptions import DatasetsError

    try:
        yield
    except (ValueError, OSError, DatasetsError) as error:
        if isinstance(error, ManifestError):
            raise
        text = f"{type(error).__name__}: {error}".split("\n")[0]
        raise ManifestError([f"{place}: cannot be read as a hub dataset ({text})"]) from None


def extract(recording: dict[str, Any] | None, folder: Path, *names: str) -> Path:
    """Writes an embedded recording unless it is there already, byte for byte.

    Args:
        recording: {"bytes", "path"}, as `hub_rows` gives it.
        folder: Where to.
        names: Of folders below it, and of the file without suffix, which follows from the content. What is in them
            that would lead elsewhere is percent-escaped.

    Returns:
        The file; a path that is not there, where there is no recording.
    """
    path = folder.joinpath(*map(_plain_name, names))
    data = (recording or {}).get("bytes")
    if not data:
        local = (recording or {}).get("path")
        return Path(local) if local and os.path.isfile(local) else path
    suffix = next((suffix for start, suffix in _KINDS.items() if data.startswith(start)), None)
    suffix = suffix or Path((recording or {}).get("path") or "").suffix or ".wav"
    path = path.with_name(path.name + suffix)
    with contextlib.suppress(FileNotFoundError):
        if path.stat().st_size == len(data) and path.read_bytes() == data:
            return path
    path.parent.mkdir(parents=True, exist_ok=True)
    with atomic_write(path, binary=True, sync=False) as file:
        file.write(data)
    return path


def _plain_name(text: str) -> str:
    name = escape_id(text).replace("/", "%2F")
    return f"%2E{name[1:]}" if name.startswith(".") else name
