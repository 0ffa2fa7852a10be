"""What the subcommands share: usage errors, loading a model, lists of recordings, writing rows."""

import argparse
import contextlib
import csv
import io
import json
import math
import sys
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO

from urgentmos_jax import files
from urgentmos_jax.files import progress, summarise_errors, write_json
from urgentmos_jax.manifests.reading import ManifestError, json_lines, locate, two_strings

if TYPE_CHECKING:
    from urgentmos_jax.scoring.model import Model

__all__ = ["DEFAULT_MODEL", "UsageError", "add_model_arguments", "load", "read_list", "write_rows", "write_text"]

DEFAULT_MODEL = "urgent-challenge/urgent-mos-f1c1m5dcorpus"

Row = dict[str, Any]


class UsageError(Exception):
    """Wrong usage; the message says what to do."""


def add_model_arguments(parser: argparse.ArgumentParser, *, several: bool = False) -> None:
    """--model (or several), None by default; --precision and --batch-seconds."""
    number = {"nargs": "+"} if several else {}
    parser.add_argument("--model", metavar="M", help=f"model folder or hub id (default: {DEFAULT_MODEL})", **number)
    parser.add_argument(
        "--precision", choices=("float32", "bfloat16"), default="float32", help="of the encoders (default: %(default)s)"
    )
    parser.add_argument("--batch-seconds", type=float, metavar="S", help="audio a batch; the default suits the device")


def add_output_arguments(parser: argparse.ArgumentParser) -> None:
    """--output and --metrics."""
    parser.add_argument(
        "--output",
        type=Path,
        metavar="FILE",
        help="ends in .jsonl or .csv; FILE.meta.json lies beside it (default: JSONL to stdout)",
    )
    parser.add_argument("--metrics", metavar="A,B", help="some of the model's metrics")


def load(arguments: argparse.Namespace, source: str | None = None) -> "Model":
    """Loads `source`, else --model, else the default; what can be wrong with it is wrong usage."""
    from urgentmos_jax.scoring.loading import load_model
    from urgentmos_jax.weights.encoder_folder import ModelNotFound

    if arguments.batch_seconds is not None and not 0 < arguments.batch_seconds < math.inf:
        raise UsageError(f"--batch-seconds is {arguments.batch_seconds}, give a number above 0")
    source = source or arguments.model or DEFAULT_MODEL
    try:
        return load_model(source, precision=arguments.precision, batch_seconds=arguments.batch_seconds)
    except ModelNotFound as error:
        raise UsageError(f"--model {error}") from None
    except (ValueError, OSError) as error:
        raise UsageError(str(error)) from None


def check_output(path: Path | None) -> None:
    """Refuses an --output of a kind that is not written, before the model is loaded."""
    if path is not None and path.suffix not in (".jsonl", ".csv"):
        raise UsageError(f"--output {path}: give a name that ends in .jsonl or .csv")


def chosen_metrics(arguments: argparse.Namespace, known: Iterable[str]) -> list[str] | None:
    """--metrics as a list, checked."""
    if arguments.metrics is None:
        return None
    names = [name.strip() for name in arguments.metrics.split(",") if name.strip()]
    if unknown := [name for name in names if name not in known]:
        raise UsageError(f"--metrics: {unknown} are not among those of the model: {', '.join(known)}")
    return names


def read_list(path: Path, audio_root: Path | None = None) -> list[tuple[str, str]]:
    """(uid, path of the recording) of each line of a list.

    `.jsonl`: `audio_path` and perhaps `uid`; `.csv`: a column `audio_path` or `path` and perhaps `uid`; `.scp`: uid and
    path; anything else: a path a line. Relative paths are relative to the list, else to `audio_root`.

    Raises:
        UsageError: naming every line that cannot be read.
    """
    rows, faults = [], []
    for number, entry in _entries(path):
        if isinstance(entry, str):
            faults.append(f"{path}:{number}: {entry}")
            continue
        audio = entry.get("audio_path") or entry.get("path")
        if not audio or not isinstance(audio, str):
            faults.append(f"{path}:{number}: no audio_path (a string)")
            continue
        uid = entry.get("uid")
        rows.append((audio if uid in (None, "") else str(uid), locate(audio, path, audio_root)))
    _stop_at(faults)
    if not rows:
        raise UsageError(f"{path}: lists no recordings")
    return rows


