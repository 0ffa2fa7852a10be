"""A folder of rows in parts, JSONL or Parquet; each part is whole or absent, and a stopped run makes those missing."""

import dataclasses
import errno
import os
import re
import shutil
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from urgentmos_jax.files import atomic_write, write_json
from urgentmos_jax.lazy import missing
from urgentmos_jax.scoring.row_files import Inputs, ResumableOutput, digest, read_meta, refuse_other_run
from urgentmos_jax.scoring.row_formats import JsonLines, Row, printable, score_cells
from urgentmos_jax.scoring.selection import Bounds, dropped_because

PART_ROWS = 512
SUFFIXES = (".jsonl", ".parquet")
_OWN = re.compile(r"(part|dropped)-\d{6}\.(jsonl|parquet)|part-\d{6}\.tries|\.(part|dropped)-.*\.tmp")


@dataclasses.dataclass(frozen=True)
class PartFormat:
    """How rows of scores are written to the files of a folder.

    Args:
        suffix: `.jsonl` or `.parquet`.
        metrics: That rows have.
        keep: Bounds of the rows in `part-NUMBER`; the others go to `dropped-NUMBER.jsonl`, with the reason.
    """

    suffix: str
    metrics: Sequence[str]
    keep: Sequence[Bounds] = ()

    def path(self, folder: Path, number: int) -> Path:
        """The file of a part, which is there once all of its rows are."""
        return folder / f"part-{number:06d}{self.suffix}"

    def write(self, folder: Path, number: int, rows: Sequence[Row]) -> None:
        """Writes the rows of a part; its own file comes last."""
        kept: list[Row] = []
        dropped: list[Row] = []
        for row in rows:
            if reason := dropped_because(row, self.keep) if self.keep else None:
                dropped.append({**row, "dropped": reason})
            else:
                kept.append(row)
        if dropped:
            with atomic_write(folder / f"dropped-{number:06d}.jsonl") as file:
                file.writelines(map(JsonLines().line, dropped))
        path = self.path(folder, number)
        if self.suffix == ".jsonl":
            with atomic_write(path) as file:
                file.writelines(map(JsonLines().line, kept))
        else:
            self._write_table(path, kept)

    def read(self, folder: Path, number: int) -> Iterator[tuple[Row, bool]]:
        """The rows of a part, and whether each is kept; of Parquet they have no `frames`."""
        path = self.path(folder, number)
        yield from ((row, True) for row in (_lines(path) if self.suffix == ".jsonl" else self._table_rows(path)))
        dropped = folder / f"dropped-{number:06d}.jsonl"
        if self.keep and dropped.exists():
            yield from ((row, False) for row in _lines(dropped))

    def _write_table(self, path: Path, rows: Sequence[Row]) -> None:
        pa, pq = _pyarrow()
        number, text = pa.float64(), pa.string()
        kinds = {"windows": pa.int32(), "duration_s": number, "bandwidth_hz": number, "flags": pa.list_(text)}
        kinds |= dict.fromkeys(self.metrics, number)
        cells = [{**score_cells(row, self.metrics), "flags": row["flags"]} for row in rows]
        names = score_cells({**_NO_ROW, "flags": []}, self.metrics)
        columns = {}
        for name in names:
            values = [printable(cell[name]) if isinstance(cell[name], str) else cell[name] for cell in cells]
            columns[name] = pa.array(values, kinds.get(name, text))
        with atomic_write(path, binary=True) as file:
            pq.write_table(pa.table(columns), file)

    def _table_rows(self, path: Path) -> Iterator[Row]:
        _, pq = _pyarrow()
        for cells in pq.read_table(path).to_pylist():
            error = {"code": cells["error"], "message": cells["message"]} if cells["error"] else None
            row = {name: cells[name] for name in _NO_ROW if name in cells} | {"flags": cells["flags"], "error": error}
            scores = {name: cells[name] for name in self.metrics}
            yield row | {"scores": None if error else scores}


