"""Tables of a page: predictions against labels."""

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby

from urgentmos_jax.evaluation.evaluating import Evaluation
from urgentmos_jax.evaluation.evaluation_tables import TITLES, sections
from urgentmos_jax.manifests.reading import Utterance
from urgentmos_jax.statistics.bootstrap import CONFIDENCE, Interval

__all__ = ["Table", "agreement_tables", "clips_of"]

_LEVELS = {"utterance": "clips", "system": "systems", "pair": "pairs"}


@dataclass(frozen=True)
class Table:
    """A table of the page.

    Attributes:
        title: What it says.
        head: Names of the columns.
        rows: Cells: text, numbers, or intervals; None and NaN for what is not defined.
        notes: What a reader must know, a sentence each.
    """

    title: str
    head: Sequence[str]
    rows: Sequence[Sequence[str | int | float | Interval | None]]
    notes: Sequence[str] = ()


def agreement_tables(evaluation: Evaluation) -> list[Table]:
    """A table a corpus, a line for each metric, predictor and level; averages over corpora and predictors compared."""
    found = []
    several = len(evaluation.predictors) > 1
    for corpus, group in groupby(evaluation.results, lambda one: one.corpus):
        results = list(group)
        figures = list(dict.fromkeys(name for one in results for of in one.levels.values() for name in of.figures))
        rows = [
            [
                one.metric,
                *([one.predictor] if several else []),
                _LEVELS[level],
                of.n,
                one.missing if level != "system" else None,
                *(of.figures.get(name) for name in figures),
            ]
            for one in results
            for level, of in one.levels.items()
        ]
        head = ["Metric", *(["Predictor"] if several else []), "By", "n", "Missing"]
        notes = [f"{one.metric}, {one.predictor}: {', '.join(one.warnings)}." for one in results if one.warnings]
        found.append(Table(corpus, [*head, *(TITLES.get(name, name) for name in figures)], rows, notes))
    if found:
        percent, draws = f"{100 * CONFIDENCE:.0f}", f"{evaluation.draws:,}"
        found[-1].notes.append(f"In brackets {percent} % bootstrap intervals, {draws} draws.")
    corpora = len(found)
    found += [Table(one.title, one.header, one.rows, one.notes) for one in sections(evaluation)[corpora:]]
    return found


def clips_of(
    evaluation: Evaluation, failed: Mapping[str, str] = {}
) -> tuple[dict[str, list[Utterance]], dict[str, dict[str, float]], dict[str, str]]:
    """Recordings of an evaluation as `write_report` takes them.

    Args:
        evaluation: Of one corpus at least that is not of pairs.
        failed: {uid: why it has no score}.

    Returns:
        {corpus: clips}, what the first predictor says of them, and why it does not. If there are several corpora, uids
        and systems are named after them too.
    """
    corpora = [corpus for corpus in evaluation.corpora if not corpus.pairs]
    metrics = {one.metric for one in evaluation.results}
    clips: dict[str, list[Utterance]] = {corpus.name: [] for corpus in corpora}
    predictions, failures = {}, {}
    for corpus in corpora:
        before = f"{corpus.name}: " if len(corpora) > 1 else ""
        for one, values in zip(corpus.records, corpus.predicted[evaluation.predictors[0]], strict=True):
            if not values and not metrics & one.metrics.keys():
                continue  # It was not asked for.
            system = None if one.system_id is None else before + one.system_id
            clip = dataclasses.replace(one, uid=before + one.uid, system_id=system)
            clips[corpus.name].append(clip)
            predictions[clip.uid] = values
            if one.uid in failed:
                failures[clip.uid] = failed[one.uid]
    return clips, predictions, failures