def read_pairs(path: Path, audio_root: Path | None = None) -> list[tuple[str, tuple[str, str]]]:
    """(uid, paths of A and B) of each line of a `.jsonl` of pairs: `audio_paths`, and perhaps `uids`.

    Raises:
        UsageError: naming every line that cannot be read.
    """
    rows, faults = [], []
    for number, entry in _entries(path):
        audio = entry if isinstance(entry, str) else entry.get("audio_paths")
        if isinstance(audio, str) or not two_strings(audio):
            why = audio if isinstance(entry, str) else "no audio_paths [A, B] (two strings)"
            faults.append(f"{path}:{number}: {why}")
            continue
        uids = entry["uids"] if two_strings(entry.get("uids")) else audio
        rows.append((" ".join(uids), tuple(locate(side, path, audio_root) for side in audio)))
    _stop_at(faults)
    if not rows:
        raise UsageError(f"{path}: lists no pairs")
    return rows


def find_recordings(folder: Path) -> list[Path]:
    """Recordings below a folder, sorted, hidden files left out."""
    from urgentmos_jax.audio.loading import AUDIO_SUFFIXES

    found = sorted(
        path
        for path in folder.rglob("*")
        if path.suffix.lower() in AUDIO_SUFFIXES and not any(p.startswith(".") for p in path.relative_to(folder).parts)
    )
    if not found:
        raise UsageError(f"{folder}: no recordings ({', '.join(AUDIO_SUFFIXES)}) below this folder")
    return found


def write_rows(
    rows: Iterable[Row],
    arguments: argparse.Namespace,
    *,
    total: int,
    table: Callable[[Row], Row],
    meta: Row,
) -> int:
    """Writes rows as they come, with a progress bar on standard error, and a summary at the end.

    Args:
        rows: Results, in order.
        arguments: With `output`.
        total: Number of rows, for the progress bar.
        table: A row as it stands in a CSV file.
        meta: What goes into F.meta.json, without the counts.

    Returns:
        Exit status: 1 where a row failed.
    """
    counts: Counter[str] = Counter()
    path = arguments.output
    with _opened(path) as file:
        write = _csv_writer(file, table) if path and path.suffix == ".csv" else _jsonl_writer(file)
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


def metadata(model: "Model") -> Row:
    """What was computed with what, for F.meta.json."""
    from urgentmos_jax.audio.loading import RESAMPLER
    from urgentmos_jax.version import __version__

    return {"tool": "urgentmos_jax", "tool_version": __version__, "resampler": RESAMPLER, **model.describe()}


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


def _jsonl_writer(file: TextIO) -> Callable[[Row], None]:
    def write(row: Row) -> None:
        file.write(_printable(json.dumps(_rounded(row), ensure_ascii=False)) + "\n")
        file.flush()

    return write


def _csv_writer(file: TextIO, table: Callable[[Row], Row]) -> Callable[[Row], None]:
    writer: csv.DictWriter | None = None

    def write(row: Row) -> None:
        nonlocal writer
        cells = {
            name: _printable(cell) if isinstance(cell, str) else cell for name, cell in _rounded(table(row)).items()
        }
        if writer is None:
            writer = csv.DictWriter(file, list(cells))
            writer.writeheader()
        writer.writerow(cells)
        file.flush()

    return write


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


def _entries(path: Path) -> Iterator[tuple[int, Row | str]]:
    """(line number, entry or what is wrong with the line)."""
    if path.suffix == ".jsonl":
        try:
            yield from json_lines(path)
        except ManifestError as error:
            raise UsageError(str(error)) from None
        return
    try:
        text = path.read_text(encoding="utf-8-sig")  # Lines end in \n from here on.
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"{path}: cannot be read ({error})") from None
    if path.suffix == ".csv":
        reader = csv.DictReader(io.StringIO(text))
        try:
            if not {"audio_path", "path"} & set(reader.fieldnames or ()):
                raise UsageError(f"{path}:1: no column audio_path or path, found {reader.fieldnames}")
            yield from ((reader.line_num, row) for row in reader)
        except csv.Error as error:
            yield reader.line_num, f"broken CSV ({error})"
        return
    for number, line in enumerate(text.split("\n"), 1):
        if not line.strip():
            continue
        if path.suffix == ".scp":
            uid, *audio = line.strip().split(None, 1)
            yield number, {"uid": uid, "audio_path": audio[0]} if audio else "no `uid path`"
        else:
            yield number, {"audio_path": line.strip()}


def _stop_at(faults: list[str]) -> None:
    if faults:
        raise UsageError(summarise_errors(faults, "lines cannot be used"))
