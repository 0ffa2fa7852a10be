"""Where rows go: a file that is the old one until the new one is whole and that a stopped run resumes, or a stream."""

import errno
import hashlib
import json
import os
import shutil
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, BinaryIO, Self, TextIO

from urgentmos_jax.files import Lock, atomic_write, check_writable, write_json
from urgentmos_jax.scoring.row_formats import JsonLines, Row, RowFormat, printable, row_paths
from urgentmos_jax.scoring.selection import Bounds, dropped_because

Inputs = Sequence[tuple[str, ...]]

# What may differ between the runs whose rows are in one file.
_MAY_DIFFER = {"tool", "model", "origin", "counts", "size_bytes"}


class OtherRun(ValueError):
    """What is there does not belong to this run, which cannot resume it; the message says why."""


class ResumableOutput:
    """What one process at a time writes to F, and can be resumed: it goes to `F.part`, which becomes F once whole.

    `F.part.meta.json` says what it is of, and becomes `F.meta.json` last.

    Args:
        path: F. Where it is a link, what it points to.
        resume: Keep what is there.

    Attributes:
        path, part: F and `F.part`.
        left_alone: Whether F is finished, and not written.
    """

    def __init__(self, path: Path, *, resume: bool):
        self.path = Path(os.path.realpath(path)) if path.is_symlink() else path
        self.part = Path(f"{self.path}.part")
        self.left_alone = False
        self._meta, self._part_meta = Path(f"{self.path}.meta.json"), Path(f"{self.part}.meta.json")
        self._resume = resume

    def _hold(self) -> None:
        """Keeps other processes from F until this one leaves it.

        Raises:
            InUse: Another process is writing it.
        """
        self.path.parent.mkdir(parents=True, exist_ok=True)
        self._lock_path = self.path.with_name(f".{self.path.name}.lock")
        self._lock = Lock(self._lock_path, held=self.path, option="--output")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        try:
            self._tidy()
        finally:
            self._lock_path.unlink(missing_ok=True)
            self._lock.release()

    def _tidy(self) -> None:
        """Removes an `F.part` that holds nothing."""
        raise NotImplementedError


