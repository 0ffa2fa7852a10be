"""Evaluations to read: text, Markdown, JSON."""

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import groupby
from typing import Any

from urgentmos_jax.evaluation.results import PREFIXED, Evaluation, OverDatasets, Result, split_statistic
from urgentmos_jax.statistics.bootstrap import CONFIDENCE
from urgentmos_jax.tables import markdown_table, text_table

TITLES = {"mse": "MSE", "lcc": "LCC", "srcc": "SRCC", "ktau": "KTAU", "rmse_mapped": "mapped RMSE"}


@dataclass(frozen=True)
class Section:
    """A table with its title, and what a reader must know below it; its cells are texts, or what the reader formats."""

    title: str
    header: Sequence[str]
    rows: Sequence[Sequence[Any]]
    notes: list[str] = field(default_factory=list)


def sections(evaluation: Evaluation) -> list[Section]:
    """A table for each dataset, one of averages where there are several, one of distances to the best model."""
    found = []
    for dataset, results in groupby(evaluation.results, lambda one: one.dataset):
        found.append(_of_dataset(dataset, list(results), evaluation.models))
    header = ["metric", "statistic", "corpora", "n", *evaluation.models]
    if averages := evaluation.averages:
        rows = _by_statistic(averages, lambda one: str(one.interval))
        found.append(Section("average over corpora, each counted alike", header, rows))
    if best := evaluation.best_scores:
        rows = _by_statistic(best, lambda one: f"{_number(one.difference, '+')}, {_number(one.ratio)}")
        found.append(Section("difference to the best score, and ratio, averaged over corpora", header, rows))
    return found


def as_text(evaluation: Evaluation, more: Sequence[Section] = ()) -> str:
    """Tables of aligned columns, and more of them at the end."""
    parts = []
    for one in [*sections(evaluation), *more]:
        table = text_table([one.header, *_without_repeats(one.rows)], text_columns=(0, 1))
        parts.append("\n".join([one.title, table, *one.notes]))
    return "\n\n".join([*parts, _below(evaluation)]) + "\n"


def as_markdown(evaluation: Evaluation, more: Sequence[Section] = ()) -> str:
    """Tables with headings, and more of them at the end."""
    parts = []
    for one in [*sections(evaluation), *more]:
        parts += [f"### {one.title}", markdown_table([one.header, *one.rows], text_columns=(0, 1))]
        parts += ["\n".join(f"- {note}" for note in one.notes)] if one.notes else []
    return "\n\n".join([*parts, _below(evaluation)]) + "\n"


def as_json(evaluation: Evaluation) -> dict[str, Any]:
    """Everything with full precision; null for what is not defined."""
    return {
        "predictors": list(evaluation.models),
        "calibrated": dict(evaluation.calibrated),
        "draws": evaluation.resamples,
        "seed": evaluation.seed,
        "confidence": CONFIDENCE,
        "results": [_result_json(one) for one in evaluation.results],
        "averages": [_over_datasets(one) | one.interval.as_json() for one in evaluation.averages],
        "best_scores": [
            _over_datasets(one) | {"difference": one.difference, "ratio": None if math.isnan(one.ratio) else one.ratio}
            for one in evaluation.best_scores
        ],
    }


def _over_datasets(one: OverDatasets) -> dict[str, Any]:
    names = {"metric": one.metric, "figure": one.statistic, "predictor": one.model}
    return {**names, "corpora": one.datasets, "n": one.n}


def _result_json(one: Result) -> dict[str, Any]:
    levels: dict[str, dict[str, Any]] = {}
    for level, found in one.levels.items():
        figures = {name: interval.as_json() for name, interval in found.intervals.items()}
        for name, n in found.counts.items():
            figures[name]["n"] = n
        levels[level] = {"n": found.n, "resampled": found.clusters, "figures": figures}
        if one.differences:
            levels[level]["minus_first"] = {name: of.as_json() for name, of in one.differences[level].items()}
    return {
        "corpus": one.dataset,
        "metric": one.metric,
        "predictor": one.model,
        "kind": "pairs" if one.pairs else "utterances",
        **{name: getattr(one, name) for name in ("n", "missing", "references", "systems")},
        "levels": levels,
        "warnings": list(one.warnings),
    }


def _of_dataset(dataset: str, results: Sequence[Result], models: Sequence[str]) -> Section:
    others = [f"{name} - {models[0]}" for name in models[1:]]
    rows, notes = [], []
    for metric, group in groupby(results, lambda one: one.metric):
        same = list(group)
        for title, *cells in _rows(same):
            rows.append([metric, title, *cells])
        notes += [f"{metric}, {one.model}: {', '.join(one.warnings)}" for one in same if one.warnings]
    return Section(dataset, ["metric", "statistic", *models, *others], rows, notes)


def _rows(same: Sequence[Result]) -> Iterator[list[str]]:
    """Title, a cell for each model, a cell for each difference."""
    none = [""] * (len(same) - 1)

    def counted(title: str, counts: Sequence[int]) -> list[str]:
        return [title, *(f"{count:,}" for count in counts), *none]

    yield counted("pairs" if same[0].pairs else "clips", [one.n for one in same])
    yield counted("missing", [one.missing for one in same])
    yield counted("references", [one.references for one in same])
    if not same[0].pairs:
        yield counted("systems", [one.systems for one in same])
    for level in dict.fromkeys(level for one in same for level in one.levels):
        for name in next(one.levels[level] for one in same if level in one.levels).intervals:
            cells, differences = [], []
            for one in same:
                found = one.levels.get(level)
                cell = "n/a" if found is None else str(found.intervals[name])
                if found is not None and found.counts.get(name, found.n) != found.n:
                    cell += f" of {found.counts[name]:,}"
                cells.append(cell)
            for one in same[1:]:
                difference = one.differences.get(level, {}).get(name)
                differences.append("n/a" if difference is None else str(difference))
            yield [_title(level if level in PREFIXED else "", name), *cells, *differences]


def _by_statistic(items: Sequence[Any], cell: Callable[[Any], str]) -> list[list[str]]:
    rows: dict[tuple[str, str], list[str]] = {}
    for one in items:
        title = _title(*split_statistic(one.statistic))
        rows.setdefault((one.metric, title), [one.metric, title, str(one.datasets), f"{one.n:,}"]).append(cell(one))
    return list(rows.values())


def _title(level: str, name: str) -> str:
    """Of a statistic, with its level of `PREFIXED` before it."""
    return f"{level.replace('_', ' ')} {TITLES.get(name, name)}".lstrip()


def _number(value: float, sign: str = "") -> str:
    return "n/a" if math.isnan(value) else f"{value:{sign}.3f}"


def _without_repeats(rows: Sequence[Sequence[str]]) -> list[list[str]]:
    """Rows whose first cell is there where it changes."""
    before = ["", *(row[0] for row in rows)]
    return [["" if row[0] == last else row[0], *row[1:]] for row, last in zip(rows, before, strict=False)]


def _below(evaluation: Evaluation) -> str:
    how = f"{evaluation.resamples:,} resamples, seed {evaluation.seed}"
    text = f"In brackets {100 * CONFIDENCE:.0f} % bootstrap intervals ({how})"
    if any(one.differences for one in evaluation.results):
        text += "; differences are paired, p is two-sided"
    return "\n".join([text + ".", *(f"{model} is calibrated: {by}." for model, by in evaluation.calibrated.items())])
