"""`urgentmos label`: metrics of the recordings of a manifest, against references and by predictors."""

import argparse
import os
from pathlib import Path
from typing import TYPE_CHECKING

from urgentmos_jax.cli.output import check_output, tell
from urgentmos_jax.cli.usage import OutputError, UsageError, add_manifest_arguments

if TYPE_CHECKING:
    from urgentmos_jax.labels.references import Rule


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Flags of the subcommand."""
    from urgentmos_jax.labels.intrusive import METRICS
    from urgentmos_jax.labels.predictors import PREDICTORS

    parser.description = (
        f"{parser.description} Recordings and references are taken at 16 kHz, mono; PESQ is wide-band, but narrow-band"
        " for recordings of 8 kHz or less. What is computed is in OUT.jsonl.labels.jsonl at once, so a stopped run"
        " resumes there."
    )
    parser.add_argument("data", type=Path, metavar="DATA.jsonl", help="a manifest of utterances")
    parser.add_argument(
        "--output", type=Path, metavar="OUT.jsonl", help="the labelled manifest (default: DATA.jsonl itself)"
    )
    parser.add_argument(
        "--metrics",
        default="",
        metavar="A,B",
        help=f"what to compute: against a clean reference {', '.join(METRICS)}; of the recording alone"
        f" {', '.join(PREDICTORS)}, distill_mos. A package that is missing is named, with the command to install it",
    )
    parser.add_argument(
        "--distill-mos", type=Path, metavar="FOLDER",
        help="model for distill_mos; `urgentmos convert distill_mos_v7.pt FOLDER` makes it of the package distillmos",
    )  # fmt: skip
    rule = parser.add_mutually_exclusive_group()
    rule.add_argument(
        "--reference-system", metavar="NAME", help="the reference is the recording of the same reference_id by NAME"
    )
    rule.add_argument("--reference-column", metavar="KEY", help="its path stands under KEY in the line, or in its meta")
    rule.add_argument(
        "--reference-path", metavar="PATH",
        help="its path, with {uid}, {system_id}, {reference_id} or {stem} of the recording: clean/{reference_id}.wav",
    )  # fmt: skip
    parser.add_argument(
        "--align", action="store_true", help="take out a constant delay of a recording, up to 100 ms, where it is clear"
    )
    parser.add_argument(
        "--scores", nargs="+", action="extend", default=[], metavar="[METRIC=]FILE",
        help="ready-made scores: .csv with a column uid and one a metric, or lines of `uid number`",
    )  # fmt: skip
    parser.add_argument("--overwrite", action="store_true", help="replace labels that the manifest has (default: keep)")
    parser.add_argument("--workers", type=int, metavar="N", help="processes (default: one a core)")
    add_manifest_arguments(parser)


def run(arguments: argparse.Namespace) -> int:
    """Labels; 1 where a clip failed."""
    from urgentmos_jax.labels.intrusive import METRICS
    from urgentmos_jax.labels.labelling import label_manifest, results_path, summary
    from urgentmos_jax.labels.packages import WeightsMissing
    from urgentmos_jax.labels.scores import read_score_files

    output = arguments.output or arguments.data
    metrics, rule = _metrics(arguments), _rule(arguments)
    if not metrics and not arguments.scores:
        raise UsageError("give --metrics to compute, or --scores to merge")
    if rule is None and (against := [name for name in metrics if name in METRICS]):
        flags = "--reference-system, --reference-column or --reference-path"
        raise UsageError(f"--metrics {','.join(against)}: a clean reference is needed, say where: {flags}")
    if output.suffix != ".jsonl":
        raise UsageError(f"--output {output}: give a name that ends in .jsonl")
    if arguments.workers is not None and arguments.workers < 1:
        raise UsageError(f"--workers is {arguments.workers}, give 1 or more")
    check_output("--output", output)
    try:
        labelled = label_manifest(
            arguments.data,
            output,
            metrics=metrics,
            reference=rule,
            model=arguments.distill_mos,
            scores=read_score_files(arguments.scores, metrics),
            align=arguments.align,
            processes=arguments.workers or os.cpu_count() or 1,
            overwrite=arguments.overwrite,
            audio_root=arguments.audio_root,
            allow_outside=arguments.allow_outside,
        )
    except WeightsMissing as error:
        raise UsageError(f"{error}; what is computed is in {results_path(output)}") from None
    except OSError as error:
        raise OutputError(f"--output {output}: cannot be written ({error.strerror or error})") from None
    except KeyboardInterrupt as stop:
        stop.add_note(f"the same command resumes from {results_path(output)}")
        raise
    tell("\n".join(summary(output, labelled, align=arguments.align)))
    return 1 if labelled.errors else 0


def _metrics(arguments: argparse.Namespace) -> list[str]:
    """--metrics, all of which can be computed here."""
    from urgentmos_jax.labels import distill_mos, intrusive, predictors
    from urgentmos_jax.labels.packages import how_to_install
    from urgentmos_jax.metrics import CATALOGUE

    computed = (*intrusive.METRICS, *predictors.PREDICTORS, distill_mos.METRIC)
    available = (*intrusive.available(), *predictors.available(), distill_mos.METRIC)
    needed = {**intrusive.PACKAGES, **predictors.PACKAGES}
    texts = [text.strip() for text in arguments.metrics.split(",")]
    names = list(dict.fromkeys(text.replace("-", "_") for text in texts if text))
    for name in names:
        if name not in computed:
            why = f"is not computed here, merge it with --scores {name}=FILE" if name in CATALOGUE else "is unknown"
            raise UsageError(f"--metrics {name}: {why}; computed are {', '.join(computed)}")
        if name not in available:
            packages = needed[name]
            raise UsageError(f"--metrics {name}: {' and '.join(packages)} is missing: {how_to_install(packages)}")
    if distill_mos.METRIC in names and arguments.distill_mos is None:
        raise UsageError(f"--metrics distill_mos: its model is missing, make it once: {distill_mos.HOW_TO_MAKE}")
    if arguments.distill_mos is not None and distill_mos.METRIC not in names:
        raise UsageError("--distill-mos: give --metrics distill_mos with it")
    return names


def _rule(arguments: argparse.Namespace) -> "Rule | None":
    from urgentmos_jax.labels.references import Rule

    found = {name: getattr(arguments, f"reference_{name}") for name in ("system", "column", "path")}
    try:
        return Rule(**found) if any(value is not None for value in found.values()) else None
    except ValueError as error:
        raise UsageError(f"--reference-{error}") from None