class RowFile(ResumableOutput):
    """One row for each input, in order, in a file F.

    Rows go to `F.part`; `F.part.meta.json` says what they are of. Once they are all there, `F.part` becomes F, and
    `F.part.meta.json` becomes `F.meta.json`. Until then an older F and its `F.meta.json` stay as they are.

    A row is identified by its position and its paths (`row_paths`); a path may come twice.

    With bounds, all rows go to `F.part`, as JSON; in the end F gets those that are kept, and `F.dropped.jsonl` the
    others with the reason.

    Args:
        path: F. Where it is a link, the file it points to.
        resume: Keep the rows that are there: those of `F.part`, else those of F (and of `F.dropped.jsonl`).
        keep: Bounds of the rows that are kept; all are, where there are none.

    Attributes:
        count: Rows there are.
        unfinished: Whether an earlier run left rows in `F.part`.
        dropped: `F.dropped.jsonl`.
        dropped_count: Rows there, once all are there.

    Raises:
        OSError: F cannot be written.
        InUse: Another process is writing it.
    """

    def __init__(self, path: Path, *, resume: bool = False, keep: Sequence[Bounds] = ()):
        super().__init__(path, resume=resume)
        self.dropped = Path(f"{self.path}.dropped.jsonl")
        self.count = self.dropped_count = 0
        self._keep = keep
        self._file: BinaryIO | None = None
        if self.path.exists() and not self.path.is_file() and not self.path.is_dir():
            raise OSError(errno.EINVAL, "not a file", str(self.path))
        for place in (self.path, self.dropped) if keep else (self.path,):
            check_writable(place)
        self._hold()
        self.unfinished = self.part.exists() and self.part.stat().st_size > 0
        # The last run may have been killed between its last two steps.
        size = None if self.part.exists() or not self.path.exists() else self.path.stat().st_size
        if size is not None and size == read_meta(self._part_meta).get("size_bytes"):
            os.replace(self._part_meta, self._meta)

    def _tidy(self) -> None:
        if self._file is not None:
            self._file.close()
            if not self.count:
                self.part.unlink(missing_ok=True)
                self._part_meta.unlink(missing_ok=True)

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
        self._about = {**about, "inputs": {"count": len(inputs), "sha256": digest(inputs)}}
        self._inputs, self._form = inputs, form
        self._part_form = JsonLines() if self._keep else form
        source, end = self.part if self.unfinished else self.path, 0
        if self._resume and source.exists():
            refuse_other_run(source, self._part_meta if self.unfinished else self._meta, self._about)
            if self._keep and source == self.path:
                yield from self._begin_with_both()
                return
            for row, end in self._rows(source, self._part_form):  # noqa: B007  # The last end is needed.
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
        self._file.write(self._part_form.line(row).encode())
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
        about = {**self._about, "counts": dict(counts)}
        if self._keep:
            self._split()
            about["counts"] |= {"kept": self.count - self.dropped_count, "dropped": self.dropped_count}
        write_json(self._part_meta, about | {"size_bytes": (self.path if self._keep else self.part).stat().st_size})
        if self._keep:
            self.part.unlink()
        else:
            os.replace(self.part, self.path)
            if "keep" in read_meta(self._meta):
                self.dropped.unlink(missing_ok=True)
        os.replace(self._part_meta, self._meta)

    def _split(self) -> None:
        """`F.part` to `F.dropped.jsonl` and F, in this order; `F.part` is the whole until both are there."""
        with atomic_write(self.path) as kept, atomic_write(self.dropped) as dropped:
            kept.write(self._form.header)
            for row, _ in self._rows(self.part, self._part_form):
                if reason := dropped_because(row, self._keep):
                    dropped.write(JsonLines().line({**row, "dropped": reason}))
                    self.dropped_count += 1
                else:
                    kept.write(self._form.line(row))

    def _begin_with_both(self) -> Iterator[Row]:
        """The rows of F and of `F.dropped.jsonl`, which go to `F.part` where they are not all."""
        self.left_alone = sum(1 for _ in self._both()) == len(self._inputs)
        if not self.left_alone:
            self._file = self._opened(self.part, 0)
        for row, is_kept in self._both():
            if self.left_alone:
                self.count += 1
                self.dropped_count += not is_kept
            else:
                self.add(row)
            yield row

    def _both(self) -> Iterator[tuple[Row, bool]]:
        """The rows of F and of `F.dropped.jsonl` in the order of the inputs, and whether they are of F; up to the first
        input that neither has next."""
        forms: dict[Path, RowFormat] = {self.path: self._form, self.dropped: JsonLines()}
        files = [self._rows(path, form) if path.exists() else iter(()) for path, form in forms.items()]
        waiting = [next(file, (None, 0))[0] for file in files]
        for uid, *paths in self._inputs:
            wanted = (printable(uid), *map(printable, paths))
            names = [row and (printable(row["uid"]), *row_paths(row)) for row in waiting]
            if wanted not in names:
                return
            place = names.index(wanted)
            row = dict(waiting[place] or {})
            row.pop("dropped", None)
            yield row, place == 0
            waiting[place] = next(files[place], (None, 0))[0]

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
            file.write(self._part_form.header.encode())
            file.flush()
        return file

    def _rows(self, source: Path, form: RowFormat) -> Iterator[tuple[Row, int]]:
        """Rows, and where each ends, up to a line that is cut or damaged; from there on they are made anew."""
        header, text, end = form.header, b"", 0
        with source.open("rb") as file:
            for line in file:
                text += line
                try:
                    if not form.is_whole(text.decode()):
                        continue
                    row = None if header else form.row(text.decode())
                except ValueError:
                    return
                if row is None and text.decode() != header:
                    raise OtherRun(f"{source}: has the columns {text.decode().strip()}, not {header.strip()}")
                header, text, end = "", b"", end + len(text)
                if row is not None:
                    yield row, end

    def _refuse_other_row(self, source: Path, row: Row) -> None:
        inputs = self._inputs[self.count : self.count + 1]
        wanted = " and ".join(repr(printable(path)) for one in inputs for path in one[1:])
        found = " and ".join(map(repr, row_paths(row)))
        if found != wanted:
            text = f"where the input is {wanted}" if wanted else "more than there are inputs"
            raise OtherRun(f"{source}: row {self.count + 1} is of {found}, {text}")


class RowStream:
    """One row for each input, in order, in a stream. It has what `RowFile` has."""

    count = dropped_count = 0
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


def refuse_other_run(source: Path, meta: Path, about: Mapping[str, Any]) -> None:
    """Refuses rows that do not belong to this run.

    Args:
        source: Where they are.
        meta: The file that says what they are of.
        about: What this run makes.

    Raises:
        OtherRun: Something differs, or `meta` is not there.
    """
    before, now = read_meta(meta), json.loads(json.dumps(about))
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


def digest(inputs: Inputs) -> str:
    """SHA-256 of the names and paths of inputs."""
    found = hashlib.sha256()
    for one in inputs:
        found.update((json.dumps(one) + "\n").encode())
    return found.hexdigest()


def read_meta(path: Path) -> dict[str, Any]:
    """A JSON object; an empty one where there is none."""
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}
