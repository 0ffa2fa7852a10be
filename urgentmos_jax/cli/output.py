"""Outputs of the subcommands: rows, whole files, standard output, and what is said on standard error."""

import argparse
import contextlib
import os
import sys
import time
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, TextIO

from urgentmos_jax import files
from urgentmos_jax.cli.selecting import Selection
from urgentmos_jax.cli.usage import OutputError, UsageError
from urgentmos_jax.files import InUse, check_writable, progress
from urgentmos_jax.scoring.row_files import Inputs, OtherRun, RowFile, RowStream
from urgentmos_jax.scoring.row_formats import Cells, Csv, JsonLines
from urgentmos_jax.scoring.summary import Summary, timing
from urgentmos_jax.scoring.times import Times


def add_output_arguments(parser: argparse.ArgumentParser) -> None:
    """--output, --resume and --metrics."""
    parser.add_argument(
        "--output",
        type=Path,
        metavar="FILE",
        help="ends in .jsonl or .csv; FILE.meta.json lies beside it (default: JSONL to stdout). Rows go to FILE.part, "
        "which becomes FILE when they are all there",
    )
    parser.add_argument(
        "--resume",
        action="store_true",
        help="keep the rows of a stopped run, which are in FILE.part, and continue; model, settings and inputs must be "
        "the same. A FILE that is finished is left alone",
    )
    parser.add_argument("--metrics", metavar="A,B", help="some of the model's metrics")


def open_rows(arguments: argparse.Namespace, selection: Selection) -> RowFile | RowStream:
    """What rows go to; what is wrong with it shows before the model is loaded.

    Raises:
        UsageError: An --output of a kind that is not written, or --resume without one.
        OutputError: It cannot be written.
    """
    path = arguments.output
    if path is None:
        if arguments.resume:
            raise UsageError("--resume: give the --output of the run that was stopped")
        return RowStream(standard_output())
    if path.suffix not in (".jsonl", ".csv"):
        raise UsageError(f"--output {path}: give a name that ends in .jsonl or .csv")
    with writing(f"--output {path}"):
        output = RowFile(path, resume=arguments.resume, keep=selection.keep)
    if output.unfinished and not arguments.resume:
        tell(f"{output.part}: rows of a run that was stopped, soon replaced; --resume continues from them")
    return output


def write_rows(
    output: RowFile | RowStream,
    rows: Callable[[int], Generator[Any, None, None]],
    *,
    inputs: Inputs,
    cells: Cells,
    metrics: Sequence[str],
    about: Mapping[str, Any],
    selection: Selection,
    times: Times,
    note: Callable[[Any], None] | None = None,
) -> int:
    """Writes rows as they come, with a progress bar on standard error, and a summary at the end.

    Args:
        output: Of `open_rows`.
        rows: Gives results in order, from an index on.
        inputs: (uid, path) or (uid, path of A, path of B) of each row.
        cells: Of a row in a CSV file.
        metrics: That have a column there.
        about: What goes into F.meta.json: model, and settings that rows depend on.
        selection: The part that `inputs` are, which rows are kept, and what their scores must reach.
        times: Of the model.
        note: Told each row, also those that a stopped run made.

    Returns:
        Exit status: 3 where scores are under a gate, else 1 where a row failed.

    Raises:
        UsageError: The rows of a stopped run are not of this one.
        OutputError: The output cannot be written.
    """
    summary, start, before = Summary(metrics, selection.gates), time.perf_counter(), times.copy()
    writing_s = 0.0
    flag = f"--output {output.path}" if isinstance(output, RowFile) else "standard output"
    csv = isinstance(output, RowFile) and output.path.suffix == ".csv"
    form: Csv | JsonLines = JsonLines(ascii_only=isinstance(output, RowStream) and not _writes_utf8())
    if csv:
        form = Csv(cells, metrics, header=selection.first)
    with writing(flag):
        for row in output.begin({**about, **selection.about}, inputs, form):
            summary.add(row)
            if note:
                note(row)
    if output.left_alone:
        tell(f"{flag}: finished before, left alone")
    elif output.count:
        tell(f"{flag}: resuming after {output.count} of {len(inputs)} rows")
    try:
        with contextlib.closing(rows(output.count)) as new:
            bar = progress(new, len(inputs), "row", start=output.count)
            for row in bar:
                summary.add(row)
                if note:
                    note(row)
                if row["error"]:
                    with bar.external_write_mode(file=sys.stderr):
                        tell(f"{row['uid']}: {row['error']['message']}")
                writing_s -= time.perf_counter()
                with writing(flag):
                    output.add(row)
                writing_s += time.perf_counter()
        writing_s -= time.perf_counter()
        with writing(flag):
            output.finish(summary.counts)
        writing_s += time.perf_counter()
    except (KeyboardInterrupt, OutputError) as stop:
        if isinstance(output, RowFile) and output.count:
            stop.add_note(f"{output.count} of {len(inputs)} rows are in {output.part}, --resume continues from them")
        raise
    kept = None
    if isinstance(output, RowFile) and selection.keep:
        kept = f"{output.count - output.dropped_count} kept, {output.dropped_count} in {output.dropped}"
    spent = None if output.left_alone else timing(times.since(before), time.perf_counter() - start, writing_s)
    return conclude(summary, kept, spent)


