"""--shard, --keep and --fail-under of the subcommands that write rows."""

import argparse
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from urgentmos_jax.cli.models import name_list
from urgentmos_jax.cli.usage import UsageError
from urgentmos_jax.scoring.selection import Bounds, Gate, Item, Shard

Parsed = TypeVar("Parsed")
_COMPARED = ("p_a", "p_b", "p_tie", "score_difference")


def add_selection_arguments(parser: argparse.ArgumentParser, *, compared: bool = False) -> None:
    """The three flags.

    Args:
        parser: Of the subcommand.
        compared: Whether rows are comparisons.
    """
    which = "its CMOS; METRIC_p_a and the other columns of a CSV file go as well" if compared else "its score"
    parser.add_argument(
        "--shard", metavar="K/N", help="the Kth of N contiguous parts of the inputs, K from 1; JSONL or CSV parts "
        "joined in order by `cat` are the whole",
    )  # fmt: skip
    parser.add_argument(
        "--keep", action="append", default=[], metavar="METRIC:MIN:MAX",
        help=f"keep rows within the bounds ({which}), either of which may be empty; the others go to "
        "FILE.dropped.jsonl with the reason. May be given several times",
    )  # fmt: skip
    parser.add_argument(
        "--fail-under", action="append", default=[], metavar="METRIC:STAT:VALUE",
        help="exit status 3 where the mean, median, min, max or percentile (p5) of a metric is under the value. May be "
        "given several times",
    )  # fmt: skip


@dataclass(frozen=True)
class Selection:
    """What the flags ask for."""

    shard: Shard | None
    keep: list[Bounds]
    gates: list[Gate]
    about: dict[str, Any]

    def of(self, inputs: Sequence[Item]) -> Sequence[Item]:
        """The inputs of the part."""
        return inputs if self.shard is None else self.shard.of(inputs)

    @property
    def first(self) -> bool:
        """Whether the part begins the whole."""
        return self.shard is None or self.shard.number == 1

    def check(self, metrics: Iterable[str], *, compared: bool = False) -> None:
        """Refuses names that no row will have.

        Args:
            metrics: Of the rows.
            compared: Whether rows are comparisons.

        Raises:
            UsageError: There are some.
        """
        metrics = list(metrics)
        known = {*metrics, *(f"{metric}_{end}" for metric in metrics for end in _COMPARED if compared)}
        for flag, ones in (("--keep", self.keep), ("--fail-under", self.gates)):
            for name in [one.name for one in ones if one.name not in known]:
                raise UsageError(f"{flag}: {name} is not among the metrics of the rows: {', '.join(metrics)}")


def read_selection(arguments: argparse.Namespace, *, compared: bool = False) -> Selection:
    """Checks the flags, as far as that goes without a model.

    Args:
        arguments: Of the command.
        compared: Whether rows are comparisons.

    Raises:
        UsageError: One is wrong.
    """
    if arguments.keep and arguments.output is None:
        raise UsageError("--keep: give an --output FILE; the rows that are not kept go to FILE.dropped.jsonl")
    shard = None if arguments.shard is None else _parsed("--shard", Shard.parse, arguments.shard)
    keep = [_parsed("--keep", Bounds.parse, text) for text in arguments.keep]
    gates = [_parsed("--fail-under", Gate.parse, text) for text in arguments.fail_under]
    about = ({"shard": str(shard)} if shard else {}) | ({"keep": arguments.keep} if keep else {})
    selection = Selection(shard, keep, gates, about)
    if arguments.metrics is not None:
        selection.check(name_list(arguments.metrics), compared=compared)
    return selection


def _parsed(flag: str, parse: Callable[[str], Parsed], text: str) -> Parsed:
    try:
        return parse(text)
    except ValueError as error:
        raise UsageError(f"{flag} {text}: {error}") from None
