"""Tables as text: CSV files, spreadsheets and Kaldi's `scp` lists, and the numbers of their cells.

The one reader of all of them. No cell is ever taken for a missing value or a number that its reader did not ask for.
"""

import contextlib
import csv
import hashlib
import io
import math
import os
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from urgentmos_jax.manifests.lines import out_of_range
from urgentmos_jax.manifests.records import ManifestError
from urgentmos_jax.manifests.text import decode, read_bytes
from urgentmos_jax.metrics import CATALOGUE

_SEPARATORS = re.compile(r"[\s,;]+")
_BLANK = {"", "na", "n/a", "nan", "none", "null", "-"}


class Position(NamedTuple):
    """A line of a file, or a row of a table that has no lines."""

    path: str
    line: int

    def __str__(self) -> str:
        return f"{self.path}:{self.line}"


class CsvFile:
    """A text table, UTF-8, with or without a byte-order mark, perhaps compressed.

    Args:
        path: The file.
        columns: Names the header must have, each once; None for a table without header.
        delimiters: The first that finds the columns is taken.
        strip: Whether cells lose the white space around them; ids and paths that a program wrote keep it.

    Attributes:
        delimiter: The one taken.
        header: Names of the columns; empty for a table without header.
        sha256: Of the file.

    Raises:
        ManifestError: It cannot be read, is not UTF-8, or lacks a column.
    """

    def __init__(
        self,
        path: str | os.PathLike,
        columns: Sequence[str] | None,
        *,
        delimiters: Sequence[str] = (",",),
        strip: bool = True,
    ):
        self.path, self._strip = os.fsdecode(path), strip
        data = read_bytes(path)
        self._text = decode(data, self.path)
        self.sha256 = hashlib.sha256(data).hexdigest()
        self.delimiter = delimiters[0]
        self.header: list[str] = []
        if columns is not None:
            self.delimiter, self.header = self._find_header(columns, delimiters)

    def __iter__(self) -> Iterator[tuple[Position, list[str]]]:
        """Position and cells of each row that is not blank, without the header."""
        rows = self._rows(self.delimiter)
        if self.header:
            next(rows)
        return rows

    def _rows(self, delimiter: str) -> Iterator[tuple[Position, list[str]]]:
        reader = csv.reader(io.StringIO(self._text, newline=""), delimiter=delimiter, strict=True)
        try:
            for cells in reader:
                if any(cells):
                    yield (
                        Position(self.path, reader.line_num),
                        [cell.strip() if self._strip else cell for cell in cells],
                    )
        except csv.Error as error:
            raise ManifestError([f"{self.path}:{reader.line_num}: broken CSV ({error})"]) from None

    def _find_header(self, columns: Sequence[str], delimiters: Sequence[str]) -> tuple[str, list[str]]:
        headers: list[list[str]] = []
        broken: list[str] = []
        for delimiter in delimiters:
            try:
                _, header = next(self._rows(delimiter), (Position(self.path, 1), []))
            except ManifestError as error:  # Quotes that are broken with this delimiter.
                broken = error.faults
                continue
            if all(header.count(name) == 1 for name in columns):
                return delimiter, header
            headers.append(header)
        if not headers:
            raise ManifestError(broken)
        raise ManifestError([f"{self.path}:1: {_header_fault(max(headers, key=len), columns)}"])


def read_sheet(
    path: str | os.PathLike, sheet: str, columns: Sequence[str]
) -> Iterator[tuple[Position, dict[str, str]]]:
    """Rows of a sheet of an Excel file as {column: text}, whole numbers without a decimal point.

    Args:
        path: The `.xlsx` file.
        sheet: Name of the sheet; its first row is the header.
        columns: Names the header must have, each once.

    Raises:
        ManifestError: It cannot be read, has no such sheet, or lacks a column.
        ModuleNotFoundError: openpyxl is not installed.
    """
    try:
        import openpyxl
    except ModuleNotFoundError as error:
        text = f'openpyxl is missing, which reads {os.fsdecode(path)}: pip install "urgentmos_jax[corpora]"'
        raise ModuleNotFoundError(text, name="openpyxl") from error
    try:
        book = openpyxl.load_workbook(path, read_only=True, data_only=True)
    except Exception as error:  # openpyxl's own, of zipfile and of its XML reader.
        raise ManifestError([f"{os.fsdecode(path)}: cannot be read as an Excel file ({error})"]) from None
    with contextlib.closing(book):
        if sheet not in book.sheetnames:
            raise ManifestError([f"{os.fsdecode(path)}: no sheet {sheet!r}; there are {book.sheetnames}"])
        rows = book[sheet].iter_rows(values_only=True)
        header = [_cell_text(cell) for cell in next(rows, ())]
        if fault := _header_fault(header, columns):
            raise ManifestError([f"{os.fsdecode(path)}:1: {fault}"])
        for line, row in enumerate(rows, 2):
            cells = [_cell_text(cell) for cell in row]
            if any(cells):
                yield Position(os.fsdecode(path), line), dict(zip(header, cells, strict=False))


