"""What the subcommands share: how one ends that does not end well, and the flags of manifests."""

import argparse
from pathlib import Path


class UsageError(Exception):
    """Wrong usage; the message says what to do. The exit status is 2."""


class OutputError(Exception):
    """An output cannot be written; the message says which and why. The exit status is 4."""


class Interrupted(KeyboardInterrupt):
    """Ctrl-C, or SIGTERM. Notes say what is kept. The exit status is 128 and the signal's number.

    Args:
        number: Of the signal.
    """

    def __init__(self, number: int):
        super().__init__(number)
        self.number = number


def add_manifest_arguments(parser: argparse.ArgumentParser) -> None:
    """--audio-root and --allow-outside."""
    parser.add_argument("--audio-root", type=Path, metavar="DIR", help="where else relative paths are looked up")
    parser.add_argument("--allow-outside", action="store_true", help="let relative paths lead out of both folders")
