"""`urgentmos evaluate`: predictions, or models, against the labels of manifests."""

import argparse
import json
import sys
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from urgentmos_jax.cli.common import DEFAULT_MODEL, UsageError, add_model_arguments, load, metadata, write_text
from urgentmos_jax.cli.reporting import about_page, add_report_arguments, check_report, save_report
from urgentmos_jax.files import summarise_errors
from urgentmos_jax.manifests.reading import ManifestError

if TYPE_CHECKING:
    from urgentmos_jax.evaluation.evaluating import Evaluation
    from urgentmos_jax.evaluation.predicting import Corpus
    from urgentmos_jax.scoring.model import Model


@dataclass(frozen=True)
class Evaluated:
    """An evaluation, {uid: why} of what could not be scored, and the first model, if models made the predictions."""

    evaluation: "Evaluation"
    failed: dict[str, str]
    model: "Model | None"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Flags of the subcommand."""
    parser.add_argument("data", nargs="+", type=Path, metavar="DATA.jsonl", help="manifests of utterances or pairs")
    parser.add_argument(
        "--predictions", nargs="+", type=Path, metavar="F", help="files of `urgentmos score` or `urgentmos compare`"
    )
    add_model_arguments(parser, several=True)
    parser.add_argument(
        "--metrics", metavar="A,B", help="some of the metrics with labels (default: those that all predict)"
    )
    parser.add_argument("--corpus-column", metavar="KEY", help="key of meta that names the corpus of each line")
    parser.add_argument(
        "--allow-missing", action="store_true", help="leave out and count what has no prediction, instead of stopping"
    )
    parser.add_argument("--seed", type=int, default=0, metavar="S", help="of the resamples (default: %(default)s)")
    parser.add_argument("--json", type=Path, metavar="F", help="write everything with full precision")
    parser.add_argument("--markdown", type=Path, metavar="F", help="write the tables as Markdown")
    add_report_arguments(parser)
    parser.add_argument("--audio-root", type=Path, metavar="DIR", help="where relative paths are looked up as well")
    parser.add_argument("--allow-outside", action="store_true", help="let relative paths lead out of both folders")


def run(arguments: argparse.Namespace) -> int:
    """Evaluates; 1 where a recording failed, unless that is allowed."""
    check_report(arguments.report, arguments.embed_mb)
    found = evaluated(arguments)
    evaluation, failed = found.evaluation, [f"{uid}: {message}" for uid, message in found.failed.items()]
    print(evaluation.as_text(), end="")
    if arguments.json:
        text = json.dumps(evaluation.as_json(), indent=1, ensure_ascii=False, allow_nan=False) + "\n"
        write_text("--json", arguments.json, text)
    if arguments.markdown:
        write_text("--markdown", arguments.markdown, evaluation.as_markdown())
    if arguments.report:
        _report(arguments, found)
    if failed:
        print(summarise_errors(failed, "recordings or pairs failed, and count as missing"), file=sys.stderr)
    return 1 if failed and not arguments.allow_missing else 0


def evaluated(arguments: argparse.Namespace) -> Evaluated:
    """The evaluation that the arguments ask for."""
    from urgentmos_jax.evaluation.evaluating import (
        EvaluationError,
        MissingPredictions,
        evaluate_corpora,
        labelled_metrics,
    )
    from urgentmos_jax.evaluation.predicting import read_corpora

    if arguments.seed < 0:
        raise UsageError(f"--seed is {arguments.seed}, give one of 0 or more")
    if arguments.predictions and arguments.model:
        raise UsageError("give --predictions or --model, not both; `urgentmos score` makes predictions of a model")
    metrics = None
    if arguments.metrics is not None:
        metrics = [name.strip() for name in arguments.metrics.split(",") if name.strip()]
        if not metrics:
            raise UsageError("--metrics names none")
    if missing := [str(path) for path in arguments.data if not path.is_file()]:
        raise UsageError(f"{', '.join(missing)}: no such file")
    try:
        corpora = read_corpora(
            list(dict.fromkeys(arguments.data)),
            column=arguments.corpus_column,
            audio_root=arguments.audio_root,
            allow_outside=arguments.allow_outside,
            check_files=not arguments.predictions,
        )
        wanted = labelled_metrics(corpora, metrics)
        if arguments.report and all(corpus.pairs for corpus in corpora):
            raise UsageError("--report shows recordings and their labels; name a manifest of utterances too")
        join_or_predict = _join if arguments.predictions else _predict
        failed, model, predicted = join_or_predict(arguments, corpora, wanted)
        if metrics is None and (left_out := [name for name in wanted if name not in predicted]):
            wanted = [name for name in wanted if name in predicted]
            if not wanted:
                raise UsageError(f"nothing to judge: labels are of {', '.join(left_out)}, which not all predict")
            print(f"left out, not predicted: {', '.join(left_out)}", file=sys.stderr)
        # What a model fails at is told and counted: the other scores may have taken hours.
        allowed = arguments.allow_missing or bool(failed)
        evaluation = evaluate_corpora(corpora, metrics=wanted, allow_missing=allowed, seed=arguments.seed)
        return Evaluated(evaluation, failed, model)
    except MissingPredictions as error:
        raise UsageError(f"{error}\n--allow-missing leaves them out and counts them") from None
    except (ManifestError, EvaluationError) as error:
        raise UsageError(str(error)) from None


def _report(arguments: argparse.Namespace, found: Evaluated) -> None:
    from urgentmos_jax.report import clips_of

    metrics = dict.fromkeys(one.metric for one in found.evaluation.results if not one.pairs)
    clips, predictions, failures = clips_of(found.evaluation, found.failed)
    about = metadata(found.model) if found.model else {"predictions": arguments.predictions[0]}
    save_report(
        arguments.report,
        clips,
        predictions,
        metric="mos_overall" if "mos_overall" in metrics else next(iter(metrics)),
        **about_page(arguments.data, about),
        failures=failures,
        evaluation=found.evaluation,
        model=found.model,
        embed_mb=arguments.embed_mb,
    )


def _join(
    arguments: argparse.Namespace, corpora: "Sequence[Corpus]", metrics: Sequence[str]
) -> tuple[dict[str, str], None, list[str]]:
    """As `_predict`, of files: none of which tells why something failed."""
    from urgentmos_jax.evaluation.predicting import join
    from urgentmos_jax.evaluation.predictions import read_predictions

    predicted = list(metrics)
    for name, path in _named(arguments.predictions, "--predictions").items():
        predictions = read_predictions(path)
        predicted = [metric for metric in predicted if metric in predictions.metrics]
        for corpus, values in zip(corpora, join(corpora, predictions), strict=True):
            corpus.predicted[name] = values
    return {}, None, predicted


def _predict(
    arguments: argparse.Namespace, corpora: "Sequence[Corpus]", metrics: Sequence[str]
) -> "tuple[dict[str, str], Model | None, list[str]]":
    """Scores and compares with each model.

    Returns:
        {uid: why} of what failed, the first model, and the metrics that all of them predict.
    """
    from urgentmos_jax.evaluation.predicting import predict

    failed: dict[str, str] = {}
    predicted = list(metrics)
    first = None
    for name, source in _named(arguments.model or [DEFAULT_MODEL], "--model").items():
        model = load(argparse.Namespace(**{**vars(arguments), "model": source}))
        predicted = [metric for metric in predicted if metric in model.metrics]
        if arguments.metrics and not arguments.allow_missing and len(predicted) < len(metrics):
            unknown = ", ".join(metric for metric in metrics if metric not in model.metrics)
            text = f"the model predicts {', '.join(model.metrics)}; --allow-missing leaves the others out"
            raise UsageError(f"--metrics {unknown}: not of --model {source}; {text}")
        first = first or model
        found, why = predict(model, corpora, metrics)
        for corpus, values in zip(corpora, found, strict=True):
            corpus.predicted[name] = values
        failed |= why
    return failed, first, predicted


def _named(sources: Sequence[Path | str], flag: str) -> dict[str, Path | str]:
    """Sources by the last part of their name, or by all of it where that comes twice."""
    if twice := [str(source) for source, count in Counter(sources).items() if count > 1]:
        raise UsageError(f"{flag} {twice[0]} is given twice")
    short = Counter(Path(source).name for source in sources)
    return {name if short[name := Path(source).name] == 1 else str(source): source for source in sources}
