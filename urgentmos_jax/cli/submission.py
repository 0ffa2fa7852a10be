"""`urgentmos submission`: predictions for a challenge."""

import argparse
import tempfile
from pathlib import Path

from urgentmos_jax.cli.models import DEFAULT_MODEL, add_model_arguments, load, metadata
from urgentmos_jax.cli.output import check_output, tell, writing
from urgentmos_jax.cli.usage import OutputError, UsageError
from urgentmos_jax.files import json_beside, summarise_errors

_CHALLENGES = ("vmc2026-track1",)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Flags of the subcommand."""
    parser.add_argument("challenge", choices=_CHALLENGES, metavar="CHALLENGE", help=", ".join(_CHALLENGES))
    parser.add_argument(
        "--source", type=Path, required=True, metavar="DIR",
        help="local copy of urgent-challenge/vmc2026-track1-dev or -test: its parts acr and ccr as parquet files, "
        "or acr.csv (sample_id, audio) and ccr.csv (sample_id, audio_a, audio_b) beside the recordings. Embedded "
        "recordings lie in a temporary folder meanwhile (TMPDIR)",
    )  # fmt: skip
    what = parser.add_mutually_exclusive_group(required=True)
    what.add_argument("--output", type=Path, metavar="FILE.csv", help="the predictions; FILE.csv.meta.json beside it")
    what.add_argument("--check", type=Path, metavar="FILE.csv", help="say what is wrong with predictions; no model")
    parser.add_argument(
        "--zip", action="store_true",
        help="also FILE.zip, to be handed in: `predictions.csv` and no folder; with --check where nothing is wrong",
    )  # fmt: skip
    add_model_arguments(parser)
    parser.add_argument(
        "--order", choices=("both", "ab"), default="both",
        help="compare in both orders, antisymmetric; or the authors' one-sided number (default: %(default)s)",
    )  # fmt: skip


def run(arguments: argparse.Namespace) -> int:
    """Predicts, or checks predictions; 1 where a recording has no prediction, or the file is wrong."""
    return _check(arguments) if arguments.check else _predict(arguments)


def _check(arguments: argparse.Namespace) -> int:
    from urgentmos_jax.challenges.vmc2026 import check, pack, read_items, row_counts

    if not arguments.check.is_file():
        raise UsageError(f"--check {arguments.check}: no such file")
    items = read_items(_source(arguments))
    if faults := check(arguments.check, items):
        tell(summarise_errors(faults, f"faults of {arguments.check}"))
        return 1
    tell(f"{arguments.check}: in order, {row_counts(items)}")
    if packed := _packed(arguments, arguments.check):
        with writing(str(packed)):
            pack(arguments.check, packed)
        tell(f"{packed}: to be handed in")
    return 0


def _predict(arguments: argparse.Namespace) -> int:
    from urgentmos_jax.challenges.vmc2026 import (
        METRIC,
        counts_of,
        pack,
        predict,
        read_items,
        row_counts,
        summary,
        write,
    )

    if arguments.output.suffix != ".csv":
        raise UsageError(f"--output {arguments.output}: give a name that ends in .csv")
    source = _source(arguments)
    packed = _packed(arguments, arguments.output)
    check_output("--output", arguments.output)
    try:
        with tempfile.TemporaryDirectory(prefix="urgentmos-") as scratch:
            items = read_items(source, Path(scratch))
            model = load(arguments)
            if METRIC not in model.metrics or METRIC not in model.comparative_metrics:
                raise UsageError(
                    f"--model {arguments.model or DEFAULT_MODEL}: predicts no {METRIC} of recordings and of pairs"
                )
            predictions = predict(model, items, scratch=Path(scratch), order=arguments.order)
        counts = counts_of(predictions)
        about = {**metadata(model), "source": str(source), "order": arguments.order, "counts": counts}
        arguments.output.parent.mkdir(parents=True, exist_ok=True)
        with json_beside(f"{arguments.output}.meta.json", about):
            write(arguments.output, predictions)
            if packed:
                pack(arguments.output, packed)
    except OSError as error:
        text = f"recordings wait in {tempfile.gettempdir()}, TMPDIR names another folder"
        raise OutputError(f"--output {arguments.output}: cannot be written ({error}); {text}") from None
    tell(f"{arguments.output}: {row_counts(items)}\n{summary(counts)}")
    if packed:
        tell(f"{packed}: to be handed in")
    return 1 if counts["failed"] else 0


def _packed(arguments: argparse.Namespace, predictions: Path) -> Path | None:
    """The archive beside the predictions, where one is asked for."""
    packed = predictions.with_suffix(".zip") if arguments.zip else None
    check_output("--zip", packed)
    return packed


def _source(arguments: argparse.Namespace) -> Path:
    if not arguments.source.is_dir():
        command = f"hf download urgent-challenge/vmc2026-track1-test --repo-type dataset --local-dir {arguments.source}"
        raise UsageError(f"--source {arguments.source}: no such folder; `{command}` makes it")
    return arguments.source
