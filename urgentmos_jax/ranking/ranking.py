"""Ranking of systems by mean scores and by pairwise comparisons, with groups that do not differ significantly."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from urgentmos_jax.manifests.records import Utterance
from urgentmos_jax.metrics import CATALOGUE
from urgentmos_jax.ranking.system_table import SystemTable
from urgentmos_jax.statistics.bootstrap import RESAMPLES, Interval, expanded_interval, resampled_counts
from urgentmos_jax.statistics.grouping import MIN_REFERENCES, compact_letters, significantly_different

_STATISTICS = ("mean", "strength", "win_rate")


@dataclass(frozen=True)
class RankedSystem:
    """One system of a ranking.

    Attributes:
        clips: Recordings of it that have a score.
        mean: Mean score.
        strength: Of Bradley and Terry, natural logarithm, centred at 0 over the systems; NaN where it is not defined.
        win_rate: Mean share of wins over the other systems, ties half.
        group: Letters of its tie groups, "A" the best; systems that share a letter do not differ significantly at 95 %.
            Empty without a score.
    """

    name: str
    clips: int
    mean: Interval
    strength: Interval
    win_rate: Interval
    group: str


@dataclass(frozen=True)
class Ranking:
    """Systems in order by a metric, and what the order rests on.

    Attributes:
        systems: Best first.
        wins: [S, S] share of the shared references where the system of the row beats that of the column, ties half;
            NaN on the diagonal and without a shared reference. In the order of `systems`, as all below.
        shared: [S, S] number of shared references compared.
        missing: (system, reference) that other systems have and this one has not, or whose recording has no score; the
            uid stands for a reference that is not known.
        notes: What a reader must know of how the order was found, a sentence each.
        decided_by: What the order and the tie groups rest on.
        references: Number of references, those of one system alone included.
    """

    metric: str
    systems: tuple[RankedSystem, ...]
    wins: np.ndarray
    shared: np.ndarray
    missing: tuple[tuple[str, str], ...]
    notes: tuple[str, ...] = ()
    decided_by: Literal["strength", "mean"] = "strength"
    references: int = 0

    @property
    def places_by_mean(self) -> tuple[int, ...]:
        """Place of each system by its mean score, 1 the best; those without a score come last."""
        sign = 1 if higher_is_better(self.metric) else -1
        means = [-math.inf if math.isnan(system.mean.value) else sign * system.mean.value for system in self.systems]
        return tuple(1 + sum(other > mean for other in means) for mean in means)

    def as_json(self) -> dict[str, Any]:
        """For a JSON file; null for what is not defined."""
        return {
            "metric": self.metric,
            "decided_by": self.decided_by,
            "references": self.references,
            "systems": [
                {"name": system.name, "group": system.group, "clips": system.clips, "place_by_mean": place}
                | {name: getattr(system, name).as_json() for name in _STATISTICS}
                for system, place in zip(self.systems, self.places_by_mean, strict=True)
            ],
            "wins": [[None if math.isnan(share) else share for share in row] for row in self.wins.tolist()],
            "shared": self.shared.tolist(),
            "missing": [{"system": system, "reference": reference} for system, reference in self.missing],
            "notes": list(self.notes),
        }


def higher_is_better(metric: str) -> bool:
    """Direction of a metric; up for one that the catalogue does not know."""
    return metric not in CATALOGUE or CATALOGUE[metric].higher_is_better


def wins_by_score(
    recordings: Sequence[Utterance], scores: Mapping[str, float], pairs: np.ndarray, metric: str
) -> np.ndarray:
    """Share of a win of the first of each pair [P]: 1 with the better score, 0.5 with an equal one, NaN without.

    The pairs [P, 2] are numbers of recordings, the scores {uid: score}; the metric's direction counts.
    """
    values = _values(recordings, scores) * (1 if higher_is_better(metric) else -1)
    return (np.sign(values[pairs[:, 0]] - values[pairs[:, 1]]) + 1) / 2


def rank(
    recordings: Sequence[Utterance],
    scores: Mapping[str, float],
    pairs: np.ndarray,
    shares: np.ndarray,
    *,
    metric: str,
    resamples: int = RESAMPLES,
    seed: int = 0,
    notes: Sequence[str] = (),
) -> Ranking:
    """Ranks systems.

    Strengths decide if the comparisons join all systems that have a score, else means do. Intervals are expanded
    percentiles over resamples of the references, the same resamples for all systems and statistics.

    Args:
        recordings: N, each with `system_id`.
        scores: {uid: score}; a recording without one is missing.
        pairs: [P, 2] numbers of recordings that share a reference, of different systems.
        shares: [P] how much of a win each is for the first: 1, 0.5 for a tie, 0, or between; NaN where it failed.
        metric: Name of the score.
        resamples, seed: Of the references.
        notes: On where scores and comparisons come from.
    """
    table = SystemTable(recordings, _values(recordings, scores), pairs, shares)
    sample = {name: found[0] for name, found in table.statistics(np.ones((1, table.references))).items()}
    pieces = [
        table.statistics(counts)
        for counts in resampled_counts(table.references, resamples=resamples, seed=seed, width=len(table.names) ** 2)
    ]
    resampled = {name: np.concatenate([piece[name] for piece in pieces]) for name in sample}
    rests_on = {"mean": table.scored_references, "strength": table.compared_references}
    rests_on["win_rate"] = rests_on["strength"]

    scored = table.clips > 0
    by_strength = scored.any() and np.isfinite(sample["strength"][scored]).all()
    decided_by: Literal["strength", "mean"] = "strength" if by_strength else "mean"
    upward = by_strength or higher_is_better(metric)
    deciding = np.nan_to_num(sample[decided_by] * (1 if upward else -1), nan=-np.inf)
    order = np.array(sorted(range(len(scored)), key=lambda number: (-deciding[number].round(9), table.names[number])))
    known = order[scored[order]]
    compared = _chances if by_strength else np.asarray
    different = significantly_different(
        compared(sample[decided_by][known]), compared(resampled[decided_by][:, known]), rests_on[decided_by][known]
    )
    groups = dict(zip(known.tolist(), compact_letters(different), strict=True))

    def interval(name: str, number: int) -> Interval:
        value = float(sample[name][number])
        return expanded_interval(value, resampled[name][:, number], int(rests_on[name][number]))

    def ranked(number: int) -> RankedSystem:
        intervals = {name: interval(name, number) for name in _STATISTICS}
        return RankedSystem(table.names[number], int(table.clips[number]), **intervals, group=groups.get(number, ""))

    return Ranking(
        metric=metric,
        systems=tuple(map(ranked, order.tolist())),
        wins=table.wins[np.ix_(order, order)],
        shared=table.shared[np.ix_(order, order)],
        missing=table.missing(),
        notes=(*notes, *_notes(table, decided_by, resamples)),
        decided_by=decided_by,
        references=table.references,
    )


def _chances(strengths: np.ndarray) -> np.ndarray:
    """Mean chance [..., S] of a win over the systems, itself included: in the order of the strengths [..., S].

    Differences of these are tested: a system that nearly always wins has a strength that varies without bound.
    """
    return (1 / (1 + np.exp(strengths[..., None, :] - strengths[..., :, None]))).mean(-1)


def _values(recordings: Sequence[Utterance], scores: Mapping[str, float]) -> np.ndarray:
    return np.array([scores.get(recording.uid, np.nan) for recording in recordings], np.float64)


def _notes(table: SystemTable, decided_by: str, resamples: int) -> list[str]:
    count = len(table.names)
    notes = []
    if not table.comparisons:
        notes.append("No comparisons of systems on a shared reference: the order is that of the means.")
    elif decided_by == "mean":
        alone = [name for number, name in enumerate(table.names) if number not in table.joined and table.clips[number]]
        notes.append(f"The order is that of the means: no shared references join {_listed(alone)} to the others.")
    if count > 1:
        notes.append(
            f"Intervals: 95 %, {resamples:,} resamples of the references. Systems that share a group letter do not "
            f"differ significantly by {decided_by}, at 95 % for all pairs together."
        )
    fewest = (table.compared_references if decided_by == "strength" else table.scored_references)[table.clips > 0]
    if len(fewest) and fewest.min() < MIN_REFERENCES:
        notes.append(
            f"Fewest references of a system: {fewest.min()}. With fewer than {MIN_REFERENCES} intervals are too "
            "narrow, and no difference is significant."
        )
    return notes


def _listed(names: Sequence[str], most: int = 5) -> str:
    return ", ".join(names[:most]) + (f" and {len(names) - most:,} more" if len(names) > most else "")
