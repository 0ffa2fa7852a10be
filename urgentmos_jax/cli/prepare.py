"""`urgentmos prepare`: recordings with ratings -> a manifest."""

import argparse
import sys
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, NamedTuple

from urgentmos_jax.cli.common import UsageError
from urgentmos_jax.manifest import ManifestError


class _Corpus(NamedTuple):
    """A value of CORPUS: what it is, its own flags, and what makes it, returning its report."""

    text: str
    add_arguments: Callable[[argparse.ArgumentParser], None]
    prepare: Callable[[argparse.Namespace], dict[str, Any]]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Flags of the subcommand."""
    corpora = parser.add_subparsers(dest="corpus", required=True, metavar="CORPUS")
    for name, corpus in _CORPORA.items():
        own = corpora.add_parser(name, help=corpus.text, description=corpus.text[0].upper() + corpus.text[1:] + ".")
        own.add_argument("--source", type=Path, required=True, metavar="PATH", help="what to read")
        own.add_argument("--output", type=Path, required=True, metavar="DIR", help="gets data.jsonl and report.json")
        own.add_argument(
            "--skip-bad", action="store_true", help="leave out recordings that cannot be opened, and list them"
        )
        corpus.add_arguments(own)


def run(arguments: argparse.Namespace) -> int:
    """Prepares."""
    try:
        report = _CORPORA[arguments.corpus].prepare(arguments)
    except ManifestError as error:
        raise UsageError(str(error)) from None
    except OSError as error:
        raise UsageError(f"--output {arguments.output}: cannot be written ({error})") from None
    rows = report["rows"]
    lines = [
        f"{arguments.output / 'data.jsonl'}: {report['utterances']} utterances",
        f"rows: {rows['read']} read, {rows['kept']} kept",
        *(f"  dropped, {reason}: {count}" for reason, count in rows["dropped"].items()),
        f"labels: {_counted(report['labels'])}",
        f"ratings: {_counted(report['ratings'])}",
    ]
    if report["blank_ratings"]:
        lines.append(f"blank ratings: {_counted(report['blank_ratings'])}")
    lines += [f"left out, line {bad['line']}: {bad['error']}" for bad in report["bad_audio"]]
    if unknown := report["not_in_catalogue"]:
        lines.append(f"no known metrics, so their range is not checked: {', '.join(unknown)}")
    print("\n".join(lines), file=sys.stderr)
    return 0


def _counted(counts: dict[str, int]) -> str:
    return ", ".join(f"{name} {count}" for name, count in counts.items())


def _add_custom(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--audio", required=True, metavar="COLUMN", help="paths of the recordings")
    parser.add_argument("--system", metavar="COLUMN", help="what produced them")
    parser.add_argument("--reference", metavar="COLUMN", help="what they say; shared by systems that say the same")
    parser.add_argument(
        "--metric", action="append", default=[], metavar="METRIC=COLUMN",
        help="ratings, one or several a cell; repeat for each. With --metric-column: METRIC=what stands there",
    )  # fmt: skip
    parser.add_argument("--metric-column", metavar="COLUMN", help="where a row names its metric (long form)")
    parser.add_argument("--score-column", metavar="COLUMN", help="where such a row has its rating")
    parser.add_argument(
        "--scale", action="append", default=[], metavar="[METRIC=]FROM-TO:FROM-TO", help="maps ratings: 0-100:1-5"
    )
    parser.add_argument("--std", action="append", default=[], metavar="[METRIC=]COLUMN", help="kept in meta")
    parser.add_argument("--listeners", metavar="COLUMN", help="who rated, kept in meta")
    parser.add_argument("--delimiter", metavar="C", help="one character, or tab (default: what finds the columns)")
    parser.add_argument("--audio-root", type=Path, metavar="DIR", help="where paths are looked up, after the source")


def _custom(arguments: argparse.Namespace) -> dict[str, Any]:
    from urgentmos_jax.corpora.custom import Columns, Scale, prepare

    delimiter = {"tab": "\t", "\\t": "\t"}.get(arguments.delimiter, arguments.delimiter)
    if delimiter is not None and (len(delimiter) != 1 or delimiter in '"\r\n '):
        raise UsageError(f"--delimiter {delimiter!r}: give one character, or tab")
    ratings = _named(arguments.metric, "--metric")
    if "" in ratings:
        raise UsageError(f"--metric {ratings['']!r}: give METRIC=COLUMN, as mos_overall={ratings['']}")
    try:
        columns = Columns(
            audio=arguments.audio,
            ratings=ratings,
            system=arguments.system,
            reference=arguments.reference,
            metric_column=arguments.metric_column,
            score_column=arguments.score_column,
            std=_named(arguments.std, "--std"),
            listeners=arguments.listeners,
            scales={name: Scale.parse(text) for name, text in _named(arguments.scale, "--scale").items()},
        )
    except ValueError as error:
        raise UsageError(str(error)) from None
    return prepare(
        arguments.source,
        arguments.output,
        columns,
        delimiter=delimiter,
        audio_root=arguments.audio_root,
        skip_bad=arguments.skip_bad,
    )


def _named(texts: Iterable[str], flag: str) -> dict[str, str]:
    """{METRIC: VALUE} of each METRIC=VALUE; a VALUE alone is for all metrics, under ""."""
    named: dict[str, str] = {}
    for text in texts:
        name, _, value = text.rpartition("=")
        if not value:
            raise UsageError(f"{flag} {text!r}: nothing after the =")
        if name in named:
            raise UsageError(f"{flag} {text!r}: given twice for {name or 'all metrics'}")
        named[name] = value
    return named


_CORPORA = {"custom": _Corpus("recordings and ratings of your own, in a CSV file", _add_custom, _custom)}
