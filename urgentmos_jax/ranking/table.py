"""Rankings as text and as Markdown tables."""

import itertools
import math
import re
import textwrap

from urgentmos_jax.ranking.ranking import Ranking
from urgentmos_jax.statistics.bootstrap import Interval
from urgentmos_jax.tables import markdown_table, text_table

_WIDTH = 120
_SYSTEMS_SHOWN, _REFERENCES_SHOWN = 10, 3


def as_text(ranking: Ranking) -> str:
    """A table within 120 columns, and below it what is missing and the notes."""
    header, rows = _cells(ranking)
    table = text_table([header, *rows], text_columns=(1, len(header) - 1), max_width=_WIDTH)
    wrapped = [_wrapped(line) for line in (*_missing(ranking), *ranking.notes)]
    return "\n".join([table, "", *wrapped]) + "\n"


def as_markdown(ranking: Ranking) -> str:
    """A Markdown table, and below it what is missing and the notes, as a list."""
    header, rows = _cells(ranking)
    table = markdown_table([header, *rows], text_columns=(1, len(header) - 1))
    below = [line.replace(line.lstrip(), f"- {line.lstrip()}") for line in (*_missing(ranking), *ranking.notes)]
    return "\n".join([table, "", *below]) + "\n"


def _cells(ranking: Ranking) -> tuple[list[str], list[list[str]]]:
    """Header and rows; columns that say nothing are left out."""
    columns = {
        "": [str(place) for place in range(1, len(ranking.systems) + 1)],
        "system": [system.name for system in ranking.systems],
        "clips": [f"{system.clips:,}" for system in ranking.systems],
        ranking.metric: _aligned([system.mean for system in ranking.systems]),
    }
    if ranking.shared.any():
        if ranking.decided_by == "strength":
            columns["by mean"] = [str(place) for place in ranking.places_by_mean]
        columns["strength"] = _aligned([system.strength for system in ranking.systems], sign="+")
        columns["win rate"] = _aligned([system.win_rate for system in ranking.systems])
    columns["group"] = [_ranges(system.group) or "-" for system in ranking.systems]
    return list(columns), [list(row) for row in zip(*columns.values(), strict=True)]


def _aligned(intervals: list[Interval], sign: str = "") -> list[str]:
    """Values with two decimals, one below the other, and their intervals."""
    values = [_number(one.value, sign) for one in intervals]
    sides = [[_number(side, sign) for side in (one.low, one.high)] for one in intervals]
    widths = [max(len(pair[place]) for pair in sides) for place in (0, 1)]
    if not any(not math.isnan(one.low) for one in intervals):
        return values
    return [
        value + (" " * (sum(widths) + 5) if math.isnan(one.low) else f" [{low:>{widths[0]}}, {high:>{widths[1]}}]")
        for one, value, (low, high) in zip(intervals, values, sides, strict=True)
    ]


def _ranges(group: str) -> str:
    """Letters of tie groups; four or more that follow each other as a range, "B-F"."""
    letters = re.findall(r"[A-Z]\d*", group)
    places = [26 * int(letter[1:] or 1) + ord(letter[0]) for letter in letters]
    text = ""
    pairs = zip(places, letters, strict=True)
    for _, run in itertools.groupby(pairs, key=lambda pair: pair[0] - places.index(pair[0])):
        names = [letter for _, letter in run]
        text += "".join(names) if len(names) < 4 else f"{names[0]}-{names[-1]}"
    return text


def _number(value: float, sign: str) -> str:
    return "n/a" if math.isnan(value) else f"{value:{sign}.2f}"


def _wrapped(line: str) -> str:
    text = line.replace(" %", "\u00a0%")  # Stays with its number.
    return textwrap.fill(text, _WIDTH, subsequent_indent="  ", break_on_hyphens=False).replace("\u00a0", " ")


def _missing(ranking: Ranking) -> list[str]:
    """One line on all, and one for each of the first systems."""
    if not ranking.missing:
        return []
    by_system: dict[str, list[str]] = {}
    for system, reference in ranking.missing:
        by_system.setdefault(system, []).append(reference)
    lines = [f"Missing clips, which other systems have or which have no score: {len(ranking.missing):,}"]
    for system, references in list(by_system.items())[:_SYSTEMS_SHOWN]:
        more = f" and {len(references) - _REFERENCES_SHOWN:,} more" if len(references) > _REFERENCES_SHOWN else ""
        lines.append(f"  {system}: {', '.join(references[:_REFERENCES_SHOWN])}{more}")
    if len(by_system) > _SYSTEMS_SHOWN:
        lines.append(f"  and {len(by_system) - _SYSTEMS_SHOWN:,} more systems")
    return lines
