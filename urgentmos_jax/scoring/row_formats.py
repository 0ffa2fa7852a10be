"""How a row of scores or comparisons is written and read again: as JSON, or as CSV with a column for each metric."""

import csv
import io
import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any

Row = Mapping[str, Any]
Cells = Callable[[Row, Sequence[str]], dict[str, Any]]

_VALUES = ("cmos", "p_a", "p_b", "p_tie", "score_difference")
_BLANK: Row = {
    **dict.fromkeys(("uid", "path", "scores", "comparison", "duration_s", "durations_s")),
    **dict.fromkeys(("windows", "bandwidth_hz", "bandwidths_hz", "model", "error")),
    "paths": (None, None),
    "flags": (),
}


class JsonLines:
    """A row as a line of JSON.

    Args:
        ascii_only: Escape all other letters, for a terminal that has none.
    """

    header = ""

    def __init__(self, *, ascii_only: bool = False):
        self._ascii_only = ascii_only

    def line(self, row: Row) -> str:
        """The line of a row, with its end."""
        return printable(json.dumps(_rounded(row), ensure_ascii=self._ascii_only)) + "\n"

    def is_whole(self, text: str) -> bool:
        """Whether lines are a row, and not only its beginning."""
        return text.endswith("\n")

    def row(self, text: str) -> Row:
        """The row of a line.

        Raises:
            ValueError: It is none.
        """
        row = json.loads(text)
        if not (isinstance(row, dict) and {"uid", "flags", "error"} <= row.keys() and row.keys() & {"path", "paths"}):
            raise ValueError("not a row")
        return row


class Csv:
    """A row as a line of CSV; the header is the first line of the file.

    Args:
        cells: `score_cells` or `comparison_cells`.
        metrics: That have a column.
        header: Whether the file has one; the later parts of a whole have none.
    """

    def __init__(self, cells: Cells, metrics: Sequence[str], *, header: bool = True):
        self._cells, self._metrics = cells, metrics
        self._columns = list(cells(_BLANK, metrics))
        self._no_metrics = cells(_BLANK, ()).keys()
        self.header = _csv_line(self._columns) if header else ""

    def line(self, row: Row) -> str:
        """The line of a row, with its end."""
        return _csv_line(list(_rounded(self._cells(row, self._metrics)).values()))

    def is_whole(self, text: str) -> bool:
        """Whether lines are a row, and not only its beginning: a cell may hold the end of a line."""
        return text.endswith("\n") and text.count('"') % 2 == 0

    def row(self, text: str) -> Row:
        """The row of a line; frames and logits are not in it.

        Raises:
            ValueError: It is none.
        """
        found = dict(zip(self._columns, next(csv.reader(io.StringIO(text, newline=""), strict=True)), strict=True))
        failed = bool(found["error"])
        values = {name: float(cell) for name, cell in found.items() if cell and name not in self._no_metrics}
        row: dict[str, Any] = {"uid": found["uid"]}
        if "path" in found:
            row |= {"path": found["path"], "scores": None if failed else values}
            row |= {"duration_s": None if failed else float(found["duration_s"]), "windows": int(found["windows"])}
            row["bandwidth_hz"] = _number(found["bandwidth_hz"])
        else:
            comparison: dict[str, dict[str, float]] = {}
            for name, value in values.items():
                key = next(key for key in _VALUES if name.endswith(f"_{key}"))
                comparison.setdefault(name.removesuffix(f"_{key}"), {})[key] = value
            row |= {"paths": [found["path_a"], found["path_b"]], "comparison": None if failed else comparison}
            row["durations_s"] = None if failed else [float(found[f"duration_{side}_s"]) for side in "ab"]
            row["windows"] = int(found["windows"])
            row["bandwidths_hz"] = None if failed else [_number(found[f"bandwidth_{side}_hz"]) for side in "ab"]
        error = {"code": found["error"], "message": found["message"]} if failed else None
        return row | {"flags": found["flags"].split(), "model": found["model"] or None, "error": error}


RowFormat = JsonLines | Csv


def score_cells(row: Row, metrics: Sequence[str]) -> dict[str, Any]:
    """A row of scores as {column: cell}."""
    return {
        "uid": row["uid"],
        "path": row["path"],
        **{name: (row["scores"] or {}).get(name) for name in metrics},
        "duration_s": row["duration_s"],
        "windows": row["windows"],
        "bandwidth_hz": row["bandwidth_hz"],
        **_end_cells(row),
    }


def comparison_cells(row: Row, metrics: Sequence[str]) -> dict[str, Any]:
    """A row of comparisons as {column: cell}."""
    comparison = row["comparison"] or {}
    durations = row["durations_s"] or (None, None)
    bandwidths = row["bandwidths_hz"] or (None, None)
    return {
        "uid": row["uid"],
        "path_a": row["paths"][0],
        "path_b": row["paths"][1],
        **{f"{name}_{value}": comparison.get(name, {}).get(value) for name in metrics for value in _VALUES},
        "duration_a_s": durations[0],
        "duration_b_s": durations[1],
        "windows": row["windows"],
        "bandwidth_a_hz": bandwidths[0],
        "bandwidth_b_hz": bandwidths[1],
        **_end_cells(row),
    }


def row_paths(row: Row) -> tuple[str, ...]:
    """The recording, or the two, that a row is of. With its position in the file, this identifies the row."""
    return tuple(printable(path or "") for path in (row["paths"] if "paths" in row else [row["path"]]))


def printable(text: str) -> str:
    """Bytes of a file name that are not UTF-8 as `\\udcXX`, which JSON readers turn back into the name."""
    return text.encode("utf-8", "backslashreplace").decode()


def _end_cells(row: Row) -> dict[str, Any]:
    error = row["error"] or {}
    return {
        "flags": " ".join(row["flags"]),
        "model": row["model"],
        "error": error.get("code"),
        "message": error.get("message"),
    }


def _number(cell: str) -> float | None:
    return float(cell) if cell else None


def _csv_line(cells: Sequence[Any]) -> str:
    text = io.StringIO(newline="")
    csv.writer(text).writerow([printable(cell) if isinstance(cell, str) else cell for cell in cells])
    return text.getvalue()


def _rounded(value: Any) -> Any:
    """Floats with the six decimals that float32 carries."""
    if isinstance(value, float):
        return round(value, 6)
    if isinstance(value, dict):
        return {key: _rounded(item) for key, item in value.items()}
    return [_rounded(item) for item in value] if isinstance(value, list) else value
