"""What an evaluation found: statistics by dataset, metric and model; averages; distances to the best model."""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from urgentmos_jax.statistics.bootstrap import Difference, Estimates, Interval, average
from urgentmos_jax.statistics.correlation import LOWER_IS_BETTER

# Levels that names of statistics begin with: `system_mse`, `score_difference_acc_0`.
PREFIXED = ("system", "score_difference")


def split_statistic(statistic: str) -> tuple[str, str]:
    """(level of `PREFIXED`, or empty; name) of `system_mse` and the like."""
    level = next((one for one in PREFIXED if statistic.startswith(f"{one}_")), "")
    return level, statistic.removeprefix(f"{level}_")


@dataclass(frozen=True)
class Result:
    """One model on the labels of one metric in one dataset.

    Attributes:
        pairs: Whether the dataset lists pairs.
        n: Utterances or pairs with a label and a prediction.
        missing: Labels without a prediction.
        references, systems: Numbers of them among the n; 0 where there are none.
        levels: {"utterance", "system", "pair" or "score_difference": estimates}; without "system" where no utterance
            has one. Pairs are compared by a head where there is one, and then by the difference of scores beside.
        differences: {level: {statistic: this model minus the first}}, on what both predict; empty for the first.
        warnings: What makes statistics undefined, and `no_system`: how many utterances have none.
    """

    dataset: str
    metric: str
    model: str
    pairs: bool
    n: int
    missing: int
    references: int
    systems: int
    levels: dict[str, Estimates]
    differences: dict[str, dict[str, Difference]] = field(default_factory=dict)
    warnings: tuple[str, ...] = ()

    @property
    def intervals(self) -> dict[str, Interval]:
        """{statistic: value and interval}; those of `PREFIXED` levels as `system_mse`."""
        return {
            f"{level}_{name}" if level in PREFIXED else name: interval
            for level, found in self.levels.items()
            for name, interval in found.intervals.items()
        }

    def estimates(self, statistic: str) -> tuple[Estimates, str]:
        """The estimates that hold a statistic, which may be named as `system_mse`, and its name there."""
        level, name = split_statistic(statistic)
        return self.levels[level or ("pair" if self.pairs else "utterance")], name

    def defines(self, statistic: str) -> bool:
        """Whether a statistic has a value."""
        return statistic in self.intervals and not math.isnan(self.intervals[statistic].value)


@dataclass(frozen=True)
class OverDatasets:
    """One statistic of one model over the datasets where all models have it.

    Attributes:
        metric, statistic, model: Names.
        datasets: Number of them.
        n: Clips, systems or pairs in all of them.
    """

    metric: str
    statistic: str
    model: str
    datasets: int
    n: int


@dataclass(frozen=True)
class Average(OverDatasets):
    """The average, each dataset weighted alike."""

    interval: Interval


@dataclass(frozen=True)
class BestScore(OverDatasets):
    """Distance of one model to the best of the compared ones (Huang et al. 2024, MOS-Bench).

    Attributes:
        difference: Value less that of the best model of the dataset, averaged over the datasets; 0 is best.
        ratio: Value over that of the best (best over value for MSE and RMSE), likewise; 1 is best. NaN where a best
            value is not above 0.
    """

    difference: float
    ratio: float


@dataclass(frozen=True)
class Evaluation:
    """All that was found.

    Attributes:
        models: Names; the others are compared with the first.
        results: By dataset, metric and model.
        resamples, seed: Of the bootstrap.
        calibrated: {model: by what it is calibrated}, of those that are.
    """

    models: Sequence[str]
    results: Sequence[Result]
    resamples: int
    seed: int
    calibrated: Mapping[str, str] = field(default_factory=dict)

    @property
    def averages(self) -> list[Average]:
        """Over datasets, of each metric that at least two of them have."""
        found = []
        for metric, statistic, sets in self._common():
            for model in self.models if len(sets) > 1 else ():
                parts, names = zip(*(results[model].estimates(statistic) for results in sets), strict=True)
                n = sum(part.n for part in parts)
                found.append(Average(metric, statistic, model, len(sets), n, average(parts, names[0])))
        return found

    @property
    def best_scores(self) -> list[BestScore]:
        """Of each statistic, where there is more than one model."""
        found = []
        for metric, statistic, sets in self._common() if len(self.models) > 1 else ():
            values = np.array([[results[name].intervals[statistic].value for name in self.models] for results in sets])
            lower = split_statistic(statistic)[1] in LOWER_IS_BETTER
            best = values.min(1) if lower else values.max(1)
            differences = (values - best[:, None]).mean(0)
            over = (best[:, None], values) if lower else (values, best[:, None])
            ratios = np.full(len(self.models), math.nan)
            if (over[1] > 0).all():
                ratios = (over[0] / over[1]).mean(0)
            for name, difference, ratio in zip(self.models, differences, ratios, strict=True):
                n = sum(results[name].estimates(statistic)[0].n for results in sets)
                found.append(BestScore(metric, statistic, name, len(sets), n, float(difference), float(ratio)))
        return found

    def _common(self) -> Iterator[tuple[str, str, list[dict[str, Result]]]]:
        """(metric, statistic, [{model: result}] of the datasets where all models have it)."""
        by_metric: dict[tuple[str, bool], dict[str, dict[str, Result]]] = {}
        for one in self.results:
            by_metric.setdefault((one.metric, one.pairs), {}).setdefault(one.dataset, {})[one.model] = one
        for (metric, _), datasets in by_metric.items():
            statistics = dict.fromkeys(
                name for sets in datasets.values() for one in sets.values() for name in one.intervals
            )
            for statistic in statistics:
                sets = [sets for sets in datasets.values() if all(one.defines(statistic) for one in sets.values())]
                if sets:
                    yield metric, statistic, sets
