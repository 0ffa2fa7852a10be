"""Rows of a hub dataset's local copy, and the recordings embedded in them, undecoded."""

import contextlib
import os
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

from urgentmos_jax.corpora.split import escape_id
from urgentmos_jax.files import atomic_write, progress
from urgentmos_jax.manifests.records import ManifestError
from urgentmos_jax.manifests.tables import Position

_SUFFIXES = {b"fLaC": ".flac", b"RIFF": ".wav", b"OggS": ".ogg", b"ID3": ".mp3"}


def hub_rows(
    folder: Path, split: str | None, columns: Sequence[str], *, audio: Sequence[str] = (), config: str | None = None
) -> Iterator[tuple[Position, dict[str, Any]]]:
    """Rows of a split, one at a time, with a progress bar; recordings are {"bytes", "path"}, undecoded.

    Args:
        folder: Local copy of the dataset, as `hf download --repo-type dataset` creates it.
        split: Its name on the hub; None for all splits.
        columns: Names that it must have; those of `audio` hold recordings.
        config: Name of the configuration, for a dataset with several.

    Raises:
        ManifestError: There is no such configuration, split or column, or files cannot be read.
        ModuleNotFoundError: The package datasets is not installed.
    """
    try:
        import datasets
    except ModuleNotFoundError as error:
        text = 'the package datasets is needed to read hub datasets: pip install "urgentmos_jax[corpora]"'
        raise ModuleNotFoundError(text, name="datasets") from error
    if not folder.is_dir():
        raise ManifestError([f"{folder}: no such folder; --download downloads the dataset into it"])
    where = f"{folder} ({', '.join(name for name in (config, split) if name)})"
    with _as_manifest_error(where):
        if config is not None and config not in (configs := datasets.get_dataset_config_names(str(folder))):
            # Unless README.md names them, configurations are folders.
            if not (folder / config).is_dir():
                raise ManifestError([f"{where}: no such configuration; must be one of {', '.join(configs)}"])
            folder, config = folder / config, None
        found = datasets.load_dataset_builder(str(folder), config).config.data_files or {}
    if not found or split not in (None, *found):
        raise ManifestError([f"{where}: no such split; it has {', '.join(map(str, found)) or 'none'}"])
    for name in found if split is None else [split]:
        with _as_manifest_error(where):
            # Only the files of this split: together, those of all splits would need the same columns.
            rows = datasets.load_dataset(str(folder), data_files={name: found[name]}, split=name, streaming=True)
            named = list(rows.features or next(iter(rows), {}))
        if missing := [column for column in columns if column not in named]:
            raise ManifestError([f"{where}: no column {', '.join(map(repr, missing))}; the columns are {named}"])
        for column in audio:
            rows = rows.cast_column(column, datasets.Audio(decode=False))
        yield from _numbered(rows, where, f"{config or folder.name} {name}: rows")


def _numbered(rows: Iterable[dict[str, Any]], where: str, title: str) -> Iterator[tuple[Position, dict[str, Any]]]:
    numbered = enumerate(progress(rows, None, "row", title))
    while True:
        with _as_manifest_error(where):
            found = next(numbered, None)
        if found is None:
            return
        yield Position(where, found[0]), found[1]


@contextlib.contextmanager
def _as_manifest_error(where: str) -> Iterator[None]:
    """Turns errors of the library into a `ManifestError`."""
    from datasets.exceptions import DatasetsError

    try:
        yield
    except (ValueError, OSError, DatasetsError) as error:
        if isinstance(error, ManifestError):
            raise
        text = f"{type(error).__name__}: {error}".split("\n")[0]
        raise ManifestError([f"{where}: cannot be read as a hub dataset ({text})"]) from None


def extract(recording: dict[str, Any] | None, folder: Path, *names: str) -> Path:
    """Writes an embedded recording of `hub_rows`, byte for byte, unless it is there already.

    The `names` are of folders below the folder, and of the file without its suffix, which is that of the content;
    characters that would lead elsewhere are percent-escaped.

    Returns:
        The file; a path that does not exist, if there is no recording.
    """
    path = folder.joinpath(*map(_plain_name, names))
    data = (recording or {}).get("bytes")
    if not data:
        local = (recording or {}).get("path")
        return Path(local) if local and os.path.isfile(local) else path
    suffix = next((suffix for start, suffix in _SUFFIXES.items() if data.startswith(start)), None)
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
