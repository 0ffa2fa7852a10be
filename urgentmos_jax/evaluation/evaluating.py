"""Predictors against the labels of corpora: figures with intervals, differences, averages, distance to the best."""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from urgentmos_jax.evaluation.predicting import Corpus, Values, join, references
from urgentmos_jax.evaluation.predictions import Predictions
from urgentmos_jax.manifests.reading import Pair, Utterance
from urgentmos_jax.statistics.bootstrap import DRAWS, Difference, Interval, Judged, average, paired_differences
from urgentmos_jax.statistics.correlation import LOWER_IS_BETTER, agreement_with_intervals, system_means
from urgentmos_jax.statistics.preference import preference_with_intervals

__all__ = [
    "Average",
    "BestScore",
    "Evaluation",
    "EvaluationError",
    "MissingPredictions",
    "Result",
    "evaluate",
    "evaluate_corpora",
    "labelled_metrics",
]

Records = Sequence[Utterance] | Sequence[Pair]

# What a level says of its warnings: `one_unit` is too few references at one, and too few systems at the other.
_NAMED = {
    "utterance": {"one_unit": "one_reference"},
    "system": {"one_unit": "one_system", "few_items": "few_systems"},
    "pair": {"one_unit": "one_reference"},
}


class EvaluationError(ValueError):
    """What cannot be evaluated; the message says what to do."""


class MissingPredictions(EvaluationError):
    """Labels without a prediction, where that is not allowed; the message names them."""


@dataclass(frozen=True)
class Result:
    """One predictor on the labels of one metric in one corpus.

    Attributes:
        corpus, metric, predictor: Names.
        pairs: Whether it is of pairs.
        n: Utterances or pairs with a label and a prediction.
        missing: Labels without a prediction.
        references: Number of them among the n; 0 where there are none.
        systems: Likewise.
        levels: {"utterance", "system" or "pair": figures}; without "system" where no utterance has one.
        differences: {level: {figure: this predictor minus the first}}, on what both predict; empty for the first.
        warnings: What makes figures undefined, and `no_system`: how many utterances have none.
    """

    corpus: str
    metric: str
    predictor: str
    pairs: bool
    n: int
    missing: int
    references: int
    systems: int
    levels: dict[str, Judged]
    differences: dict[str, dict[str, Difference]] = field(default_factory=dict)
    warnings: tuple[str, ...] = ()

    @property
    def figures(self) -> dict[str, Interval]:
        """{figure: value and interval}, those of systems as `system_mse`."""
        return dict(_prefixed({level: found.figures for level, found in self.levels.items()}))


@dataclass(frozen=True)
class Average:
    """One figure of one predictor, averaged over the corpora where all predictors have it, each counted alike.

    Attributes:
        metric, figure, predictor: Names.
        corpora: Number of them.
        n: Clips, systems or pairs in all of them.
        interval: The average.
    """

    metric: str
    figure: str
    predictor: str
    corpora: int
    n: int
    interval: Interval


@dataclass(frozen=True)
class BestScore:
    """Distance of one predictor to the best of the compared ones (Huang et al. 2024, MOS-Bench).

    Attributes:
        metric, figure, predictor: Names.
        corpora: Test sets where all predictors have the figure.
        n: Clips, systems or pairs in all of them.
        difference: Figure less that of the best predictor of the test set, averaged over the test sets; 0 is best.
        ratio: Figure over that of the best (best over figure for MSE and RMSE), likewise; 1 is best. NaN where a best
            figure is not above 0.
    """

    metric: str
    figure: str
    predictor: str
    corpora: int
    n: int
    difference: float
    ratio: float


