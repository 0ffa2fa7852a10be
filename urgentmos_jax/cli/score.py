"""`urgentmos score`: one row of scores for each recording, in order."""

import argparse
import math
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any

from urgentmos_jax.cli.models import add_model_arguments, chosen_metrics, load, metadata
from urgentmos_jax.cli.output import add_output_arguments, open_rows, write_rows
from urgentmos_jax.cli.reporting import about_page, add_report_arguments, check_report, save_report
from urgentmos_jax.cli.usage import UsageError
from urgentmos_jax.manifests.inputs import path_of, read_inputs
from urgentmos_jax.manifests.records import ManifestError, Utterance
from urgentmos_jax.scoring.row_formats import score_cells
from urgentmos_jax.scoring.rows import ScoreRow

if TYPE_CHECKING:
    from urgentmos_jax.scoring.model import Model


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Flags of the subcommand."""
    parser.add_argument(
        "inputs", nargs="+", metavar="INPUT",
        help="recording, folder, list (.jsonl, .json, .csv, .tsv, .scp, .txt, .lst, each also .gz), archive (.tar, "
        ".tar.gz), table (.parquet), or - for stdin",
    )  # fmt: skip
    add_model_arguments(parser)
    add_output_arguments(parser)
    parser.add_argument("--frames", action="store_true", help="add the score and the weight of each frame (JSONL)")
    add_report_arguments(parser)
    parser.add_argument("--audio-root", type=Path, metavar="DIR", help="where else relative paths are looked up")


def run(arguments: argparse.Namespace) -> int:
    """Scores; 1 where a recording failed."""
    check_report(arguments.report, arguments.embed_mb)
    if arguments.frames and arguments.output and arguments.output.suffix == ".csv":
        raise UsageError("--frames: a CSV file has no place for frames, give an --output that ends in .jsonl")
    try:
        inputs = read_inputs(arguments.inputs, arguments.audio_root)
    except ManifestError as error:
        raise UsageError(str(error)) from None
    seen: list[ScoreRow] = []
    with open_rows(arguments) as output:
        model = load(arguments)
        metrics = chosen_metrics(arguments, model.metrics) or list(model.metrics)
        about = {**metadata(model), "command": "score", "metrics": metrics, "frames": arguments.frames}
        status = write_rows(
            output,
            lambda start: model.iter_scores(
                [recording for _, recording in inputs[start:]],
                uids=[uid for uid, _ in inputs[start:]],
                metrics=metrics,
                frames=arguments.frames,
            ),
            inputs=[(uid, path_of(recording)) for uid, recording in inputs],
            cells=score_cells,
            metrics=metrics,
            about=about,
            note=(lambda row: seen.append(_without_frames(row))) if arguments.report else None,
        )
    if arguments.report:
        _report(arguments, seen, metrics, about, model)
    return status


def _without_frames(row: ScoreRow) -> ScoreRow:
    kept = row.copy()
    kept.pop("frames", None)
    return kept


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
