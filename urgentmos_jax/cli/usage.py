"""What the subcommands share: wrong usage, and the flags of manifests."""

import argparse
from pathlib import Path


class UsageError(Exception):
    """Wrong usage; the message says what to do. The exit status is 2."""


def add_manifest_arguments(parser: argparse.ArgumentParser) -> None:
    """--audio-root and --allow-outside."""
    parser.add_argument("--audio-root", type=Path, metavar="DIR", help="where else relative paths are looked up")
    parser.add_argument("--allow-outside", action="store_true", help="let relative paths lead out of both folders")