class RowChecks:
    """Checks the cells of tables, and gathers faults and counts.

    Attributes:
        read: Rows.
        blank: Blank cells, by name.
        notes: What else should be told, with counts.
        sources: {path: SHA-256} of the tables.
        faults: All that is wrong.
    """

    def __init__(self) -> None:
        self.read = 0
        self.blank: Counter[str] = Counter()
        self.notes: Counter[str] = Counter()
        self.sources: dict[str, str] = {}
        self._faults: list[tuple[Position, str]] = []

    @property
    def faults(self) -> list[str]:
        """All that is wrong, in the order of the lists."""
        return [f"{position}: {text}" for position, text in sorted(self._faults, key=lambda fault: fault[0])]

    def fault(self, position: Position, text: str) -> None:
        """Notes what is wrong with a row."""
        self._faults.append((position, text))

    def table(self, file: CsvFile, *, minimum: int = 0) -> Iterator[tuple[Position, Any]]:
        """Rows of a table: {column: text}, or without header the cells, of which there are `minimum` or more."""
        self.sources[file.path] = file.sha256
        for position, cells in file:
            self.read += 1
            if not file.header:
                if len(cells) >= minimum:
                    yield position, cells
                else:
                    self.fault(position, f"has {len(cells)} cells, expected at least {minimum}")
            elif len(cells) == len(file.header):
                yield position, dict(zip(file.header, cells, strict=True))
            else:
                self.fault(position, f"has {len(cells)} cells, the header has {len(file.header)}")

    def value(self, position: Position, name: str, text: str) -> float | None:
        """A number; None where the cell is blank, which is counted, or wrong."""
        if is_blank(text):
            self.blank[name] += 1
            return None
        value = number(text)
        if value is None:
            self.fault(position, f"{name} {text!r} is not a number")
        return value

    def fits(self, position: Position, metric: str, label: float) -> bool:
        """Whether a label is in its metric's range or a little outside; if not it is a fault, or of a computed metric
        left out and counted."""
        known = CATALOGUE.get(metric)
        if known is None or not out_of_range(label, known.minimum, known.maximum):
            return True
        outside = f"outside {known.minimum:g} to {known.maximum:g}"
        if known.human:
            self.fault(position, f"{metric} {label:g} is {outside}; give a scale, as 0-100:1-5")
        else:
            self.notes[f"{metric} far {outside}, left out"] += 1
        return False

    def stop_at_faults(self) -> None:
        """Raises what is wrong, if anything is."""
        if self._faults:
            raise ManifestError(self.faults)


def read_scp(path: Path, checks: RowChecks) -> dict[str, tuple[Position, float]]:
    """Reads lines of `uid number`; wrong ones become faults, `nan` and the like count as blank.

    Returns:
        {uid: (where it stands, value)}.

    Raises:
        ManifestError: It cannot be read, or is not UTF-8.
    """
    values: dict[str, tuple[Position, float]] = {}
    for line, text in enumerate(io.StringIO(decode(read_bytes(path), str(path)), newline=None), 1):
        position, parts = Position(str(path), line), text.split()
        if not parts:
            continue
        if len(parts) == 2 and is_blank(parts[1]):  # As the challenge's own scripts write what has no value.
            checks.blank[path.name] += 1
            continue
        value = number(parts[-1]) if len(parts) == 2 else None
        if value is None:
            checks.fault(position, f"{text.strip()!r} is not `uid number`")
        elif parts[0] in values and values[parts[0]][1] != value:
            checks.fault(position, f"{parts[0]!r} has {value:g}, on line {values[parts[0]][0].line} another value")
        else:
            values[parts[0]] = position, value
    return values


def split_cell(cell: str) -> list[str]:
    """Texts of a cell that holds several, between white space, commas or semicolons, perhaps in brackets or quotes."""
    return [text.strip("'\"") for text in _SEPARATORS.split(cell.strip("[]() \t")) if text]


def is_blank(text: str) -> bool:
    """Whether a cell says that there is no rating."""
    return text.lower() in _BLANK


def number(text: str) -> float | None:
    """A finite number as tables have it, or None; `1_000`, which Python reads too, is none."""
    try:
        value = math.nan if "_" in text else float(text)
    except ValueError:
        return None
    return value if math.isfinite(value) else None


def _header_fault(header: Sequence[str], columns: Sequence[str]) -> str | None:
    missing = [name for name in columns if name not in header]
    twice = [name for name in columns if list(header).count(name) > 1]
    if not missing and not twice:
        return None
    found = f"no column {', '.join(map(repr, missing))}" if missing else f"column {twice[0]!r} more than once"
    return f"{found}; the columns are {list(header)}"


def _cell_text(cell: object) -> str:
    if cell is None:
        return ""
    if isinstance(cell, float) and cell.is_integer():
        cell = int(cell)
    return str(cell).strip()
