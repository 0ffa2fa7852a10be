"""`urgentmos fetch`: a model of the hub into the cache, for work without network."""

import argparse

from urgentmos_jax.cli.models import DEFAULT_MODEL, about_lines, add_revision_argument, finding
from urgentmos_jax.cli.output import print_result


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Flags of the subcommand."""
    parser.add_argument("model", nargs="?", default=DEFAULT_MODEL, metavar="M", help="hub id (default: %(default)s)")
    add_revision_argument(parser)


def run(arguments: argparse.Namespace) -> int:
    """Downloads, converts where it is a checkpoint of the authors, and prints where it is and what."""
    from urgentmos_jax.weights.cache import find_model
    from urgentmos_jax.weights.hub import content_hash
    from urgentmos_jax.weights.model_folder import WEIGHTS_FILE, read_folder_config

    with finding(arguments.model):
        folder = find_model(arguments.model, revision=arguments.revision)
        config, content = read_folder_config(folder)
        weights = content_hash(folder / WEIGHTS_FILE)
    lines = about_lines(folder, weights, content)
    lines.append(f"metrics      {', '.join(config.metrics)}")
    print_result("\n".join(lines))
    return 0
