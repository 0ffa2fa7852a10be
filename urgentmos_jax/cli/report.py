"""`urgentmos report`: one HTML file to look at."""

import argparse
from pathlib import Path

from urgentmos_jax.cli.rank import add_judging_arguments, ranked, save_page, tell_failed
from urgentmos_jax.cli.reporting import add_embed_argument, check_report


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Flags of the subcommand."""
    add_judging_arguments(parser)
    parser.add_argument("--output", type=Path, required=True, metavar="F.html", help="the page")
    add_embed_argument(parser)


def run(arguments: argparse.Namespace) -> int:
    """Judges and writes; 1 where a recording has no score."""
    check_report(arguments.output, arguments.embed_mb, flag="--output")
    found = ranked(arguments, systems_needed=False)
    save_page("--output", arguments.output, found, arguments)
    return tell_failed(found.comparisons.failed)
