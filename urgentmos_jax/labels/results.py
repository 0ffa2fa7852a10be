"""Results file of a labelling: one JSON line a clip, added as it is computed, so that a stopped run goes on."""

import fcntl
import json
import os
from pathlib import Path
from typing import Any

from urgentmos_jax.manifest import ManifestError, json_lines

__all__ = ["ResultsFile"]

Values = dict[str, float | None]


class ResultsFile:
    """An append-only file, held by one process at a time.

    A line is `{"uid", "of", "values", "error"}`: `of` is what was measured, and values count only for the same again;
    a value of null is a metric that the clip has no value of. The last line of a killed run may be cut, and is dropped.

    Args:
        path: Made where it is missing.

    Raises:
        ManifestError: Another process holds it, or a line that is none of it.
        OSError: It cannot be written.
    """

    def __init__(self, path: Path):
        self.path = path
        self._file = path.open("a+b")
        self._known: dict[str, tuple[dict[str, Any], Values]] = {}
        try:
            self._lock()
            self._drop_torn_line()
            self._read()
        except BaseException:
            self._file.close()
            raise

    def __enter__(self) -> "ResultsFile":
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()

    def values(self, uid: str, of: dict[str, Any]) -> Values:
        """{metric: value} of a clip as far as it is known; None where the clip has no value."""
        known_of, values = self._known.get(uid, (None, {}))
        return values if known_of == of else {}

    def add(self, row: dict[str, Any]) -> None:
        """Adds a line, which is the operating system's when this returns."""
        text = json.dumps(row, ensure_ascii=False, allow_nan=False)
        self._file.write(text.encode("utf-8", "backslashreplace") + b"\n")
        self._file.flush()
        self._take(row)

    def _take(self, row: dict[str, Any]) -> None:
        if not row["error"]:
            values = self.values(row["uid"], row["of"]) | row["values"]
            self._known[row["uid"]] = row["of"], values

    def _lock(self) -> None:
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            text = "another process is writing it; wait for it to end, or give another --output"
            raise ManifestError([f"{self.path}: {text}"]) from None
        except OSError:
            pass  # This file system has no locks.

    def _drop_torn_line(self) -> None:
        self._file.seek(0)
        content = self._file.read()
        whole = content.rfind(b"\n") + 1
        if whole < len(content):
            os.truncate(self._file.fileno(), whole)

    def _read(self) -> None:
        for number, row in json_lines(self.path):
            if isinstance(row, str) or not row.keys() >= {"uid", "of", "values", "error"}:
                why = row if isinstance(row, str) else "no line of results"
                raise ManifestError([f"{self.path}:{number}: {why}; delete the line, or the file to compute all anew"])
            self._take(row)
