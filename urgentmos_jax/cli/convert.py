"""`urgentmos convert`: the authors' checkpoint, or Distill-MOS's -> a model folder."""

import argparse
from pathlib import Path

from urgentmos_jax.cli.output import print_result, writing
from urgentmos_jax.cli.usage import OutputError, UsageError


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Flags of the subcommand."""
    parser.add_argument("checkpoint", type=Path, metavar="model.pt", help="the authors' file, or distill_mos_v7.pt")
    parser.add_argument("output", type=Path, metavar="OUT", help="model folder to write")
    parser.add_argument(
        "--encoder", action="append", default=[], metavar="DIR_OR_ID",
        help="folder or hub id (also ID@REVISION) with the config of an encoder; once for each, in the order of the "
        "checkpoint (not needed for microsoft/wavlm-base-plus)",
    )  # fmt: skip


def run(arguments: argparse.Namespace) -> int:
    """Converts."""
    from urgentmos_jax.weights.model_folder import check_target, save_folder
    from urgentmos_jax.weights.urgent_mos import read_checkpoint

    try:
        check_target(arguments.output)
    except FileExistsError as error:
        raise UsageError(f"OUT {error}") from None
    except OSError as error:
        raise OutputError(f"OUT {error}") from None
    try:
        checkpoint = read_checkpoint(arguments.checkpoint, arguments.encoder)
    except (ValueError, OSError) as error:
        raise UsageError(str(error)) from None
    with writing(f"OUT {arguments.output}"):
        save_folder(arguments.output, checkpoint.module, checkpoint.origin)
    print_result(f"{arguments.output}: {', '.join(checkpoint.module.config.metrics)}")
    return 0
