"""`urgentmos card`: a model card for the hub."""

import argparse
from pathlib import Path

from urgentmos_jax.cli.models import DEFAULT_MODEL, add_revision_argument, finding
from urgentmos_jax.cli.output import check_output, print_result, write_text


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Flags of the subcommand."""
    parser.add_argument("model", nargs="?", default=DEFAULT_MODEL, metavar="M", help="model folder or hub id")
    add_revision_argument(parser)
    parser.add_argument(
        "--evaluation", type=Path, metavar="F.json", help="what `urgentmos evaluate --json F.json` found of the model"
    )
    parser.add_argument(
        "--output", type=Path, metavar="README.md",
        help="in the model's folder it is the card that is pushed with the model (default: stdout)",
    )  # fmt: skip


def run(arguments: argparse.Namespace) -> int:
    """Writes the card."""
    from urgentmos_jax.exporting.card import card_of

    check_output("--output", arguments.output)
    with finding(str(arguments.model)):
        card = card_of(arguments.model, revision=arguments.revision, evaluation=arguments.evaluation)
    if arguments.output:
        write_text("--output", arguments.output, card)
    else:
        print_result(card)
    return 0
