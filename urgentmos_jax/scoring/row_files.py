"""Where a row is written: scores and comparisons as JSON lines, or as CSV with a column for each metric."""

import csv
import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TextIO

Row = Mapping[str, Any]
_VALUES = ("cmos", "p_a", "p_b", "p_tie")


def jsonl_writer(file: TextIO) -> Callable[[Row], None]:
    """Writes a row as a line of JSON, and flushes."""

    def write(row: Row) -> None:
        file.write(_printable(json.dumps(_rounded(row), ensure_ascii=False)) + "\n")
        file.flush()

    return write


def csv_writer(file: TextIO, cells: Callable[[Row], dict[str, Any]]) -> Callable[[Row], None]:
    """Writes the `cells` of a row as a line of CSV, after a header, and flushes."""
    writer: csv.DictWriter | None = None

    def write(row: Row) -> None:
        nonlocal writer
        found = {
            name: _printable(cell) if isinstance(cell, str) else cell for name, cell in _rounded(cells(row)).items()
        }
        if writer is None:
            writer = csv.DictWriter(file, list(found))
            writer.writeheader()
        writer.writerow(found)
        file.flush()

    return write


def score_cells(row: Row, metrics: Sequence[str]) -> dict[str, Any]:
    """A row of scores as {column: cell}."""
    return {
        "uid": row["uid"],
        "path": row["path"],
        **{name: (row["scores"] or {}).get(name) for name in metrics},
        "duration_s": row["duration_s"],
        **_end_cells(row),
    }


def comparison_cells(row: Row, metrics: Sequence[str]) -> dict[str, Any]:
    """A row of comparisons as {column: cell}."""
    comparison = row["comparison"] or {}
    durations = row["durations_s"] or (None, None)
    return {
        "uid": row["uid"],
        "path_a": row["paths"][0],
        "path_b": row["paths"][1],
        **{f"{name}_{value}": comparison.get(name, {}).get(value) for name in metrics for value in _VALUES},
        "duration_a_s": durations[0],
        "duration_b_s": durations[1],
        **_end_cells(row),
    }


def _end_cells(row: Row) -> dict[str, Any]:
    error = row["error"] or {}
    return {
        "windows": row["windows"],
        "flags": " ".join(row["flags"]),
        "error": error.get("code"),
        "message": error.get("message"),
    }


def _printable(text: str) -> str:
    """Bytes of a file name that are not UTF-8 as `\\udcXX`, which JSON readers turn back into the name."""
    return text.encode("utf-8", "backslashreplace").decode()


def _rounded(value: Any) -> Any:
    """Floats with the six decimals that float32 carries."""
    if isinstance(value, float):
        return round(value, 6)
    if isinstance(value, dict):
        return {key: _rounded(item) for key, item in value.items()}
    return [_rounded(item) for item in value] if isinstance(value, list) else value
