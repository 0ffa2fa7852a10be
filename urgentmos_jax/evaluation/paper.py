"""The tables of the paper (arXiv 2601.18438 v1) as data, and an evaluation beside them.

`paper.csv` has a line for each number: row of the table, set (as the tables call it; LIVE is LIVETALK), metric,
statistic, value, table. Statistics are `acc_0.5` and `acc_0` of pairs (Tables 4 and 9; 8: trained on one order of each
pair), `lcc` and `srcc` of utterances (5 and 10; 11: one encoder in place of WavLM; 12: metrics but the MOS),
`iterations_per_second` of training on an A100 (6) and `real_time_factor` of inference (7).
"""

import csv
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from urgentmos_jax.corpora.paper import SETS
from urgentmos_jax.evaluation.datasets import Dataset
from urgentmos_jax.evaluation.results import Evaluation
from urgentmos_jax.evaluation.tables import TITLES, Section
from urgentmos_jax.tables import text_table

SPREAD = (
    "Runs of the paper itself differ by .02 to .06: its Tables 5 and 11 hold different numbers of one row, "
    "so a difference of that size says nothing."
)


@dataclass(frozen=True)
class PaperValue:
    """A number of the paper.

    Attributes:
        row: A model, such as `F1C1M5-ref`.
        set, metric: What of; empty in Tables 6 and 7.
        statistic: See above.
        value: The number.
        table: Number of the table; `4/9` where sets are divided between two.
    """

    row: str
    set: str
    metric: str
    statistic: str
    value: float
    table: str


@dataclass(frozen=True)
class PaperComparison:
    """A statistic of a model of ours beside the paper's.

    Attributes:
        dataset, model: Names of ours.
        value: Ours; NaN where it is not defined.
        paper: The paper's.
    """

    dataset: str
    model: str
    value: float
    paper: PaperValue

    @property
    def difference(self) -> float:
        """Ours less the paper's."""
        return self.value - self.paper.value


@cache
def paper_values() -> tuple[PaperValue, ...]:
    """All numbers, in the order of the tables."""
    with (Path(__file__).parent / "paper.csv").open(newline="", encoding="utf-8") as file:
        return tuple(PaperValue(value=float(line.pop("value")), **line) for line in csv.DictReader(file))


def values_of_row(row: str) -> list[PaperValue]:
    """The numbers of a row.

    Raises:
        ValueError: There is none of that name; the message has those that there are.
    """
    found = [one for one in paper_values() if one.row == row]
    if not found:
        names = ", ".join(dict.fromkeys(one.row for one in paper_values()))
        raise ValueError(f"the paper has no row {row!r}, it has {names}")
    return found


def sets_of(datasets: Sequence[Dataset], name: str | None = None) -> dict[str, str]:
    """{dataset: set of the paper}: the one of `name`, else that of its folders `corpus/split`.

    Raises:
        ValueError: The paper has no set of that name, or no dataset is one; the message has those that there are.
    """
    known = ", ".join(one.name for one in SETS.values())
    if name is not None:
        if name not in {one.name for one in SETS.values()}:
            raise ValueError(f"the paper has no set {name!r}, it has {known}")
        return {one.name: name for one in datasets}
    folders = {one.name: one.name.removesuffix(" (pairs)") for one in datasets}
    found = {name: SETS[folder].name for name, folder in folders.items() if folder in SETS}
    if not found:
        text = "no set of the paper by the folders corpus/split; name theirs with --set, one of"
        raise ValueError(f"{', '.join(folders)}: {text} {known}")
    return found


def beside_paper(evaluation: Evaluation, row: str, sets: Mapping[str, str]) -> list[PaperComparison]:
    """The statistics of an evaluation that a row of the paper has too.

    Args:
        evaluation: Of our models.
        row: Of the paper.
        sets: {dataset: set of the paper}.
    """
    numbers = values_of_row(row)
    return [
        PaperComparison(one.dataset, one.model, one.intervals[number.statistic].value, number)
        for one in evaluation.results
        for number in numbers
        if (number.set, number.metric) == (sets.get(one.dataset), one.metric) and number.statistic in one.intervals
    ]


def paper_section(
    compared: Sequence[PaperComparison], row: str, sets: Mapping[str, str], evaluation: Evaluation
) -> Section:
    """A table: ours, the paper's, the difference."""
    header = ["set", "statistic", "paper"]
    for model in evaluation.models:
        header += [model, "difference"]
    lines: dict[tuple[str, PaperValue], list[str]] = {}
    for one in compared:
        start = [one.paper.set, _title(one.paper), f"{one.paper.value:.2f}"]
        cells = ["n/a", "n/a"] if math.isnan(one.value) else [f"{one.value:.3f}", f"{one.difference:+.3f}"]
        lines[one.dataset, one.paper] = lines.get((one.dataset, one.paper), start) + cells
    there = {one.dataset for one in compared}
    notes = [SPREAD]
    for dataset in dict.fromkeys(one.dataset for one in evaluation.results):
        if dataset not in sets:
            notes.append(f"{dataset}: not a set of the paper by its folders.")
        elif dataset not in there:
            notes.append(f"{dataset}: the row has no number of {sets[dataset]} for this.")
    return Section(f"beside the paper's {row}", header, list(lines.values()), notes)


def paper_json(compared: Sequence[PaperComparison], row: str) -> dict[str, Any]:
    """The same with full precision; null for what is not defined."""
    values = [
        {
            "corpus": one.dataset,
            "set": one.paper.set,
            "metric": one.paper.metric,
            "figure": one.paper.statistic,
            "predictor": one.model,
            "value": None if math.isnan(one.value) else one.value,
            "paper": one.paper.value,
            "table": one.paper.table,
            "difference": None if math.isnan(one.value) else one.difference,
        }
        for one in compared
    ]
    return {"row": row, "note": SPREAD, "values": values}


def row_as_text(row: str) -> str:
    """The numbers of a row of the paper as a table: a line for each set, a column for each statistic.

    Raises:
        ValueError: See `values_of_row`.
    """
    numbers = values_of_row(row)
    parts = []
    for kinds in (("acc_0.5", "acc_0"), ("lcc", "srcc")):
        lines: dict[tuple[str, str, str], dict[str, str]] = {}
        for one in numbers:
            if one.statistic in kinds:
                lines.setdefault((one.set, one.metric, one.table), {})[one.statistic] = f"{one.value:.2f}"
        if lines:
            header = ["set", "metric", "table", *(TITLES.get(kind, kind) for kind in kinds)]
            rows = [[*key, *(cells[kind] for kind in kinds)] for key, cells in lines.items()]
            parts.append(text_table([header, *rows], text_columns=(0, 1, 2)))
    parts += [f"{one.statistic}: {one.value:g} (table {one.table})" for one in numbers if not one.set]
    return "\n\n".join([f"{row}, arXiv 2601.18438 v1", *parts, SPREAD]) + "\n"


def _title(number: PaperValue) -> str:
    title = TITLES.get(number.statistic, number.statistic)
    return title if number.metric == "mos_overall" else f"{number.metric} {title}"