@dataclass(frozen=True)
class Evaluation:
    """All that was found.

    Attributes:
        corpora: With the records and what was predicted of them.
        predictors: Names, the first is that which the others are compared with.
        results: By corpus, metric and predictor.
        draws, seed: Of the resamples.
    """

    corpora: Sequence[Corpus]
    predictors: Sequence[str]
    results: Sequence[Result]
    draws: int
    seed: int

    @property
    def averages(self) -> list[Average]:
        """Over corpora, of each metric that two of them have at least."""
        found = []
        for metric, figure, sets in self._common():
            if len(sets) > 1:
                for predictor in self.predictors:
                    parts, name = _of_level(figure, predictor, sets)
                    n = sum(part.n for part in parts)
                    found.append(Average(metric, figure, predictor, len(sets), n, average(parts, name)))
        return found

    @property
    def best_scores(self) -> list[BestScore]:
        """Of each figure, where there is more than one predictor."""
        found = []
        for metric, figure, sets in self._common() if len(self.predictors) > 1 else ():
            values = np.array([[results[name].figures[figure].value for name in self.predictors] for results in sets])
            lower = figure.removeprefix("system_") in LOWER_IS_BETTER
            best = values.min(1) if lower else values.max(1)
            differences = (values - best[:, None]).mean(0)
            over = (best[:, None], values) if lower else (values, best[:, None])
            ratios = np.full(len(self.predictors), math.nan)
            if (over[1] > 0).all():
                ratios = (over[0] / over[1]).mean(0)
            for name, difference, ratio in zip(self.predictors, differences, ratios, strict=True):
                n = sum(part.n for part in _of_level(figure, name, sets)[0])
                found.append(BestScore(metric, figure, name, len(sets), n, float(difference), float(ratio)))
        return found

    def _common(self) -> Iterator[tuple[str, str, list[dict[str, Result]]]]:
        """(metric, figure, [{predictor: result}] of the corpora where all have it)."""
        by_metric: dict[tuple[str, bool], dict[str, dict[str, Result]]] = {}
        for one in self.results:
            by_metric.setdefault((one.metric, one.pairs), {}).setdefault(one.corpus, {})[one.predictor] = one
        for (metric, _), corpora in by_metric.items():
            figures = dict.fromkeys(name for sets in corpora.values() for one in sets.values() for name in one.figures)
            for figure in figures:
                sets = [sets for sets in corpora.values() if all(_defined(one, figure) for one in sets.values())]
                if sets:
                    yield metric, figure, sets

    def as_text(self) -> str:
        """A table a corpus, the average, and the distance to the best."""
        from urgentmos_jax.evaluation.evaluation_tables import as_text

        return as_text(self)

    def as_markdown(self) -> str:
        """The same as Markdown."""
        from urgentmos_jax.evaluation.evaluation_tables import as_markdown

        return as_markdown(self)

    def as_json(self) -> dict[str, Any]:
        """The same for a JSON file; null for what is not defined."""
        from urgentmos_jax.evaluation.evaluation_tables import as_json

        return as_json(self)


def evaluate(
    records: Records | Mapping[str, Records],
    predictions: Mapping[str, Values] | Sequence[Predictions],
    *,
    metrics: Sequence[str] | None = None,
    allow_missing: bool = False,
    draws: int = DRAWS,
    seed: int = 0,
) -> Evaluation:
    """Judges predictions.

    Args:
        records: Utterances or pairs of one corpus, or {corpus: utterances or pairs}.
        predictions: {uid: {metric: value}}, as `predictions.read_predictions` reads them; or several of those, with
            names, of which the others are compared with the first. For pairs see `joining.join`.
        metrics, allow_missing, draws, seed: See `evaluate_corpora`.

    Raises:
        PredictionsError: A uid stands for two recordings, or predictions belong to no record.
        MissingPredictions: A label has no prediction.
        EvaluationError: No record has a label of a metric.
    """
    named = records if isinstance(records, Mapping) else {"all": records}
    corpora = [Corpus(name, bool(one) and isinstance(one[0], Pair), one) for name, one in named.items()]
    if isinstance(predictions, Mapping):
        predictions = [predictions if isinstance(predictions, Predictions) else Predictions(predictions)]
    for one in predictions:
        for corpus, values in zip(corpora, join(corpora, one), strict=True):
            corpus.predicted[one.name] = values
    return evaluate_corpora(corpora, metrics=metrics, allow_missing=allow_missing, draws=draws, seed=seed)


def evaluate_corpora(
    corpora: Sequence[Corpus],
    *,
    metrics: Sequence[str] | None = None,
    allow_missing: bool = False,
    draws: int = DRAWS,
    seed: int = 0,
) -> Evaluation:
    """Judges what is predicted of the records of corpora.

    Utterances are resampled by reference and systems by themselves, pairs as `preference` says; each corpus by draws of
    its own, in which all predictors meet the same resamples.

    Args:
        corpora: All with the same predictors.
        metrics: Some of those with labels; None: all.
        allow_missing: Leave out what has no prediction, and count it.
        draws: Resamples.
        seed: Of the resamples.

    Raises:
        MissingPredictions: A label has no prediction.
        EvaluationError: No record has a label of a metric.
    """
    chosen = labelled_metrics(corpora, metrics)
    predictors = list(corpora[0].predicted)
    if not allow_missing and (faults := list(_missing(corpora, chosen))):
        raise MissingPredictions("\n".join(faults))
    results = []
    for number, corpus in enumerate(corpora):
        units = references(corpus)
        for metric in chosen:
            places = [place for place, record in enumerate(corpus.records) if metric in record.metrics]
            if places:
                judge = _Judging(corpus, metric, places, [units[place] for place in places], draws, (seed, number))
                results += judge.results(predictors)
    return Evaluation(corpora, predictors, results, draws, seed)


def labelled_metrics(corpora: Sequence[Corpus], metrics: Sequence[str] | None = None) -> list[str]:
    """The metrics that records have labels of, or those of them that are asked for.

    Raises:
        EvaluationError: No record has a label, or none has one of a metric asked for.
    """
    labelled = list(dict.fromkeys(name for corpus in corpora for record in corpus.records for name in record.metrics))
    if not labelled:
        raise EvaluationError("no record has a label")
    if unknown := [name for name in metrics or () if name not in labelled]:
        raise EvaluationError(f"no record has a label of {', '.join(unknown)}; there are {', '.join(labelled)}")
    return labelled if metrics is None else list(dict.fromkeys(metrics))