def conclude(summary: Summary, kept: str | None, spent: str | None) -> int:
    """Says at the end what all rows are.

    Args:
        summary: Of them.
        kept: How many are kept, where some are not.
        spent: Where the time went.

    Returns:
        Exit status: 3 where scores are under a gate, else 1 where a row failed.
    """
    faults = summary.faults()
    gates = [f"--fail-under {fault}" for fault in faults]
    for text in (summary.counted(), kept, summary.table(), spent, *gates):
        if text:
            tell(text)
    return 3 if faults else min(1, summary.counts["failed"])


def check_output(flag: str, path: Path | None) -> None:
    """Looks at a place that is to be written later, before the work is done.

    Raises:
        OutputError: It cannot be written.
    """
    if path is not None:
        with writing(f"{flag} {path}"):
            check_writable(path)


def write_text(flag: str, path: Path, text: str) -> None:
    """Writes a whole file and the folders above it; `flag` asked for it.

    Raises:
        OutputError: It cannot be written.
    """
    with writing(f"{flag} {path}"):
        path.parent.mkdir(parents=True, exist_ok=True)
        files.write_text(path, text)


def write_json(flag: str, path: Path, value: Any) -> None:
    """Writes JSON as `write_text` does."""
    with writing(f"{flag} {path}"):
        path.parent.mkdir(parents=True, exist_ok=True)
        files.write_json(path, value)


def print_result(text: str) -> None:
    """Prints lines on standard output.

    Raises:
        OutputError: They cannot be written.
        BrokenPipeError: Nobody reads them.
    """
    with writing("standard output"):
        print(text, end="" if text.endswith("\n") else "\n", file=standard_output(), flush=True)


def standard_output() -> TextIO:
    """Standard output, on which letters that it has not are escaped.

    Raises:
        OutputError: It is closed.
    """
    if sys.stdout is None:
        raise OutputError("standard output is closed")
    if hasattr(sys.stdout, "reconfigure"):
        sys.stdout.reconfigure(errors="backslashreplace")
    return sys.stdout


def tell(text: str) -> None:
    """Prints a line on standard error; work does not end where nobody reads it."""
    if sys.stderr is not None:
        try:
            print(text, file=sys.stderr, flush=True)
        except OSError:
            with contextlib.suppress(OSError):
                os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stderr.fileno())


@contextlib.contextmanager
def writing(what: str) -> Iterator[None]:
    """Turns an OSError of what is written meanwhile into OutputError, OtherRun into UsageError; a closed pipe's stays.

    Args:
        what: Is written.
    """
    try:
        yield
    except BrokenPipeError:
        raise
    except InUse as error:
        raise OutputError(f"{what}: {error}") from None
    except OtherRun as error:
        raise UsageError(f"--resume: {error}. Give what that run was given; without --resume all starts anew") from None
    except OSError as error:
        raise OutputError(f"{what}: cannot be written ({error.strerror or error})") from None


def _writes_utf8() -> bool:
    return (sys.stdout.encoding or "").lower().replace("-", "").startswith("utf")