class PartFolder(ResumableOutput):
    """The rows of all inputs, in a folder F of parts; their files in order of names are in order of the inputs.

    Parts go to the folder `F.part`, which becomes F when they are all there; an older F stands until then.
    `F.part.meta.json` says what they are of, and `F.meta.json` appears last, as for `RowFile`.

    Args:
        path: F.
        resume: Keep the parts that are there.

    Attributes:
        part_rows: Inputs of a part, of the last one perhaps fewer.

    Raises:
        OSError: F cannot be written, or is something else than such a folder.
        InUse: Another process is writing it.
    """

    def __init__(self, path: Path, *, resume: bool = False):
        super().__init__(path, resume=resume)
        self.part_rows = PART_ROWS
        for folder in (self.path, self.part):
            _refuse_foreign(folder)
        self._hold()
        # The last run may have been killed between its last two steps.
        if self.path.exists() and not self.part.exists() and "counts" in read_meta(self._part_meta):
            os.replace(self._part_meta, self._meta)

    def _tidy(self) -> None:
        if self.part.exists() and not any(self.part.iterdir()):
            self.part.rmdir()
            self._part_meta.unlink(missing_ok=True)

    def begin(self, about: Mapping[str, Any], inputs: Inputs, form: PartFormat) -> list[int]:
        """Starts, or resumes where that was asked for.

        Args:
            about: Model and settings: everything that rows depend on.
            inputs: (uid, path) of each recording.
            form: How rows are written.

        Returns:
            Numbers of the parts that are missing.

        Raises:
            OtherRun: What is there is of another model, of other settings or inputs.
        """
        self._form, self._size = form, len(inputs)
        self._about = {**about, "part_rows": self.part_rows, "inputs": {"count": len(inputs), "sha256": digest(inputs)}}
        if self._resume and self.part.exists():
            refuse_other_run(self.part, self._part_meta, self._about)
        elif self._resume and self.path.exists():
            refuse_other_run(self.path, self._meta, self._about)
            self.left_alone = True
            return []
        elif self.part.exists():
            # Parts of another run must not be taken for this one's, whenever it is killed.
            self._part_meta.unlink(missing_ok=True)
            shutil.rmtree(self.part)
        write_json(self._part_meta, self._about)
        self.part.mkdir(exist_ok=True)
        self._remove_leftovers()
        return [number for number in range(self.count) if not form.path(self.part, number).exists()]

    def _remove_leftovers(self) -> None:
        """Of workers that were lost; how often an input kills its worker is counted within one run."""
        for file in self.part.iterdir():
            if file.suffix in (".tries", ".tmp"):
                file.unlink()

    @property
    def count(self) -> int:
        """How many parts there are in the end."""
        return -(-self._size // self.part_rows)

    def rows(self) -> Iterator[tuple[Row, bool]]:
        """All rows, and whether each is kept."""
        folder = self.path if self.left_alone else self.part
        for number in range(self.count):
            yield from self._form.read(folder, number)

    def finish(self, counts: Mapping[str, int]) -> None:
        """Makes `F.part` F; `counts` of the rows are for `F.meta.json`.

        Raises:
            OSError: It cannot be written.
        """
        if self.left_alone:
            return
        self._remove_leftovers()
        write_json(self._part_meta, {**self._about, "counts": dict(counts)})
        if self.path.exists():
            shutil.rmtree(self.path)
        os.replace(self.part, self.path)
        os.replace(self._part_meta, self._meta)


# What `score_cells` looks at, of no recording.
_NO_ROW: Row = dict.fromkeys(("uid", "path", "scores", "duration_s", "windows", "bandwidth_hz", "model", "error"))


def _refuse_foreign(folder: Path) -> None:
    """A folder that is replaced holds nothing but parts."""
    if not folder.exists():
        return
    if not folder.is_dir():
        raise OSError(errno.ENOTDIR, "it is a file, and with --ray a folder of parts is written; give another name")
    if other := next((file.name for file in folder.iterdir() if not _OWN.fullmatch(file.name)), None):
        raise OSError(errno.EEXIST, f"it is a folder with other files than parts ({other}); give another name")


def _lines(path: Path) -> Iterator[Row]:
    with path.open(encoding="utf-8") as file:
        yield from map(JsonLines().row, file)


def _pyarrow() -> tuple[Any, Any]:
    try:
        import pyarrow as pa
        import pyarrow.parquet as pq
    except ModuleNotFoundError as error:
        raise missing(error, "ray") from None
    return pa, pq
