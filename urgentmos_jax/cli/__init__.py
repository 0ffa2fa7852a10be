"""The command `urgentmos`: one module a subcommand, imported when it is asked for."""

import argparse
import contextlib
import errno
import importlib
import os
import signal
import sys
import tempfile
import threading
from collections.abc import Iterator
from types import FrameType
from typing import Any

from urgentmos_jax.cli.output import tell, writing
from urgentmos_jax.cli.usage import Interrupted, OutputError, UsageError
from urgentmos_jax.version import __version__

__all__ = ["main"]

SUBCOMMANDS = {
    "score": "score recordings",
    "compare": "compare recordings pair by pair",
    "calibrate": "a model and labelled pairs -> the model with calibrated scores and comparisons",
    "info": "what a model is made of",
    "fetch": "a model of the hub into the cache, for work without network",
    "card": "a model card for the hub",
    "export": "the scores of a model as StableHLO or ONNX, checked against the model",
    "convert": "the authors' checkpoint, or Distill-MOS's -> a model folder",
    "prepare": "a corpus, or recordings with ratings of your own -> manifests",
    "label": "objective metrics of the recordings of a manifest",
    "pairs": "pairs of the recordings of a manifest",
    "check": "the health of manifests",
    "evaluate": "predictions against labels: correlations and preference accuracy with intervals",
    "rank": "systems in order, with intervals",
    "serve": "scores and comparisons over HTTP",
    "report": "one HTML file to look at: ranking, plots, clips to listen to",
    "submission": "predictions for a challenge",
}

_DISK_FULL = (errno.ENOSPC, errno.EDQUOT)


def main(arguments: list[str] | None = None) -> int:
    """Runs a subcommand.

    Returns:
        0, also where the reader of a pipe has enough; 1 where rows failed; 2 for wrong usage; 3 where scores are
        under a gate; 4 where an output cannot be written; 130 and 143 where Ctrl-C or SIGTERM ended it.
    """
    arguments = sys.argv[1:] if arguments is None else arguments
    name = f"urgentmos {arguments[0]}" if arguments else "urgentmos"
    try:
        with _interruptible():
            try:
                return _run(arguments)
            finally:  # A help text may wait to be written.
                with writing("standard output"):
                    if sys.stdout is not None:
                        sys.stdout.flush()
    except OutputError as error:
        tell("; ".join([f"{name}: {error}", *getattr(error, "__notes__", ())]))
        _drop_unwritten()
        return 4
    except BrokenPipeError:  # The reader (head, say) has enough.
        _drop_unwritten()
        return 0
    except KeyboardInterrupt as stop:
        tell("; ".join([f"{name}: interrupted", *getattr(stop, "__notes__", ())]))
        return 128 + (stop.number if isinstance(stop, Interrupted) else signal.SIGINT)
    except Exception as error:
        from urgentmos_jax.manifests.records import ManifestError

        if isinstance(error, OSError) and error.errno in _DISK_FULL:
            tell(f"{name}: {error}; temporary files lie in {tempfile.gettempdir()}, TMPDIR names another folder")
            return 4
        if not isinstance(error, (UsageError, ManifestError, ModuleNotFoundError)):
            raise
        tell(f"{name}: {error}")
        return 2


def _run(arguments: list[str]) -> int:
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
    return parsed.run(parsed)


@contextlib.contextmanager
def _interruptible() -> Iterator[None]:
    """Raises `Interrupted` for the first SIGINT or SIGTERM; a second one ends the process at once."""
    before: dict[signal.Signals, Any] = {}

    def stop(number: int, _: FrameType | None) -> None:
        for one in before:
            signal.signal(one, signal.SIG_DFL)
        raise Interrupted(number)

    if threading.current_thread() is threading.main_thread():
        for number in (signal.SIGINT, signal.SIGTERM):
            # Whoever started this may have had it ignore a signal, as nohup and & do.
            if signal.getsignal(number) not in (signal.SIG_IGN, None):
                before[number] = signal.signal(number, stop)
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _drop_unwritten() -> None:
    """Has what standard output cannot take go nowhere, or Python would try again at the end, and complain."""
    with contextlib.suppress(OSError, AttributeError):
        try:
            sys.stdout.flush()
        except OSError:
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
