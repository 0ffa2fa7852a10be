"""`urgentmos score`: one row of scores for each recording, in order."""

import argparse
import codecs
import math
import os
import sys
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from urgentmos_jax.cli.models import add_model_arguments, chosen_metrics, load, metadata
from urgentmos_jax.cli.output import add_output_arguments, check_output, write_rows
from urgentmos_jax.cli.reporting import about_page, add_report_arguments, check_report, save_report
from urgentmos_jax.cli.usage import UsageError
from urgentmos_jax.manifests.lists import LIST_SUFFIXES, find_recordings, read_list
from urgentmos_jax.manifests.paths import locate
from urgentmos_jax.manifests.records import ManifestError, Utterance
from urgentmos_jax.scoring.row_files import score_cells
from urgentmos_jax.scoring.rows import ScoreRow

if TYPE_CHECKING:
    from urgentmos_jax.scoring.model import Model


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Flags of the subcommand."""
    parser.add_argument(
        "inputs", nargs="+", metavar="INPUT", help="recording, folder, list (.jsonl, .csv, .scp, .txt), or - for stdin"
    )
    add_model_arguments(parser)
    add_output_arguments(parser)
    parser.add_argument("--frames", action="store_true", help="add the score and the weight of each frame (JSONL)")
    add_report_arguments(parser)
    parser.add_argument("--audio-root", type=Path, metavar="DIR", help="where else relative paths are looked up")


def run(arguments: argparse.Namespace) -> int:
    """Scores; 1 where a recording failed."""
    check_output(arguments.output)
    check_report(arguments.report, arguments.embed_mb)
    if arguments.frames and arguments.output and arguments.output.suffix == ".csv":
        raise UsageError("--frames: a CSV file has no place for frames, give an --output that ends in .jsonl")
    try:
        inputs = unique_names(arguments.inputs, arguments.audio_root)
    except ManifestError as error:
        raise UsageError(str(error)) from None
    model = load(arguments)
    metrics = chosen_metrics(arguments, model.metrics)
    rows: Iterator[ScoreRow] = model.iter_scores(
        [path for _, path in inputs], uids=[uid for uid, _ in inputs], metrics=metrics, frames=arguments.frames
    )
    columns = metrics or list(model.metrics)
    about = metadata(model)
    seen: list[ScoreRow] = []
    if arguments.report:
        rows = _seen(rows, seen)
    status = write_rows(rows, arguments, total=len(inputs), cells=lambda row: score_cells(row, columns), meta=about)
    if arguments.report:
        _report(arguments, seen, columns, about, model)
    return status


def unique_names(names: Sequence[str], audio_root: Path | None) -> list[tuple[str, str]]:
    """(uid, path) of each recording; the name of a recording within a folder has the folder in front where others
    have that name too."""
    inputs = [(name, *item) for name in names for item in expand(name, audio_root)]
    paths: dict[str, set[str]] = {}
    for _, uid, path in inputs:
        paths.setdefault(uid, set()).add(path)
    stems = Counter(os.path.splitext(path)[0] for path in {path for _, _, path in inputs})
    found = []
    for name, uid, path in inputs:
        if len(paths[uid]) > 1 and Path(name).is_dir():
            stem = os.path.splitext(path)[0]
            uid = stem if stems[stem] == 1 else path
        found.append((uid, path))
    return found


def expand(name: str, audio_root: Path | None) -> list[tuple[str, str]]:
    """(uid, path) of each recording an INPUT stands for."""
    path = Path(name)
    if name == "-":
        data = sys.stdin.buffer.read()
        if b"\0" in data:
            raise UsageError(
                "-: standard input is not a text of paths, one a line; `find -print0` needs to be `-print`"
            )
        # Names of files need not be UTF-8.
        text = os.fsdecode(data.removeprefix(codecs.BOM_UTF8))
        lines = [line.strip() for line in text.split("\n") if line.strip()]
        if not lines:
            raise UsageError("-: no paths on standard input")
        return [(line, locate(line, Path("stdin"), audio_root)) for line in lines]
    if path.is_dir():
        return [(str(found.relative_to(path).with_suffix("")), str(found)) for found in find_recordings(path)]
    if path.suffix in LIST_SUFFIXES:
        return read_list(path, audio_root)
    return [(name, name)]


def _seen(rows: Iterable[ScoreRow], seen: list[ScoreRow]) -> Iterator[ScoreRow]:
    """The rows, which are also kept, without their frames."""
    for row in rows:
        kept = row.copy()
        kept.pop("frames", None)
        seen.append(kept)
        yield row


def _report(
    arguments: argparse.Namespace, rows: "list[ScoreRow]", metrics: list[str], about: dict[str, Any], model: "Model"
) -> None:
    # Lists may name different recordings alike; one that is listed twice is shown once.
    by_path = {str(row["path"]): row for row in rows}
    alike = Counter(row["uid"] for row in by_path.values())
    by_uid = {row["uid"] if alike[row["uid"]] == 1 else path: row for path, row in by_path.items()}
    save_report(
        arguments.report,
        [Utterance(uid, str(row["path"]), row["duration_s"] or math.nan) for uid, row in by_uid.items()],
        {uid: row["scores"] for uid, row in by_uid.items() if row["scores"]},
        metric="mos_overall" if "mos_overall" in metrics else metrics[0],
        **about_page([Path("standard input" if name == "-" else name) for name in arguments.inputs], about),
        failures={uid: row["error"]["message"] for uid, row in by_uid.items() if row["error"]},
        model=model,
        embed_mb=arguments.embed_mb,
    )
