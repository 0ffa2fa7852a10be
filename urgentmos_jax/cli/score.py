"""`urgentmos score`: one row of scores for each recording, in order."""

import argparse
import math
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any

from urgentmos_jax.cli.models import add_model_arguments, chosen_metrics, config_of, load, metadata
from urgentmos_jax.cli.on_ray import add_ray_arguments, check_ray, score_on_ray
from urgentmos_jax.cli.output import add_output_arguments, open_rows, write_rows
from urgentmos_jax.cli.reporting import about_page, add_report_arguments, check_report, save_report
from urgentmos_jax.cli.selecting import add_selection_arguments, read_selection
from urgentmos_jax.cli.usage import UsageError
from urgentmos_jax.manifests.inputs import read_inputs, with_paths
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
    add_selection_arguments(parser)
    parser.add_argument(
        "--frames", action="store_true", help="add the score and the weight of each frame, and the worst second (JSONL)"
    )
    add_report_arguments(parser)
    parser.add_argument("--audio-root", type=Path, metavar="DIR", help="where else relative paths are looked up")
    add_ray_arguments(parser)


def run(arguments: argparse.Namespace) -> int:
    """Scores; 1 where a recording failed, 3 where scores are under a gate."""
    selection = read_selection(arguments)
    check_report(arguments.report, arguments.embed_mb)
    check_ray(arguments)
    if arguments.frames and arguments.output and arguments.output.suffix == ".csv":
        raise UsageError("--frames: a CSV file has no place for frames, give an --output that ends in .jsonl")
    try:
        inputs = selection.of(read_inputs(arguments.inputs, arguments.audio_root))
    except ManifestError as error:
        raise UsageError(str(error)) from None
    if arguments.ray:
        return score_on_ray(arguments, selection, inputs)
    seen: list[ScoreRow] = []
    with open_rows(arguments, selection) as output:
        if config := config_of(arguments):
            selection.check(chosen_metrics(arguments, config.metrics) or config.metrics)
        model = load(arguments)
        metrics = chosen_metrics(arguments, model.metrics) or list(model.metrics)
        selection.check(metrics)
        about = {**metadata(model), "command": "score", "metrics": metrics, "frames": arguments.frames}
        status = write_rows(
            output,
            lambda start: model.iter_scores(
                [recording for _, recording in inputs[start:]],
                uids=[uid for uid, _ in inputs[start:]],
                metrics=metrics,
                frames=arguments.frames,
            ),
            inputs=with_paths(inputs),
            cells=score_cells,
            metrics=metrics,
            about=about,
            selection=selection,
            times=model.times,
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
