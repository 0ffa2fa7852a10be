"""`urgentmos report`: one HTML file to look at."""

import argparse
import sys
from pathlib import Path

from urgentmos_jax.cli.rank import add_judging_arguments, ranked
from urgentmos_jax.cli.reporting import about_page, add_embed_argument, check_report, save_report
from urgentmos_jax.manifest import first_faults


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Flags of the subcommand."""
    add_judging_arguments(parser)
    parser.add_argument("--output", type=Path, required=True, metavar="F.html", help="the page")
    add_embed_argument(parser)


def run(arguments: argparse.Namespace) -> int:
    """Judges and writes; 1 where a recording has no score."""
    check_report(arguments.output, arguments.embed_mb, flag="--output")
    found = ranked(arguments, systems_needed=False)
    failed = found.judgement.failed
    save_report(
        arguments.output,
        found.recordings,
        found.judgement.predictions,
        metric=arguments.metric,
        **about_page(arguments.systems, found.about),
        failures=failed,
        ranking=found.ranking,
        model=found.model,
        embed_mb=arguments.embed_mb,
        flag="--output",
    )
    if failed:
        faults = [f"{uid}: {message}" for uid, message in failed.items()]
        print(first_faults(faults, "recordings have no score"), file=sys.stderr)
    return 1 if failed else 0
