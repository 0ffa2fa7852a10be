"""Strict readers of JSON lines and of tables, written apart from the package's: what its readers must agree with."""

import json
import re
from typing import Any

# As Python writes numbers, and people.
NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?", re.ASCII)


def json_lines(data: bytes) -> dict[int, dict[str, Any] | None]:
    """{line: its object; None where it is not one} of all lines that are not blank; a key may be there once.

    UTF-16 has no such lines: it is refused at the first.
    """
    if data.startswith((b"\xff\xfe", b"\xfe\xff")):
        return {1: None}
    lines = data.removeprefix(b"\xef\xbb\xbf").split(b"\n")
    return {number: _object(line) for number, line in enumerate(lines, 1) if line.strip()}


def _object(line: bytes) -> dict[str, Any] | None:
    def once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        if len(dict(pairs)) < len(pairs):
            raise ValueError("a key twice")
        return dict(pairs)

    try:
        found = json.loads(line.decode(), object_pairs_hook=once)
    except (ValueError, RecursionError):
        return None
    return found if isinstance(found, dict) else None


def table(text: str, delimiter: str) -> list[tuple[int, list[str]]] | None:
    """(last line, cells) of each row as RFC 4180 has them, rows of empty cells left out; None for broken quotes."""
    rows: list[tuple[int, list[str]]] = []
    cells, cell, state, line, at = [], "", "start", 1, 0

    def end_row() -> None:
        nonlocal cells, cell
        if any(row := [*cells, cell]):
            rows.append((line, row))
        cells, cell = [], ""

    while at < len(text):
        character = text[at]
        end = character in "\r\n"
        if character == "\r" and text[at + 1 : at + 2] == "\n":
            at += 1
            character = "\r\n"
        at += 1
        if state == "quoted":
            if character == '"':
                state = "behind"
            else:
                cell += character
                line += end
        elif state == "behind" and character == '"':
            cell, state = cell + '"', "quoted"
        elif character == delimiter:
            cells, cell, state = [*cells, cell], "", "start"
        elif end:
            end_row()
            state, line = "start", line + 1
        elif state == "behind":
            return None
        elif state == "start" and character == '"':
            state = "quoted"
        else:
            cell, state = cell + character, "plain"
    if state == "quoted":
        return None
    if cells or cell or state != "start":
        end_row()
    return rows
