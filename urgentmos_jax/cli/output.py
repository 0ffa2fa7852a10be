"""--output of the subcommands: rows, whole files, and what is said of them on standard error."""

import argparse
import contextlib
import sys
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, TextIO

from urgentmos_jax import files
from urgentmos_jax.cli.usage import UsageError
from urgentmos_jax.files import progress, write_json
from urgentmos_jax.scoring.row_files import csv_writer, jsonl_writer

Row = Mapping[str, Any]


def add_output_arguments(parser: argparse.ArgumentParser) -> None:
    """--output and --metrics."""
    parser.add_argument(
        "--output",
        type=Path,
        metavar="FILE",
        help="ends in .jsonl or .csv; FILE.meta.json lies beside it (default: JSONL to stdout)",
    )
    parser.add_argument("--metrics", metavar="A,B", help="some of the model's metrics")


def check_output(path: Path | None) -> None:
    """Refuses an --output of a kind that is not written, before the model is loaded."""
    if path is not None and path.suffix not in (".jsonl", ".csv"):
        raise UsageError(f"--output {path}: give a name that ends in .jsonl or .csv")


def write_rows(
    rows: Iterable[Row],
    arguments: argparse.Namespace,
    *,
    total: int,
    cells: Callable[[Row], dict[str, Any]],
    meta: Mapping[str, Any],
) -> int:
    """Writes rows as they come, with a progress bar on standard error, and a summary at the end.

    Args:
        rows: Results, in order.
        arguments: With `output`.
        total: Number of rows, for the progress bar.
        cells: {column: cell} of a row in a CSV file.
        meta: What goes into F.meta.json, without the counts.

    Returns:
        Exit status: 1 where a row failed.
    """
    counts: Counter[str] = Counter()
    path = arguments.output
    with _opened(path) as file:
        write = csv_writer(file, cells) if path and path.suffix == ".csv" else jsonl_writer(file)
        bar = progress(rows, total, "row")
        for row in bar:
            counts["rows"] += 1
            counts["failed" if row["error"] else "done"] += 1
            if row["error"]:
                counts[f"error:{row['error']['code']}"] += 1
                bar.write(f"{row['uid']}: {row['error']['message']}", file=sys.stderr)
            for flag in row["flags"]:
                counts[f"flag:{flag}"] += 1
            write(row)
    if path:
        write_json(f"{path}.meta.json", {**meta, "counts": dict(counts)})
    details = ", ".join(f"{name.split(':')[1]}: {count}" for name, count in counts.items() if ":" in name)
    summary = f"{counts['rows']} rows, {counts['done']} done, {counts['failed']} failed"
    print(summary + (f" ({details})" if details else ""), file=sys.stderr)
    return 1 if counts["failed"] else 0


def write_text(flag: str, path: Path, text: str) -> None:
    """Writes a whole file and the folders above it; `flag` asked for it.

    Raises:
        UsageError: It cannot be written.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        files.write_text(path, text)
    except OSError as error:
        raise UsageError(f"{flag} {path}: cannot be written ({error.strerror or error})") from None


@contextlib.contextmanager
def _opened(path: Path | None) -> Iterator[TextIO]:
    if path is None:
        yield sys.stdout
        return
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        file = path.open("w", encoding="utf-8", newline="")
    except OSError as error:
        raise UsageError(f"--output {path}: cannot be written ({error.strerror})") from None
    with file:
        yield file
