"""`urgentmos rank`: systems in order, with intervals."""

import argparse
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from urgentmos_jax.cli.models import add_model_arguments, load, metadata
from urgentmos_jax.cli.output import check_output, print_result, tell, write_json, write_text
from urgentmos_jax.cli.reporting import about_page, add_report_arguments, check_report, save_report
from urgentmos_jax.cli.usage import UsageError, add_manifest_arguments
from urgentmos_jax.files import summarise_errors

if TYPE_CHECKING:
    from urgentmos_jax.manifests.records import Utterance
    from urgentmos_jax.ranking.comparisons import Comparisons
    from urgentmos_jax.ranking.ranking import Ranking
    from urgentmos_jax.scoring.model import Model


@dataclass(frozen=True)
class Ranked:
    """Recordings, what is said of them, their ranking if all have a system, and what it was computed with."""

    recordings: "list[Utterance]"
    comparisons: "Comparisons"
    ranking: "Ranking | None"
    about: dict[str, Any]
    model: "Model | None"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Flags of the subcommand."""
    add_ranking_arguments(parser)
    parser.add_argument("--output", type=Path, metavar="F.json", help="write everything, each missing clip included")
    parser.add_argument("--markdown", type=Path, metavar="F.md", help="write the table as Markdown")
    add_report_arguments(parser)


def add_ranking_arguments(parser: argparse.ArgumentParser) -> None:
    """What is compared, and by what."""
    parser.add_argument(
        "systems", nargs="+", type=Path, metavar="SYSTEM_DIR",
        help="a folder of recordings for each system, with the same names; or one manifest with system_id and "
        "reference_id",
    )  # fmt: skip
    add_model_arguments(parser)
    parser.add_argument("--predictions", type=Path, metavar="F", help="a file of scores, instead of a model")
    parser.add_argument("--metric", default="mos_overall", help="the metric to rank by (default: %(default)s)")
    parser.add_argument("--scores-only", action="store_true", help="compare by scores, not by the model's CMOS head")
    parser.add_argument(
        "--most-pairs", type=int, metavar="N",
        help="maximum of comparisons, sampled if there are more (default: 100,000 by CMOS heads, 5,000,000 by scores)",
    )  # fmt: skip
    parser.add_argument("--seed", type=int, default=0, metavar="S", help="seed of all sampling (default: %(default)s)")
    add_manifest_arguments(parser)


def run(arguments: argparse.Namespace) -> int:
    """Ranks; 1 where a recording has no score."""
    from urgentmos_jax.ranking.table import as_markdown, as_text

    check_report(arguments.report, arguments.embed_mb)
    check_output("--output", arguments.output)
    check_output("--markdown", arguments.markdown)
    found = ranked(arguments)
    ranking, failed = found.ranking, found.comparisons.failed
    assert ranking is not None  # Recordings without a system were refused.
    if arguments.output:
        write_json("--output", arguments.output, {**found.about, **ranking.as_json(), "failed": failed})
    if arguments.markdown:
        write_text("--markdown", arguments.markdown, as_markdown(ranking))
    if arguments.report:
        save_page("--report", arguments.report, found, arguments)
    print_result(as_text(ranking))
    return report_failures(failed)


def ranked(arguments: argparse.Namespace, *, systems_needed: bool = True) -> Ranked:
    """Compares what the arguments name, and ranks it where each clip has a system; others `systems_needed` refuses."""
    from urgentmos_jax.evaluation.predictions import read_predictions
    from urgentmos_jax.ranking.comparisons import compare_by_model, compare_by_predictions
    from urgentmos_jax.ranking.ranking import rank
    from urgentmos_jax.ranking.systems import read_systems

    if arguments.seed < 0 or (arguments.most_pairs is not None and arguments.most_pairs < 0):
        raise UsageError("give --seed and --most-pairs numbers of 0 or more")
    if arguments.predictions and arguments.model:
        raise UsageError("give --predictions or --model, not both; `urgentmos score` makes predictions of a model")
    metric, draw = arguments.metric, {"max_pairs": arguments.most_pairs, "seed": arguments.seed}
    recordings = read_systems(
        arguments.systems,
        audio_root=arguments.audio_root,
        check_files=arguments.predictions is None,
        allow_outside=arguments.allow_outside,
        systems_needed=systems_needed,
    )
    model = None
    if arguments.predictions is not None:
        comparisons = compare_by_predictions(read_predictions(arguments.predictions), recordings, metric, **draw)
        about = {"predictions": str(arguments.predictions)}
    else:
        model = load(arguments)
        if metric not in model.metrics:
            raise UsageError(f"--metric {metric}: the model has {', '.join(model.metrics)}")
        comparisons = compare_by_model(model, recordings, metric, by_scores=arguments.scores_only, **draw)
        about = metadata(model)
        if model.calibration_note:
            note = f"The model is calibrated: {model.calibration_note}."
            comparisons = replace(comparisons, notes=(*comparisons.notes, note))
    ranking = None
    if all(one.system_id is not None for one in recordings):
        found = comparisons.scores, comparisons.pairs, comparisons.shares
        ranking = rank(recordings, *found, metric=metric, seed=arguments.seed, notes=comparisons.notes)
    return Ranked(recordings, comparisons, ranking, about | {"seed": arguments.seed}, model)


def save_page(flag: str, path: Path, found: Ranked, arguments: argparse.Namespace) -> None:
    """Writes the page that `flag` asked for."""
    save_report(
        path,
        found.recordings,
        found.comparisons.predictions,
        metric=arguments.metric,
        **about_page(arguments.systems, found.about),
        failures=found.comparisons.failed,
        ranking=found.ranking,
        model=found.model,
        embed_mb=arguments.embed_mb,
        flag=flag,
    )


def report_failures(failed: Mapping[str, str]) -> int:
    """Says on standard error what has no score and why; the exit status."""
    if failed:
        faults = [f"{uid}: {message}" for uid, message in failed.items()]
        tell(summarise_errors(faults, "recordings have no score"))
    return 1 if failed else 0
