"""`urgentmos check`: what is wrong with manifests, and what they hold."""

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from urgentmos_jax.cli.output import check_output, print_result, tell, write_json, writing
from urgentmos_jax.cli.usage import UsageError, add_manifest_arguments
from urgentmos_jax.files import summarise_errors

if TYPE_CHECKING:
    from urgentmos_jax.manifests.checking import Summary


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Flags of the subcommand."""
    parser.add_argument("data", nargs="+", type=Path, metavar="DATA.jsonl", help="manifests of utterances or pairs")
    add_manifest_arguments(parser)
    parser.add_argument("--decode", action="store_true", help="decode every recording, instead of reading its header")
    parser.add_argument("--json", type=Path, metavar="F", help="write everything, each fault included")
    parser.add_argument("--plot", type=Path, metavar="F.png", help="draw what labels there are, and their histograms")


def run(arguments: argparse.Namespace) -> int:
    """Examines; 1 where something is wrong."""
    from urgentmos_jax.manifests.checking import check_manifests, coverage, metrics_of

    if missing := [str(path) for path in arguments.data if not path.is_file()]:
        raise UsageError(f"{', '.join(missing)}: no such file")
    check_output("--json", arguments.json)
    check_output("--plot", arguments.plot)
    summaries, notes = check_manifests(
        list(dict.fromkeys(arguments.data)),
        audio_root=arguments.audio_root,
        allow_outside=arguments.allow_outside,
        decode=arguments.decode,
    )
    if arguments.json:
        metrics = metrics_of(summaries)
        found = {"manifests": [one.as_json(metrics) for one in summaries], "notes": notes}
        write_json("--json", arguments.json, found)
    if arguments.plot:
        from urgentmos_jax.evaluation.plots import label_coverage

        try:
            with writing(f"--plot {arguments.plot}"):
                label_coverage(arguments.plot, coverage(summaries))
        except (ImportError, ValueError) as error:
            raise UsageError(f"--plot: {error}") from None
    print_result(_as_text(summaries, notes))
    faulty = [one for one in summaries if one.faults]
    for one in faulty:
        tell(summarise_errors(one.faults, f"faults of {one.name}"))
    return 1 if faulty else 0


def _as_text(summaries: "Sequence[Summary]", notes: Sequence[str]) -> str:
    """Two tables: a line a manifest, and a line a metric and manifest."""
    from urgentmos_jax.manifests.checking import metrics_of
    from urgentmos_jax.tables import text_table

    rows = [["manifest", "rows", "hours", "systems", "references", "clipped", "faults"]]
    for one in summaries:
        counts = (one.systems, one.references, sum(one.clipped.values()), len(one.faults))
        rows.append([one.name, str(one.rows), f"{one.hours:.2f}", *map(str, counts)])
    labels = [["metric", "manifest", "labels", "share", "minimum", "mean", "maximum"]]
    for metric in metrics_of(summaries):
        for one in summaries:
            found = one.labels(metric)
            values = [found[key] for key in ("least", "mean", "greatest")]
            numbers = ["" if value is None else f"{value:.3f}" for value in values]
            labels.append([metric, one.name, str(found["labels"]), f"{100 * found['share']:.1f} %", *numbers])
    return "\n\n".join([text_table(rows, [0]), text_table(labels, [0, 1]), *(["\n".join(notes)] if notes else [])])
