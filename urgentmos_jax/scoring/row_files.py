"""Where rows go: a file that is the old one until the new one is whole and that a stopped run resumes, or a stream."""

import errno
import hashlib
import json
import os
import shutil
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, BinaryIO, TextIO

from urgentmos_jax.files import Lock, check_writable, write_json
from urgentmos_jax.scoring.row_formats import Row, RowFormat, printable, row_paths

Inputs = Sequence[tuple[str, ...]]

# What may differ between the runs whose rows are in one file.
_MAY_DIFFER = {"tool", "model", "origin", "counts", "size_bytes"}


class OtherRun(ValueError):
    """What is there does not belong to this run, which cannot resume it; the message says why."""


class RowFile:
    """One row for each input, in order, in a file F.

    Rows go to `F.part`; `F.part.meta.json` says what they are of. Once they are all there, `F.part` becomes F, and
    `F.part.meta.json` becomes `F.meta.json`. Until then an older F and its `F.meta.json` stay as they are.

    A row is identified by its position and its paths (`row_paths`); a path may come twice.

    Args:
        path: F. Where it is a link, the file it points to.
        resume: Keep the rows that are there: those of `F.part`, else those of F.

    Attributes:
        path: F.
        part: `F.part`.
        count: Rows there are.
        unfinished: Whether an earlier run left rows in `F.part`.
        left_alone: Whether F had all rows, and is not written.

    Raises:
        OSError: F cannot be written.
        InUse: Another process is writing it.
    """

    def __init__(self, path: Path, *, resume: bool = False):
        self.path = Path(os.path.realpath(path)) if path.is_symlink() else path
        self.part = Path(f"{self.path}.part")
        self.count = 0
        self.left_alone = False
        self._meta, self._part_meta = Path(f"{self.path}.meta.json"), Path(f"{self.part}.meta.json")
        self._resume = resume
        self._file: BinaryIO | None = None
        if self.path.exists() and not self.path.is_file() and not self.path.is_dir():
            raise OSError(errno.EINVAL, "not a file", str(self.path))
        check_writable(self.path)
        self.path.parent.mkdir(parents=True, exist_ok=True)
        self._lock_path = self.path.with_name(f".{self.path.name}.lock")
        self._lock = Lock(self._lock_path, held=self.path, option="--output")
        self.unfinished = self.part.exists() and self.part.stat().st_size > 0
        # The last run may have been killed between its last two steps.
        size = None if self.part.exists() or not self.path.exists() else self.path.stat().st_size
        if size is not None and size == _read_json(self._part_meta).get("size_bytes"):
            os.replace(self._part_meta, self._meta)

    def __enter__(self) -> "RowFile":
        return self

    def __exit__(self, *_: object) -> None:
        try:
            if self._file is not None:
                self._file.close()
                if not self.count:
                    self.part.unlink(missing_ok=True)
                    self._part_meta.unlink(missing_ok=True)
        finally:
            self._lock_path.unlink(missing_ok=True)
            self._lock.release()

    def begin(self, about: Mapping[str, Any], inputs: Inputs, form: RowFormat) -> Iterator[Row]:
        """Starts, or resumes where that was asked for. It is to be read to its end before rows are added.

        Args:
            about: Model and settings: everything that rows depend on.
            inputs: (uid, path) of each recording, or (uid, path of A, path of B) of each pair.
            form: How a row is written.

        Yields:
            The rows that are there.

        Raises:
            OtherRun: They are of another model, of other settings or inputs.
            OSError: Something cannot be written or read.
        """
        digest = hashlib.sha256()
        for one in inputs:
            digest.update((json.dumps(one) + "\n").encode())
        self._about = {**about, "inputs": {"count": len(inputs), "sha256": digest.hexdigest()}}
        self._inputs, self._form = inputs, form
        source, end = self.part if self.unfinished else self.path, 0
        if self._resume and source.exists():
            self._refuse_other_run(source, self._part_meta if self.unfinished else self._meta)
            for row, end in self._rows(source):  # noqa: B007  # The last end is needed.
                self._refuse_other_row(source, row)
                self.count += 1
                yield row
            self.left_alone = source == self.path and self.count == len(inputs)
        if not self.left_alone:
            self._file = self._opened(source, end)

    def add(self, row: Row) -> None:
        """Adds a row, which is the operating system's when this returns.

        Raises:
            OSError: It cannot be written.
        """
        assert self._file is not None
        self._file.write(self._form.line(row).encode())
        self._file.flush()
        self.count += 1

    def finish(self, counts: Mapping[str, int]) -> None:
        """Makes it F.

        Args:
            counts: Of the rows, for `F.meta.json`.

        Raises:
            OSError: It cannot be written.
            ValueError: Rows are missing.
        """
        if self._file is None:
            return
        if self.count != len(self._inputs):
            raise ValueError(f"{self.count} rows of {len(self._inputs)} inputs")
        os.fsync(self._file.fileno())
        self._file.close()
        about = {**self._about, "counts": dict(counts), "size_bytes": self.part.stat().st_size}
        write_json(self._part_meta, about)
        os.replace(self.part, self.path)
        os.replace(self._part_meta, self._meta)

    def _opened(self, source: Path, end: int) -> BinaryIO:
        """`F.part` with the first bytes of the source, in which the rows that are kept end."""
        if source != self.part or not end:
            self.part.unlink(missing_ok=True)
        write_json(self._part_meta, self._about)
        if source != self.part and end:
            shutil.copyfile(source, self.part)
        file = self.part.open("ab")
        file.truncate(end)
        if not end:
            file.write(self._form.header.encode())
            file.flush()
        return file

    def _rows(self, source: Path) -> Iterator[tuple[Row, int]]:
        """Rows, and where each ends, up to a line that is cut or damaged; from there on they are made anew."""
        header, text, end = self._form.header, b"", 0
        with source.open("rb") as file:
            for line in file:
                text += line
                try:
                    if not self._form.is_whole(text.decode()):
                        continue
                    row = None if header else self._form.row(text.decode())
                except ValueError:
                    return
                if row is None and text.decode() != header:
                    raise OtherRun(f"{source}: has the columns {text.decode().strip()}, not {header.strip()}")
                header, text, end = "", b"", end + len(text)
                if row is not None:
                    yield row, end

    def _refuse_other_run(self, source: Path, meta: Path) -> None:
        before, now = _read_json(meta), json.loads(json.dumps(self._about))
        if not before:
            raise OtherRun(f"{source}: there is no {meta.name}, which says what its rows are of")
        differing = []
        for key in dict.fromkeys([*now, *before]):
            one, other = before.get(key), now.get(key)
            if one == other or key in _MAY_DIFFER:
                continue
            if key == "inputs" and one:
                one, other = one["count"], other["count"]
                if one == other:
                    differing.append("inputs: as many, of other names, paths or order")
                    continue
            differing.append(f"{key}: {json.dumps(one)} there, {json.dumps(other)} here")
        if differing:
            raise OtherRun(f"{source} is of another run; {'; '.join(differing)}")

    def _refuse_other_row(self, source: Path, row: Row) -> None:
        inputs = self._inputs[self.count : self.count + 1]
        wanted = " and ".join(repr(printable(path)) for one in inputs for path in one[1:])
        found = " and ".join(map(repr, row_paths(row)))
        if found != wanted:
            text = f"where the input is {wanted}" if wanted else "more than there are inputs"
            raise OtherRun(f"{source}: row {self.count + 1} is of {found}, {text}")


class RowStream:
    """One row for each input, in order, in a stream. It has what `RowFile` has."""

    count = 0
    left_alone = False

    def __init__(self, stream: TextIO):
        self._stream = stream

    def __enter__(self) -> "RowStream":
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def begin(self, _about: Mapping[str, Any], _inputs: Inputs, form: RowFormat) -> Iterator[Row]:
        """Starts; there are no rows."""
        self._form = form
        return iter(())

    def add(self, row: Row) -> None:
        """Writes a row."""
        self._stream.write(self._form.line(row))
        self._stream.flush()
        self.count += 1

    def finish(self, _counts: Mapping[str, int]) -> None:
        """Does nothing."""


def _read_json(path: Path) -> dict[str, Any]:
    """A JSON object; an empty one where there is none."""
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}