class _Judging:
    """All predictors on the labels of one metric in one corpus."""

    def __init__(
        self,
        corpus: Corpus,
        metric: str,
        places: Sequence[int],
        units: Sequence[Any],
        draws: int,
        seed: tuple[int, int],
    ):
        self.corpus, self.metric, self.units = corpus, metric, units
        self.places, self.resampling = places, {"draws": draws, "seed": seed}
        self.labels = np.array([corpus.records[place].metrics[metric] for place in places])
        self.systems = [None if corpus.pairs else corpus.records[place].system_id for place in places]

    def results(self, predictors: Sequence[str]) -> Iterator[Result]:
        """One for each predictor, the first first."""
        values = {}
        for name in predictors:
            predicted = self.corpus.predicted[name]
            values[name] = np.array([predicted[place].get(self.metric, math.nan) for place in self.places])
        first: tuple[np.ndarray, dict[str, Judged]] | None = None
        for name, predicted in values.items():
            here = np.isfinite(predicted)
            levels = self._levels(predicted, here)
            differences = {}
            if first is None:
                first = here, levels
            else:
                both = here & first[0]
                sides = [
                    known if (both == there).all() else self._levels(values[one], both)
                    for one, there, known in ((predictors[0], *first), (name, here, levels))
                ]
                differences = {level: paired_differences(sides[0][level], sides[1][level]) for level in sides[0]}
            yield self._result(name, here, levels, differences)

    def _levels(self, predicted: np.ndarray, here: np.ndarray) -> dict[str, Judged]:
        kept = np.flatnonzero(here)
        sides = predicted[kept], self.labels[kept]
        units = [self.units[place] for place in kept]
        if self.corpus.pairs:
            return {"pair": preference_with_intervals(*sides, units, **self.resampling)}
        levels = {"utterance": agreement_with_intervals(*sides, units, **self.resampling)}
        systems = [self.systems[place] for place in kept]
        if any(system is not None for system in systems):
            levels["system"] = agreement_with_intervals(*system_means(*sides, systems), **self.resampling)
        return levels

    def _result(
        self, name: str, here: np.ndarray, levels: dict[str, Judged], differences: dict[str, dict[str, Difference]]
    ) -> Result:
        kept = np.flatnonzero(here)
        systems = [self.systems[place] for place in kept]
        named = {None}
        for place in kept:
            unit = self.units[place]
            named.update(unit if isinstance(unit, tuple) else (unit,))
        warnings = [_NAMED[level].get(one, one) for level, found in levels.items() for one in found.warnings]
        if "system" in levels and None in systems:
            warnings.append(f"no_system: {systems.count(None)}")
        return Result(
            corpus=self.corpus.name,
            metric=self.metric,
            predictor=name,
            pairs=self.corpus.pairs,
            n=len(kept),
            missing=len(here) - len(kept),
            references=len(named) - 1,
            systems=len(set(systems) - {None}),
            levels=levels,
            differences=differences,
            warnings=tuple(dict.fromkeys(warnings)),
        )


def _missing(corpora: Sequence[Corpus], metrics: Sequence[str]) -> Iterator[str]:
    """What has a label and no prediction, a line for each corpus, metric and predictor."""
    for corpus in corpora:
        for metric in metrics:
            labelled = [place for place, record in enumerate(corpus.records) if metric in record.metrics]
            for name, values in corpus.predicted.items():
                lacking = [place for place in labelled if not math.isfinite(values[place].get(metric, math.nan))]
                if lacking and len(lacking) == len(labelled) and not any(metric in one for one in values):
                    yield f"{name} has no {metric}, of which {corpus.name} has labels; leave it out by --metrics"
                elif lacking:
                    records = [corpus.records[place] for place in lacking[:3]]
                    uids = [one.uid if isinstance(one, Utterance) else " ".join(one.uids) for one in records]
                    some = ", ".join(map(repr, uids)) + (", ..." if len(lacking) > len(uids) else "")
                    yield f"{name}: no {metric} of {len(lacking)} of {len(labelled)} records of {corpus.name}: {some}"


def _prefixed(levels: Mapping[str, Mapping[str, Any]]) -> Iterator[tuple[str, Any]]:
    for level, figures in levels.items():
        for name, value in figures.items():
            yield f"system_{name}" if level == "system" else name, value


def _of_level(figure: str, predictor: str, sets: Sequence[dict[str, Result]]) -> tuple[list[Judged], str]:
    """Where a figure of a predictor is in each corpus, and its name there."""
    name = figure.removeprefix("system_")
    results = [one[predictor] for one in sets]
    level = "system" if name != figure else "pair" if results[0].pairs else "utterance"
    return [one.levels[level] for one in results], name


def _defined(result: Result, figure: str) -> bool:
    return figure in result.figures and not math.isnan(result.figures[figure].value)
