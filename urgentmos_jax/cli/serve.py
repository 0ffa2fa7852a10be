"""`urgentmos serve`: scores and comparisons over HTTP."""

import argparse
import math
import os
from pathlib import Path

from urgentmos_jax.cli.models import add_model_arguments, load
from urgentmos_jax.cli.output import tell
from urgentmos_jax.cli.usage import UsageError
from urgentmos_jax.serving.limits import Limits

_MIB = 1 << 20


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Flags of the subcommand."""
    limits = Limits()
    parser.add_argument(
        "--host", default="127.0.0.1", metavar="H",
        help="address to listen at; any but loopback needs a token in URGENTMOS_TOKEN (default: %(default)s)",
    )  # fmt: skip
    parser.add_argument(
        "--port", type=int, default=8000, metavar="N", help="0: any that is free (default: %(default)s)"
    )
    parser.add_argument("--root", type=Path, metavar="DIR", help="requests may name recordings below this folder")
    add_model_arguments(parser)
    for flag, value, text in (
        ("--delay-ms", 1e3 * limits.delay_seconds, "how long a recording waits for others to share its batch"),
        ("--max-mb", limits.max_bytes / _MIB, "MiB in the body of a request"),
        ("--max-seconds", limits.max_seconds, "seconds of audio in a request"),
        ("--queue", limits.queue, "requests at a time; more are told to come again"),
        ("--timeout", limits.timeout_seconds, "seconds for a request to arrive, and as many to be answered"),
    ):
        kind = int if flag == "--queue" else float
        parser.add_argument(flag, type=kind, default=kind(value), metavar="N", help=f"{text} (default: %(default)g)")


def run(arguments: argparse.Namespace) -> int:
    """Serves until it is told to stop; what is accepted by then is answered."""
    from urgentmos_jax.serving.server import TOKEN, address_of, bind, run_server
    from urgentmos_jax.serving.service import Service

    token = os.environ.get(TOKEN) or None
    limits = _limits(arguments)
    if arguments.root is not None and not arguments.root.is_dir():
        raise UsageError(f"--root {arguments.root}: give a folder")
    try:
        bound = bind(arguments.host, arguments.port, token)
    except (OSError, ValueError) as error:
        raise UsageError(f"--host {arguments.host} --port {arguments.port}: {error}") from None
    with bound:
        service = Service(load(arguments), limits=limits, root=arguments.root, token=token)
        try:
            run_server(service, bound, ready=lambda: tell(f"urgentmos serve: {address_of(bound)}"))
        except ImportError as error:
            raise UsageError(str(error)) from None
    return 0


def _limits(arguments: argparse.Namespace) -> Limits:
    values = {"--max-mb": arguments.max_mb, "--max-seconds": arguments.max_seconds, "--timeout": arguments.timeout}
    for flag, value in {**values, "--queue": arguments.queue}.items():
        if not 0 < value < math.inf:
            raise UsageError(f"{flag} is {value:g}, give a number above 0")
    if not 0 <= arguments.delay_ms < math.inf:
        raise UsageError(f"--delay-ms is {arguments.delay_ms:g}, give a number, at least 0")
    return Limits(
        max_bytes=round(arguments.max_mb * _MIB),
        max_seconds=arguments.max_seconds,
        queue=arguments.queue,
        timeout_seconds=arguments.timeout,
        delay_seconds=arguments.delay_ms / 1e3,
    )
