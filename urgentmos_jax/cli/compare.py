"""`urgentmos compare`: how much better A is than B, pair by pair."""

import argparse
from pathlib import Path

from urgentmos_jax.cli.models import add_model_arguments, chosen_metrics, config_of, load, metadata
from urgentmos_jax.cli.output import add_output_arguments, open_rows, write_rows
from urgentmos_jax.cli.selecting import add_selection_arguments, read_selection
from urgentmos_jax.cli.usage import UsageError
from urgentmos_jax.manifests.lists import match_folders, read_pair_list
from urgentmos_jax.manifests.records import ManifestError
from urgentmos_jax.scoring.row_formats import comparison_cells


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Flags of the subcommand."""
    parser.add_argument(
        "sides", nargs="*", type=Path, metavar="A B", help="two recordings, or two folders with the same names"
    )
    parser.add_argument("--pairs", type=Path, metavar="F.jsonl", help="one pair a line: audio_paths [A, B]")
    parser.add_argument(
        "--order", choices=("both", "ab"), default="both",
        help="both orders, antisymmetric; or the authors' one-sided number, with logits (default: %(default)s)",
    )  # fmt: skip
    add_model_arguments(parser)
    add_output_arguments(parser)
    add_selection_arguments(parser, compared=True)
    parser.add_argument("--audio-root", type=Path, metavar="DIR", help="where else relative paths are looked up")


def run(arguments: argparse.Namespace) -> int:
    """Compares; 1 where a pair failed, 3 where comparisons are under a gate."""
    selection = read_selection(arguments, compared=True)
    try:
        pairs = selection.of(list_pairs(arguments))
    except ManifestError as error:
        raise UsageError(str(error)) from None
    with open_rows(arguments, selection) as output:
        if (config := config_of(arguments)) and (known := config.comparative_metrics):
            selection.check(chosen_metrics(arguments, known) or known, compared=True)
        model = load(arguments)
        if not model.comparative_metrics:
            raise UsageError("this model has no CMOS head; score both recordings instead")
        metrics = chosen_metrics(arguments, model.comparative_metrics) or list(model.comparative_metrics)
        selection.check(metrics, compared=True)
        return write_rows(
            output,
            lambda start: model.iter_comparisons(
                [sides for _, sides in pairs[start:]],
                uids=[uid for uid, _ in pairs[start:]],
                metrics=metrics,
                order=arguments.order,
            ),
            inputs=[(uid, *sides) for uid, sides in pairs],
            cells=comparison_cells,
            metrics=metrics,
            about={**metadata(model), "command": "compare", "metrics": metrics, "order": arguments.order},
            selection=selection,
            times=model.times,
        )


def list_pairs(arguments: argparse.Namespace) -> list[tuple[str, tuple[str, str]]]:
    """(uid, paths of A and B) of each pair asked for. A recording without partner stays, as a pair that will fail."""
    if (arguments.pairs is None) == (not arguments.sides) or len(arguments.sides) not in (0, 2):
        raise UsageError("give two recordings, two folders, or --pairs F.jsonl")
    if arguments.pairs is not None:
        return read_pair_list(arguments.pairs, arguments.audio_root)
    a, b = arguments.sides
    if a.is_dir() != b.is_dir():
        raise UsageError(f"{a} and {b}: give two recordings or two folders, not one of each")
    return match_folders(a, b) if a.is_dir() else [(f"{a} {b}", (str(a), str(b)))]
