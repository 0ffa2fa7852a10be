"""`urgentmos compare`: how much better A is than B, pair by pair."""

import argparse
from pathlib import Path
from typing import Any

from urgentmos_jax.cli.common import (
    UsageError,
    add_model_arguments,
    add_output_arguments,
    check_output,
    chosen_metrics,
    find_recordings,
    load,
    metadata,
    read_pairs,
    write_rows,
)

_VALUES = ("cmos", "p_a", "p_b", "p_tie")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Flags of the subcommand."""
    parser.add_argument(
        "sides", nargs="*", type=Path, metavar="A B", help="two recordings, or two folders of the same names"
    )
    parser.add_argument("--pairs", type=Path, metavar="F.jsonl", help="one pair a line: audio_paths [A, B]")
    parser.add_argument(
        "--order", choices=("both", "ab"), default="both",
        help="both orders, antisymmetric; or the authors' one-sided number, with logits (default: %(default)s)",
    )  # fmt: skip
    add_model_arguments(parser)
    add_output_arguments(parser)
    parser.add_argument("--audio-root", type=Path, metavar="DIR", help="where relative paths of --pairs are looked up")


def run(arguments: argparse.Namespace) -> int:
    """Compares; 1 where a pair failed."""
    check_output(arguments.output)
    pairs = list_pairs(arguments)
    model = load(arguments)
    if not model.comparative_metrics:
        raise UsageError("this model has no CMOS head; score both recordings instead")
    metrics = chosen_metrics(arguments, model.comparative_metrics)
    rows = model.iter_comparisons(
        [sides for _, sides in pairs], uids=[uid for uid, _ in pairs], metrics=metrics, order=arguments.order
    )
    columns = metrics or list(model.comparative_metrics)
    return write_rows(rows, arguments, total=len(pairs), table=lambda row: _cells(row, columns), meta=metadata(model))


def list_pairs(arguments: argparse.Namespace) -> list[tuple[str, tuple[str, str]]]:
    """(uid, paths of A and B) of each pair asked for. A recording without partner stays, as a pair that will fail."""
    if (arguments.pairs is None) == (not arguments.sides) or len(arguments.sides) not in (0, 2):
        raise UsageError("give two recordings, two folders, or --pairs F.jsonl")
    if arguments.pairs is not None:
        return read_pairs(arguments.pairs, arguments.audio_root)
    a, b = arguments.sides
    if a.is_dir() != b.is_dir():
        raise UsageError(f"{a} and {b}: give two recordings or two folders, not one of each")
    if not a.is_dir():
        return [(f"{a} {b}", (str(a), str(b)))]
    named = [_by_name(side) for side in (a, b)]
    if not named[0].keys() & named[1].keys():
        raise UsageError(f"{a} and {b}: no recording of the same name (suffix aside) in both")
    return [
        (str(name), tuple(str(found.get(name, side / f"{name}.*")) for found, side in zip(named, (a, b), strict=True)))
        for name in sorted(named[0].keys() | named[1].keys())
    ]


def _by_name(folder: Path) -> dict[Path, Path]:
    """{relative path without suffix: recording}."""
    named: dict[Path, Path] = {}
    for path in find_recordings(folder):
        other = named.setdefault(path.relative_to(folder).with_suffix(""), path)
        if other != path:
            raise UsageError(f"{other} and {path}: of the same name; leave one of them or give --pairs F.jsonl")
    return named


def _cells(row: dict[str, Any], metrics: list[str]) -> dict[str, Any]:
    error = row["error"] or {}
    comparison = row["comparison"] or {}
    durations = row["durations_s"] or (None, None)
    return {
        "uid": row["uid"],
        "path_a": row["paths"][0],
        "path_b": row["paths"][1],
        **{f"{name}_{value}": comparison.get(name, {}).get(value) for name in metrics for value in _VALUES},
        "duration_a_s": durations[0],
        "duration_b_s": durations[1],
        "windows": row["windows"],
        "flags": " ".join(row["flags"]),
        "error": error.get("code"),
        "message": error.get("message"),
    }
