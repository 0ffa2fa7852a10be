"""`urgentmos prepare`: a published corpus, or your own recordings and ratings -> manifests."""

import argparse
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from urgentmos_jax.cli.models import name_list
from urgentmos_jax.cli.output import check_output, print_result, tell
from urgentmos_jax.cli.usage import OutputError, UsageError
from urgentmos_jax.corpora.paper import about_corpus
from urgentmos_jax.corpora.registry import NAMES, corpus_of
from urgentmos_jax.manifests.records import ManifestError
from urgentmos_jax.manifests.skipping import MAX_BAD_FRACTION


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Flags of the subcommand."""
    parser.add_argument("--list", action=_List, nargs=0, help="list the corpora: content, licence, size, origin")
    corpora = parser.add_subparsers(dest="corpus", required=True, metavar="CORPUS")
    custom = corpora.add_parser("custom", help="your own recordings and ratings, in a CSV file or a folder")
    source = "a table, or a folder with data/train.csv, data/dev.csv, data/test.csv"
    _add_shared(custom, source, "folder for the manifest")
    _add_custom(custom)
    for name in NAMES:
        own = corpora.add_parser(name, help=f"the corpus {name}")
        _add_shared(own, "folder of the corpus, as unpacked", "folder for SPLIT/data.jsonl and SPLIT/report.json")
        own.add_argument("--download", action="store_true", help="first download into --source what can be downloaded")


def run(arguments: argparse.Namespace) -> int:
    """Prepares a corpus and prints what was kept."""
    from urgentmos_jax.corpora.prepare import summary

    check_output("--output", arguments.output / "report.json")
    try:
        if arguments.corpus == "custom" and not arguments.source.is_dir():
            reports = {"": _custom(arguments)}
        else:
            reports = _published(arguments)
    except OSError as error:
        raise OutputError(f"--output {arguments.output}: cannot be written ({error})") from None
    for split, report in reports.items():
        tell("\n".join(summary(arguments.output / split, report)))
    return 0


class _List(argparse.Action):
    def __call__(self, parser: argparse.ArgumentParser, *_: object) -> None:
        lines = []
        for name in NAMES:
            corpus = corpus_of(name)
            splits = ", ".join(f"{split} {count or ''}".strip() for split, count in corpus.splits.items())
            kind = "pairs" if corpus.pairs else "recordings"
            lines += [name, f"  {corpus.holds}", f"  {splits} ({kind}); {corpus.size}"]
            lines.append(f"  in the paper: {about_corpus(name)}")
            lines.append(f"  licence: {corpus.licence}; from {corpus.home}")
            if corpus.by_hand:
                lines.append(f"  by hand: {corpus.by_hand}")
        lines += ["custom", "  your own recordings and ratings: urgentmos prepare custom --help"]
        print_result("\n".join(lines))
        parser.exit()


def _add_shared(parser: argparse.ArgumentParser, source: str, output: str) -> None:
    parser.add_argument("--source", type=Path, required=True, metavar="PATH", help=source)
    parser.add_argument("--output", type=Path, required=True, metavar="DIR", help=output)
    parser.add_argument(
        "--audio-root", type=Path, metavar="DIR", help="where to look for recordings that are not below --source"
    )
    parser.add_argument(
        "--skip-bad", type=_share, nargs="?", const=MAX_BAD_FRACTION, default=0.0, metavar="SHARE",
        help=f"list and leave out recordings that cannot be opened, up to this share of a split, one in any case "
        f"(bare: {MAX_BAD_FRACTION})",
    )  # fmt: skip
    parser.add_argument("--splits", metavar="A,B", help="only these splits (default: all)")
    parser.add_argument(
        "--side-files", type=Path, metavar="DIR",
        help="the authors' vmc2026-track1-meta: metrics by id in .scp and .jsonl files",
    )  # fmt: skip
    parser.add_argument(
        "--hold-out", type=_share, default=0.0, metavar="SHARE",
        help="share of train to hold out as dev, for a corpus without a dev split",
    )  # fmt: skip


def _share(text: str) -> float:
    share = float(text)
    if not 0 < share < 1:
        raise argparse.ArgumentTypeError(f"{text}: give a share between 0 and 1")
    return share


def _published(arguments: argparse.Namespace) -> dict[str, dict[str, Any]]:
    from urgentmos_jax.corpora.custom_folder import corpus_of_folder
    from urgentmos_jax.corpora.downloads import DownloadError, download
    from urgentmos_jax.corpora.prepare import prepare_corpus

    by_hand = ""
    try:
        if arguments.corpus == "custom":
            corpus = corpus_of_folder(arguments.source, audio_root=arguments.audio_root)
        else:
            corpus = corpus_of(arguments.corpus)
            if arguments.download:
                download(corpus.downloads, arguments.source)
            by_hand = f"\n{corpus.name}: {corpus.by_hand}" if corpus.by_hand else ""
        return prepare_corpus(
            corpus,
            arguments.source,
            arguments.output,
            splits=name_list(arguments.splits or ""),
            audio_root=arguments.audio_root,
            side_files=arguments.side_files,
            max_bad_fraction=arguments.skip_bad,
            hold_out=arguments.hold_out,
        )
    except (ValueError, DownloadError) as error:
        raise UsageError(f"{error}{by_hand if isinstance(error, ManifestError) else ''}") from None


def _add_custom(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--audio", metavar="COLUMN", help="paths of the recordings; required for a table")
    parser.add_argument("--system", metavar="COLUMN", help="what produced them")
    parser.add_argument("--reference", metavar="COLUMN", help="what they say; shared by systems that say the same")
    parser.add_argument(
        "--metric", action="append", default=[], metavar="METRIC=COLUMN",
        help="ratings, one or several a cell; repeat for each metric. With --metric-column: METRIC=its name there",
    )  # fmt: skip
    parser.add_argument("--metric-column", metavar="COLUMN", help="the metric of each row (long form)")
    parser.add_argument("--score-column", metavar="COLUMN", help="the rating of each row (long form)")
    what = "map ratings, such as 0-100:1-5"
    parser.add_argument("--scale", action="append", default=[], metavar="[METRIC=]FROM-TO:FROM-TO", help=what)
    parser.add_argument(
        "--std", action="append", default=[], metavar="[METRIC=]COLUMN", help="standard deviations, kept in meta"
    )
    parser.add_argument("--listeners", metavar="COLUMN", help="who rated, kept in meta")
    parser.add_argument("--delimiter", metavar="C", help="one character, or tab (default: detected)")


def _custom(arguments: argparse.Namespace) -> dict[str, Any]:
    from urgentmos_jax.corpora.custom import Columns, Scale, prepare_table

    if arguments.splits or arguments.side_files or arguments.hold_out:
        raise UsageError("--splits, --side-files and --hold-out are for a folder of tables; --source is one table")
    if arguments.audio is None:
        raise UsageError("--audio COLUMN is missing: name the column with the paths of the recordings")
    delimiter = {"tab": "\t", "\\t": "\t"}.get(arguments.delimiter, arguments.delimiter)
    if delimiter is not None and (len(delimiter) != 1 or delimiter in '"\r\n '):
        raise UsageError(f"--delimiter {delimiter!r}: give one character, or tab")
    ratings = _named(arguments.metric, "--metric")
    if "" in ratings:
        raise UsageError(f"--metric {ratings['']!r}: give METRIC=COLUMN, such as mos_overall={ratings['']}")
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
    return prepare_table(
        arguments.source,
        arguments.output,
        columns,
        delimiter=delimiter,
        audio_root=arguments.audio_root,
        max_bad_fraction=arguments.skip_bad,
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
