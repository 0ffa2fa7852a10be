"""Recordings in Parquet files, as Hugging Face data sets have them: cells with audio bytes, or paths. pyarrow."""

import os
from bisect import bisect_right
from itertools import accumulate
from pathlib import Path
from typing import TYPE_CHECKING, Any

from urgentmos_jax.audio.errors import audio_error
from urgentmos_jax.audio.recordings import Recording, Stored
from urgentmos_jax.manifests.lists import located
from urgentmos_jax.manifests.paths import locate
from urgentmos_jax.manifests.records import ManifestError

if TYPE_CHECKING:
    import pyarrow as pa
    import pyarrow.parquet as pq

SUFFIXES = (".parquet",)

_COLUMNS = ("audio", "audio_path", "path", "audio_filepath")
_UID_COLUMNS = ("uid", "id")
# Little of a row group is in memory, however large it is.
_BUFFER_BYTES = 1 << 20
_BATCH_ROWS = 8


def list_table(path: Path, audio_root: Path | None) -> list[tuple[str, str | Stored]]:
    """(uid, recording) of each row.

    The recordings are in the column `audio` ({"bytes", "path"}, or bytes), or else their paths in `audio`,
    `audio_path`, `path` or `audio_filepath`, which are looked up as those of a list; or in the only column of
    {"bytes", "path"}. Names are in `uid` or `id`, else they are the paths; without paths, `file.parquet#<row>`.

    Raises:
        ManifestError: It cannot be read, holds no rows or no such column; or pyarrow is not installed.
    """
    with _opened(path) as file:
        column = _audio_column(path, file.schema_arrow)
        kind = file.schema_arrow.field(column).type
        of_uids = next((name for name in _UID_COLUMNS if name in file.schema_arrow.names), None)
        of_paths = column if _is_text(kind) else f"{column}.path" if "path" in _fields(kind) else None
        try:
            table = file.read(columns=[name for name in (of_uids, of_paths) if name], use_threads=False)
        except Exception as error:  # pyarrow's own, and OSError.
            raise ManifestError([f"{path}: cannot be read ({_first_line(error)})"]) from None
        rows = file.metadata.num_rows
    if not rows:
        raise ManifestError([f"{path}: lists no recordings"])
    uids = table.column(of_uids).to_pylist() if of_uids else [None] * rows
    paths = _paths(table, column, rows) if of_paths else [None] * rows
    if not _is_text(kind):
        names = [f"{path}#{number}" for number in range(rows)]
        named = [_uid(uid) or audio or name for uid, audio, name in zip(uids, paths, names, strict=True)]
        return [
            (uid, Stored(name, str(path), number, audio_root))
            for number, (uid, name) in enumerate(zip(named, names, strict=True))
        ]
    if blank := [f"{path}: row {number} has no {column}" for number, audio in enumerate(paths) if not audio]:
        raise ManifestError(blank)
    found = located(path, [str(audio) for audio in paths], audio_root)
    return [(_uid(uid) or str(audio), there) for uid, audio, there in zip(uids, paths, found, strict=True)]


class TableReader:
    """Cells of the recordings of a Parquet file, one at a time and best in order; a few rows are in memory."""

    def __init__(self, path: str):
        self._path = path
        self._file = _opened(Path(path))
        self._column = _audio_column(Path(path), self._file.schema_arrow)
        metadata = self._file.metadata
        self._ends = list(accumulate(metadata.row_group(group).num_rows for group in range(metadata.num_row_groups)))
        self._group, self._fault = -1, ""
        self._first, self._cells = 0, list[Any]()
        self._batches: Any = iter(())

    def recording(self, stored: Stored) -> Recording:
        """A row with its bytes, or why there are none."""
        try:
            cell = self._cell(stored.number)
        except Exception as error:  # pyarrow's own, and OSError.
            self._fault = self._fault or _first_line(error)
            text = f"its row group of {self._path} cannot be read: {self._fault}; copy or make the file again"
            return Recording(stored.path, audio_error("unreadable_input", stored.path, text))
        data, path = (cell.get("bytes"), cell.get("path")) if isinstance(cell, dict) else (cell, None)
        if data is not None:
            return Recording(stored.path, data)
        there = locate(path, self._path, stored.audio_root) if path else ""
        if os.path.exists(there):
            return Recording(stored.path, there)
        text = f"row {stored.number} has no bytes in the column {self._column!r}; leave it out or fill it in"
        if path:
            text = f"row {stored.number} has no bytes, and its path {path!r} leads to no file; give --audio-root DIR"
        return Recording(stored.path, audio_error("missing", stored.path, text))

    def _cell(self, number: int) -> Any:
        group = bisect_right(self._ends, number)
        if group != self._group or number < self._first:
            self._group, self._fault = group, ""
            self._first, self._cells = self._ends[group - 1] if group else 0, []
            self._batches = self._file.iter_batches(
                _BATCH_ROWS, row_groups=[group], columns=[self._column], use_threads=False
            )
        if self._fault:
            raise ValueError(self._fault)
        while number >= self._first + len(self._cells):
            self._first += len(self._cells)
            self._cells = []
            self._cells = next(self._batches).column(0).to_pylist()
        return self._cells[number - self._first]

    def close(self) -> None:
        """Closes the file."""
        self._file.close()


def _opened(path: Path) -> "pq.ParquetFile":
    try:
        import pyarrow.parquet as pq
    except ModuleNotFoundError:
        text = f'{path}: pyarrow is missing, which reads Parquet: pip install "urgentmos_jax[data]"'
        raise ManifestError([text]) from None
    try:
        return pq.ParquetFile(path, buffer_size=_BUFFER_BYTES)
    except Exception as error:  # pyarrow's own, and OSError.
        raise ManifestError([f"{path}: cannot be read as Parquet ({_first_line(error)})"]) from None


def _audio_column(path: Path, schema: "pa.Schema") -> str:
    for name in _COLUMNS:
        if name in schema.names and (_holds_audio(kind := schema.field(name).type) or _is_text(kind)):
            return name
    structs = [field.name for field in schema if _is_struct(field.type) and _holds_audio(field.type)]
    if len(structs) == 1:
        return structs[0]
    columns = ", ".join(f"{field.name} ({field.type})" for field in schema)
    wanted = "no column audio ({bytes, path}, bytes or a path), audio_path or path"
    raise ManifestError([f"{path}: {wanted}; rename that of the recordings; the columns are {columns}"])


def _paths(table: "pa.Table", column: str, rows: int) -> list[str | None]:
    cells = table.column(column).to_pylist()
    return [cell.get("path") if isinstance(cell, dict) else cell for cell in cells] if rows else []


def _holds_audio(kind: Any) -> bool:
    import pyarrow.types as types

    if _is_struct(kind):
        return "bytes" in _fields(kind) and _holds_audio(_fields(kind)["bytes"])
    return types.is_binary(kind) or types.is_large_binary(kind)


def _is_text(kind: Any) -> bool:
    import pyarrow.types as types

    if types.is_dictionary(kind):
        kind = kind.value_type
    return types.is_string(kind) or types.is_large_string(kind)


def _is_struct(kind: Any) -> bool:
    import pyarrow.types as types

    return types.is_struct(kind)


def _fields(kind: Any) -> dict[str, Any]:
    if not _is_struct(kind):
        return {}
    return {kind.field(index).name: kind.field(index).type for index in range(kind.num_fields)}


def _uid(value: Any) -> str:
    return "" if value is None else str(value)


def _first_line(error: BaseException) -> str:
    return (str(getattr(error, "strerror", None) or error).strip() or type(error).__name__).split("\n")[0]
