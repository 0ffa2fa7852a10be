"""Results of a labelling: one JSON line a clip, appended as it is computed, so that a stopped run resumes."""

import contextlib
import json
from pathlib import Path
from typing import Any

from urgentmos_jax.files import InUse, Lock
from urgentmos_jax.manifests.lines import json_lines
from urgentmos_jax.manifests.records import ManifestError

Row = dict[str, Any]


class ResultsFile:
    """An append-only file, made where it is missing, held by one process at a time.

    A line is `{"uid", "of", "values", "reasons", "error", ...}`: `of` is what was measured, and values count only for
    the same again; a value of null is a metric that the clip has no value of, for the reason {metric: text}. A clip has
    a row for each way to measure it: against a reference, alone, by a model. The last line of a killed run may be cut,
    and is dropped.

    Raises:
        ManifestError: Another process holds it, or a line that is none of it.
        OSError: It cannot be written.
    """

    def __init__(self, path: Path):
        self.path = path
        self._known: dict[tuple[str, str], Row] = {}
        with contextlib.ExitStack() as stack:
            try:
                lock = Lock(path.with_name(f".{path.name}.lock"), held=path, option="--output")
            except InUse as error:
                raise ManifestError([f"{path}: another process is writing it: {error}"]) from None
            stack.callback(lock.release)
            self._file = stack.enter_context(path.open("a+b"))
            self._read()
            self._held = stack.pop_all()

    def __enter__(self) -> "ResultsFile":
        return self

    def __exit__(self, *_: object) -> None:
        self._held.close()

    def row(self, uid: str, of: Row) -> Row | None:
        """What is known of a clip measured so: its last row without an error, with all its values."""
        return self._known.get(_key(uid, of))

    def add(self, row: Row) -> None:
        """Adds a line, which is the operating system's when this returns."""
        text = json.dumps(row, ensure_ascii=False, allow_nan=False)
        self._file.write(text.encode("utf-8", "backslashreplace") + b"\n")
        self._file.flush()
        self._take(row)

    def _take(self, row: Row) -> None:
        if not row["error"]:
            known = self.row(row["uid"], row["of"]) or {"values": {}}
            self._known[_key(row["uid"], row["of"])] = {**row, "values": known["values"] | row["values"]}

    def _read(self) -> None:
        self._file.seek(0)
        self._file.truncate(self._file.read().rfind(b"\n") + 1)
        for number, row in json_lines(self.path):
            if isinstance(row, str) or not row.keys() >= {"uid", "of", "values", "error"}:
                why = row if isinstance(row, str) else "not a line of results"
                raise ManifestError([f"{self.path}:{number}: {why}; delete the line, or the file to compute all anew"])
            self._take(row)


def _key(uid: str, of: Row) -> tuple[str, str]:
    return uid, json.dumps(of, sort_keys=True)
