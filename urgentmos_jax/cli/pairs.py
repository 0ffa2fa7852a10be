"""`urgentmos pairs`: pairs of the recordings of a manifest."""

import argparse
from pathlib import Path

from urgentmos_jax.cli.models import name_list
from urgentmos_jax.cli.output import check_output, tell
from urgentmos_jax.cli.usage import OutputError, UsageError, add_manifest_arguments

_LIMIT = 100_000


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Flags of the subcommand."""
    parser.add_argument("data", nargs="+", type=Path, metavar="DATA.jsonl", help="manifests of utterances")
    parser.add_argument("output", type=Path, metavar="OUT", help="the manifest of pairs; OUT.meta.json lies beside it")
    parser.add_argument(
        "--scope", choices=("reference", "corpus", "any"), required=True,
        help="recordings that say the same, of one manifest, or of all",
    )  # fmt: skip
    parser.add_argument("--limit", type=int, default=_LIMIT, metavar="N", help="most lines (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=0, metavar="S", help="of the draw (default: %(default)s)")
    parser.add_argument("--both-orders", action="store_true", help="write each pair as A, B and as B, A")
    parser.add_argument("--metrics", default="mos_overall", metavar="A,B", help="labels (default: %(default)s)")
    add_manifest_arguments(parser)


def run(arguments: argparse.Namespace) -> int:
    """Draws and writes."""
    from urgentmos_jax.corpora.paper import beside_pairs
    from urgentmos_jax.manifests.naming import corpus_name
    from urgentmos_jax.manifests.pairs import make_pairs

    metrics = name_list(arguments.metrics)
    if not metrics or arguments.limit < 1 or arguments.seed < 0:
        raise UsageError("give --metrics a name, --limit a number above 0, --seed one of 0 or more")
    check_output("OUT", arguments.output)
    try:
        report = make_pairs(
            arguments.data,
            arguments.output,
            scope=arguments.scope,
            limit=arguments.limit,
            seed=arguments.seed,
            both_orders=arguments.both_orders,
            metrics=metrics,
            audio_root=arguments.audio_root,
            allow_outside=arguments.allow_outside,
        )
    except OSError as error:
        raise OutputError(f"{arguments.output}: cannot be written ({error.strerror or error})") from None
    text = f"{arguments.output}: {report['pairs']} of {report['possible']} pairs of {report['recordings']} recordings"
    tell(text)
    for name, why in (("left_out_without_label", f"without {arguments.metrics}"), ("left_out_alone", "meet nobody")):
        if report[name]:
            tell(f"left out, {why}: {report[name]}")
    if arguments.scope == "reference" and len(arguments.data) == 1:
        folders, both = corpus_name(arguments.data[0]), arguments.both_orders
        if paper := beside_pairs(folders, report["possible"], both_orders=both):
            tell(paper)
    return 0
