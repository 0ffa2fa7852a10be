"""Evaluations to read: text, Markdown, JSON."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any

from urgentmos_jax.evaluation.evaluating import Evaluation, Result
from urgentmos_jax.statistics.bootstrap import CONFIDENCE
from urgentmos_jax.tables import markdown_table, text_table

__all__ = ["TITLES", "Section", "as_json", "as_markdown", "as_text", "sections"]

TITLES = {"mse": "MSE", "lcc": "LCC", "srcc": "SRCC", "ktau": "KTAU", "rmse_mapped": "mapped RMSE"}


@dataclass(frozen=True)
class Section:
    """A table with its title, and what a reader must know below it."""

    title: str
    header: Sequence[str]
    rows: Sequence[Sequence[str]]
    notes: Sequence[str] = ()


def sections(evaluation: Evaluation) -> list[Section]:
    """A table a corpus, one of averages where there are several, one of distances to the best predictor."""
    found = []
    for corpus, results in groupby(evaluation.results, lambda one: one.corpus):
        found.append(_of_corpus(corpus, list(results), evaluation.predictors))
    names = list(evaluation.predictors)
    if averages := evaluation.averages:
        rows = _by_figure(averages, names, lambda one: str(one.interval))
        found.append(
            Section("average over corpora, each counted alike", ["metric", "figure", "corpora", "n", *names], rows)
        )
    if best := evaluation.best_scores:
        rows = _by_figure(best, names, lambda one: f"{_number(one.difference, '+')}, {_number(one.ratio)}")
        title = "difference to the best score, and ratio, averaged over corpora"
        found.append(Section(title, ["metric", "figure", "corpora", "n", *names], rows))
    return found


def as_text(evaluation: Evaluation) -> str:
    """Tables of aligned columns."""
    parts = []
    for one in sections(evaluation):
        table = text_table([one.header, *_without_repeats(one.rows)], text_columns=(0, 1))
        parts.append("\n".join([one.title, table, *one.notes]))
    return "\n\n".join([*parts, _below(evaluation)]) + "\n"


def as_markdown(evaluation: Evaluation) -> str:
    """Tables with headings."""
    parts = []
    for one in sections(evaluation):
        parts += [f"### {one.title}", markdown_table([one.header, *one.rows], text_columns=(0, 1))]
        parts += ["\n".join(f"- {note}" for note in one.notes)] if one.notes else []
    return "\n\n".join([*parts, _below(evaluation)]) + "\n"


def as_json(evaluation: Evaluation) -> dict[str, Any]:
    """Everything with full precision; null for what is not defined."""
    return {
        "predictors": list(evaluation.predictors),
        "draws": evaluation.draws,
        "seed": evaluation.seed,
        "confidence": CONFIDENCE,
        "results": [_result_json(one) for one in evaluation.results],
        "averages": [
            {
                "metric": one.metric,
                "figure": one.figure,
                "predictor": one.predictor,
                "corpora": one.corpora,
                "n": one.n,
                **one.interval.as_json(),
            }
            for one in evaluation.averages
        ],
        "best_scores": [
            {
                "metric": one.metric,
                "figure": one.figure,
                "predictor": one.predictor,
                "corpora": one.corpora,
                "n": one.n,
                "difference": one.difference,
                "ratio": None if math.isnan(one.ratio) else one.ratio,
            }
            for one in evaluation.best_scores
        ],
    }


def _result_json(one: Result) -> dict[str, Any]:
    counts = {level: found.counts for level, found in one.levels.items()}
    return {
        "corpus": one.corpus,
        "metric": one.metric,
        "predictor": one.predictor,
        "kind": "pairs" if one.pairs else "utterances",
        "n": one.n,
        "missing": one.missing,
        "references": one.references,
        "systems": one.systems,
        "levels": {
            level: {
                "n": found.n,
                "resampled": found.units,
                "figures": {
                    name: interval.as_json() | ({"n": counts[level][name]} if name in counts[level] else {})
                    for name, interval in found.figures.items()
                },
                **(
                    {"minus_first": {name: apart.as_json() for name, apart in one.differences[level].items()}}
                    if one.differences
                    else {}
                ),
            }
            for level, found in one.levels.items()
        },
        "warnings": list(one.warnings),
    }


def _of_corpus(corpus: str, results: Sequence[Result], predictors: Sequence[str]) -> Section:
    others = [f"{name} - {predictors[0]}" for name in predictors[1:]]
    rows, notes = [], []
    for metric, group in groupby(results, lambda one: one.metric):
        same = list(group)
        for title, *cells in _rows(same):
            rows.append([metric, title, *cells])
        notes += [f"{metric}, {one.predictor}: {', '.join(one.warnings)}" for one in same if one.warnings]
    return Section(corpus, ["metric", "figure", *predictors, *others], rows, notes)


def _rows(same: Sequence[Result]) -> Iterator[list[str]]:
    """Title, a cell a predictor, a cell a difference."""
    none = [""] * (len(same) - 1)

    def counted(title: str, counts: Sequence[int]) -> list[str]:
        return [title, *(f"{count:,}" for count in counts), *none]

    yield counted("pairs" if same[0].pairs else "clips", [one.n for one in same])
    yield counted("missing", [one.missing for one in same])
    yield counted("references", [one.references for one in same])
    if not same[0].pairs:
        yield counted("systems", [one.systems for one in same])
    for level in dict.fromkeys(level for one in same for level in one.levels):
        for name in next(one.levels[level] for one in same if level in one.levels).figures:
            cells, apart = [], []
            for one in same:
                found = one.levels.get(level)
                cell = "n/a" if found is None else str(found.figures[name])
                if found is not None and found.counts.get(name, found.n) != found.n:
                    cell += f" of {found.counts[name]:,}"
                cells.append(cell)
            for one in same[1:]:
                difference = one.differences.get(level, {}).get(name)
                apart.append("n/a" if difference is None else str(difference))
            title = TITLES.get(name, name)
            yield [f"system {title}" if level == "system" else title, *cells, *apart]


def _by_figure(items: Sequence[Any], predictors: Sequence[str], cell: Any) -> list[list[str]]:
    rows: dict[tuple[str, str], list[str]] = {}
    for one in items:
        name = one.figure.removeprefix("system_")
        title = ("system " if name != one.figure else "") + TITLES.get(name, name)
        rows.setdefault((one.metric, title), [one.metric, title, str(one.corpora), f"{one.n:,}"]).append(cell(one))
    return list(rows.values())


def _number(value: float, sign: str = "") -> str:
    return "n/a" if math.isnan(value) else f"{value:{sign}.3f}"


def _without_repeats(rows: Sequence[Sequence[str]]) -> list[list[str]]:
    """Rows whose first cell is there where it changes."""
    before = ["", *(row[0] for row in rows)]
    return [["" if row[0] == last else row[0], *row[1:]] for row, last in zip(rows, before, strict=False)]


def _below(evaluation: Evaluation) -> str:
    drawn = f"{evaluation.draws:,} draws, seed {evaluation.seed}"
    text = f"In brackets {100 * CONFIDENCE:.0f} % bootstrap intervals ({drawn})"
    if any(one.differences for one in evaluation.results):
        text += "; differences are paired, p is two-sided"
    return text + "."
