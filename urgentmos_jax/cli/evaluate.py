"""`urgentmos evaluate`: predictions, or models, against the labels of manifests."""

import argparse
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from urgentmos_jax.cli.models import DEFAULT_MODEL, add_model_arguments, load, metadata, name_list
from urgentmos_jax.cli.output import check_output, print_result, tell, write_json, write_text
from urgentmos_jax.cli.reporting import about_page, add_report_arguments, check_report, save_report
from urgentmos_jax.cli.usage import UsageError, add_manifest_arguments
from urgentmos_jax.files import summarise_errors

if TYPE_CHECKING:
    from urgentmos_jax.evaluation.datasets import Dataset
    from urgentmos_jax.evaluation.predictions import Values
    from urgentmos_jax.evaluation.results import Evaluation
    from urgentmos_jax.scoring.model import Model


@dataclass
class _Predicted:
    """{model: predictions} and {model: metrics it predicts}; {uid: why} of what failed.

    {model: by what it is calibrated}; the first model, if any.
    """

    predictions: "dict[str, list[list[Values]]]" = field(default_factory=dict)
    metrics: dict[str, Sequence[str]] = field(default_factory=dict)
    failed: dict[str, str] = field(default_factory=dict)
    calibrated: dict[str, str] = field(default_factory=dict)
    model: "Model | None" = None


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Flags of the subcommand."""
    parser.add_argument("data", nargs="*", type=Path, metavar="DATA.jsonl", help="manifests of utterances or pairs")
    parser.add_argument(
        "--predictions", nargs="+", type=Path, metavar="F", help="files of `urgentmos score` or `urgentmos compare`"
    )
    add_model_arguments(parser, several=True)
    parser.add_argument(
        "--metrics", metavar="A,B", help="some of the metrics with labels (default: those that every model predicts)"
    )
    parser.add_argument("--corpus-column", metavar="KEY", help="key of meta that names the corpus of each line")
    parser.add_argument("--allow-missing", action="store_true", help="leave out and count labels without a prediction")
    parser.add_argument("--seed", type=int, default=0, metavar="S", help="seed of the bootstrap (default: %(default)s)")
    parser.add_argument(
        "--paper",
        metavar="ROW",
        help="put a row of the paper's tables, such as F1C1M5-ref, beside; without DATA: show it",
    )
    parser.add_argument(
        "--set", metavar="NAME", help="set of the paper that DATA are of (default: by their folders corpus/split)"
    )
    parser.add_argument("--json", type=Path, metavar="F", help="write everything with full precision")
    parser.add_argument("--markdown", type=Path, metavar="F", help="write the tables as Markdown")
    add_report_arguments(parser)
    add_manifest_arguments(parser)


def run(arguments: argparse.Namespace) -> int:
    """Evaluates; 1 where a recording failed, unless that is allowed."""
    from urgentmos_jax.evaluation.evaluating import EvaluationError, MissingPredictions
    from urgentmos_jax.evaluation.paper import beside_paper, paper_json, paper_section, row_as_text, sets_of
    from urgentmos_jax.evaluation.tables import as_json, as_markdown, as_text

    check_report(arguments.report, arguments.embed_mb)
    metrics = _check(arguments)
    if arguments.paper:
        row = _known(row_as_text, arguments.paper)
        if not arguments.data:
            print_result(row)
            return 0
    check_output("--json", arguments.json)
    check_output("--markdown", arguments.markdown)
    try:
        datasets, predicted, evaluation = _evaluated(arguments, metrics)
    except EvaluationError as error:
        missing = isinstance(error, MissingPredictions)
        advice = "\n--allow-missing leaves them out and counts them" if missing else ""
        raise UsageError(f"{error}{advice}") from None
    found, more = as_json(evaluation), []
    if arguments.paper:
        sets = sets_of(datasets, arguments.set)
        compared = beside_paper(evaluation, arguments.paper, sets)
        more.append(paper_section(compared, arguments.paper, sets, evaluation))
        found["paper"] = paper_json(compared, arguments.paper)
    if arguments.json:
        write_json("--json", arguments.json, found)
    if arguments.markdown:
        write_text("--markdown", arguments.markdown, as_markdown(evaluation, more))
    if arguments.report:
        _report(arguments, datasets, predicted, evaluation)
    print_result(as_text(evaluation, more))
    failed = [f"{uid}: {message}" for uid, message in predicted.failed.items()]
    if failed:
        tell(summarise_errors(failed, "recordings or pairs failed, and count as missing"))
    return 1 if failed and not arguments.allow_missing else 0


def _check(arguments: argparse.Namespace) -> list[str] | None:
    """--metrics as a list; refuses what makes no sense before anything is read."""
    if arguments.seed < 0:
        raise UsageError(f"--seed is {arguments.seed}, give one of 0 or more")
    if arguments.predictions and arguments.model:
        raise UsageError("give --predictions or --model, not both; `urgentmos score` makes predictions of a model")
    for flag in ("predictions", "model"):
        sources = [str(source) for source in getattr(arguments, flag) or ()]
        if twice := [source for source in sources if sources.count(source) > 1]:
            raise UsageError(f"--{flag} {twice[0]} is given twice")
    if not arguments.data and not arguments.paper:
        raise UsageError("give DATA.jsonl, manifests of utterances or pairs")
    if arguments.set and not arguments.paper:
        raise UsageError("--set names a set of the paper: give --paper ROW too")
    if missing := [str(path) for path in arguments.data if not path.is_file()]:
        raise UsageError(f"{', '.join(missing)}: no such file")
    if arguments.metrics is None:
        return None
    metrics = name_list(arguments.metrics)
    if not metrics:
        raise UsageError("--metrics names none")
    return metrics


def _known(find: Callable[..., Any], *arguments: Any) -> Any:
    """What a look into the paper finds; a name that is not there is wrong usage, before anything is computed."""
    try:
        return find(*arguments)
    except ValueError as error:
        raise UsageError(str(error)) from None


def _evaluated(
    arguments: argparse.Namespace, metrics: list[str] | None
) -> "tuple[list[Dataset], _Predicted, Evaluation]":
    from urgentmos_jax.evaluation.datasets import read_datasets
    from urgentmos_jax.evaluation.evaluating import evaluate, labelled_metrics, predicted_metrics
    from urgentmos_jax.evaluation.paper import sets_of

    datasets = read_datasets(
        list(dict.fromkeys(arguments.data)),
        column=arguments.corpus_column,
        audio_root=arguments.audio_root,
        allow_outside=arguments.allow_outside,
        check_files=not arguments.predictions,
    )
    wanted = labelled_metrics(datasets, metrics)
    if arguments.paper:
        _known(sets_of, datasets, arguments.set)
    if arguments.report and all(dataset.pairs for dataset in datasets):
        raise UsageError("--report shows recordings and their labels; name a manifest of utterances too")
    predicted = (_from_files if arguments.predictions else _from_models)(arguments, datasets, wanted)
    if metrics is None:
        wanted, left_out = predicted_metrics(wanted, predicted.metrics)
        if left_out:
            tell(f"left out, not predicted: {', '.join(left_out)}")
    # What a model fails at is reported and counted: the other scores may have taken hours.
    allowed = arguments.allow_missing or bool(predicted.failed)
    evaluation = evaluate(datasets, predicted.predictions, metrics=wanted, allow_missing=allowed, seed=arguments.seed)
    return datasets, predicted, replace(evaluation, calibrated=predicted.calibrated)


def _from_files(arguments: argparse.Namespace, datasets: "Sequence[Dataset]", _: Sequence[str]) -> _Predicted:
    from urgentmos_jax.evaluation.predictions import join, read_predictions, short_names

    found = _Predicted()
    for name, path in short_names(arguments.predictions).items():
        predictions = read_predictions(path)
        found.predictions[name], found.metrics[name] = join(datasets, predictions), predictions.metrics
    return found


def _from_models(arguments: argparse.Namespace, datasets: "Sequence[Dataset]", metrics: Sequence[str]) -> _Predicted:
    from urgentmos_jax.evaluation.predicting import predict
    from urgentmos_jax.evaluation.predictions import short_names

    found = _Predicted()
    for name, source in short_names(arguments.model or [DEFAULT_MODEL]).items():
        model = load(arguments, str(source))
        unknown = [metric for metric in metrics if metric not in model.metrics]
        if arguments.metrics and not arguments.allow_missing and unknown:
            text = f"the model predicts {', '.join(model.metrics)}; --allow-missing leaves the others out"
            raise UsageError(f"--metrics {', '.join(unknown)}: not of --model {source}; {text}")
        found.model = found.model or model
        if model.calibration_note:
            found.calibrated[name] = model.calibration_note
        found.predictions[name], failed = predict(model, datasets, metrics)
        found.metrics[name] = model.metrics
        found.failed |= failed
    return found


def _report(
    arguments: argparse.Namespace, datasets: "Sequence[Dataset]", predicted: _Predicted, evaluation: "Evaluation"
) -> None:
    from urgentmos_jax.report.agreement import clips_of

    metrics = dict.fromkeys(one.metric for one in evaluation.results if not one.pairs)
    first = predicted.predictions[evaluation.models[0]]
    clips, predictions, failures = clips_of(datasets, first, list(metrics), predicted.failed)
    about = metadata(predicted.model) if predicted.model else {"predictions": arguments.predictions[0]}
    save_report(
        arguments.report,
        clips,
        predictions,
        metric="mos_overall" if "mos_overall" in metrics else next(iter(metrics)),
        **about_page(arguments.data, about),
        failures=failures,
        evaluation=evaluation,
        model=predicted.model,
        embed_mb=arguments.embed_mb,
    )
