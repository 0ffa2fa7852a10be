"""The command `urgentmos`: one module a subcommand, imported when it is asked for."""

import argparse
import importlib
import os
import sys

from urgentmos_jax.cli.usage import UsageError
from urgentmos_jax.version import __version__

__all__ = ["main"]

SUBCOMMANDS = {
    "score": "score recordings",
    "compare": "compare recordings pair by pair",
    "info": "what a model is made of",
    "convert": "the authors' checkpoint -> a model folder",
    "prepare": "a corpus, or recordings with ratings of your own -> manifests",
    "label": "objective metrics of the recordings of a manifest",
    "pairs": "pairs of the recordings of a manifest",
    "check": "the health of manifests",
    "evaluate": "predictions against labels: correlations and preference accuracy with intervals",
    "rank": "systems in order, with intervals",
    "report": "one HTML file to look at: ranking, plots, clips to listen to",
    "submission": "predictions for a challenge",
}


def main(arguments: list[str] | None = None) -> int:
    """Runs a subcommand.

    Returns:
        0, 1 where rows failed, 2 for wrong usage.
    """
    arguments = sys.argv[1:] if arguments is None else arguments
    parser = argparse.ArgumentParser(prog="urgentmos", description="Speech quality assessment with UrgentMOS.")
    parser.add_argument("--version", action="version", version=f"urgentmos {__version__}")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    for name, text in SUBCOMMANDS.items():
        command = commands.add_parser(name, help=text, description=text[0].upper() + text[1:] + ".")
        if arguments[:1] == [name]:
            module = importlib.import_module(f"urgentmos_jax.cli.{name}")
            module.add_arguments(command)
            command.set_defaults(run=module.run)
    parsed = parser.parse_args(arguments)
    try:
        return parsed.run(parsed)
    except BrokenPipeError:
        # The reader (head, say) has enough.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except Exception as error:
        from urgentmos_jax.manifests.records import ManifestError

        if not isinstance(error, (UsageError, ManifestError, ModuleNotFoundError)):
            raise
        print(f"urgentmos {parsed.command}: {error}", file=sys.stderr)
        return 2
