"""`urgentmos report`: one HTML file to look at."""

import argparse
from pathlib import Path

from urgentmos_jax.cli.rank import add_ranking_arguments, ranked, report_failures, save_page
from urgentmos_jax.cli.reporting import add_embed_argument, check_report


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Flags of the subcommand."""
    add_ranking_arguments(parser)
    parser.add_argument("--output", type=Path, required=True, metavar="F.html", help="the page")
    add_embed_argument(parser)


def run(arguments: argparse.Namespace) -> int:
    """Scores and writes; 1 where a recording has no score."""
    check_report(arguments.output, arguments.embed_mb, flag="--output")
    found = ranked(arguments, systems_needed=False)
    save_page("--output", arguments.output, found, arguments)
    return report_failures(found.comparisons.failed)
