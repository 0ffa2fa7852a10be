"""What a report holds, and its writing as one HTML file that needs nothing beside it."""

import math
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING

from urgentmos_jax.evaluation.datasets import Dataset
from urgentmos_jax.evaluation.evaluating import evaluate
from urgentmos_jax.evaluation.results import Evaluation
from urgentmos_jax.files import write_text
from urgentmos_jax.manifests.records import Utterance
from urgentmos_jax.metrics import CATALOGUE
from urgentmos_jax.ranking.ranking import Ranking, higher_is_better
from urgentmos_jax.report.agreement import agreement_tables
from urgentmos_jax.report.charts import Axis, Distribution, Scatter, distribution, scatter
from urgentmos_jax.report.clips import MAX_FAULTS, Card, Clip, best_first, give_sounds, look, some_lines, to_look_at
from urgentmos_jax.report.rendering import page_template
from urgentmos_jax.report.sound import SoundStore
from urgentmos_jax.statistics.correlation import agreement, system_means
from urgentmos_jax.version import __version__

if TYPE_CHECKING:
    from urgentmos_jax.scoring.model import Model

EMBED_MB = 20.0


@dataclass(frozen=True)
class Panel:
    """A scatter plot and what it says."""

    name: str
    level: str
    plot: Scatter
    statistics: dict[str, float]


def write_report(
    path: str | os.PathLike,
    utterances: Sequence[Utterance] | Mapping[str, Sequence[Utterance]],
    predictions: Mapping[str, Mapping[str, float]],
    *,
    metric: str,
    title: str = "Speech quality",
    facts: Mapping[str, str] = {},
    failures: Mapping[str, str] = {},
    ranking: Ranking | None = None,
    evaluation: Evaluation | None = None,
    model: "Model | None" = None,
    embed_mb: float = EMBED_MB,
) -> None:
    """Writes a report.

    Args:
        path: HTML file to write. All it needs is in it, but for recordings there is no room for.
        utterances: Clips, or {corpus: clips}, with the labels they have; a duration that is NaN is read from the
            recording. Uids are unique over all.
        predictions, failures: {uid: {metric: value}}, and {uid: why the clip has none}.
        metric: The one that systems and clips are ordered by; others are shown beside it.
        title, facts: Heading, and {name: text} below it: the model, the data.
        ranking: Of the systems, if there is one.
        evaluation: Agreement with the labels; None: that of `predictions` is found, if there are labels.
        model: Gives the frame scores of the few clips that are shown large; None: their waveforms alone.
        embed_mb: Most that recordings within the file may take, in megabytes of its size; the others are linked.

    Raises:
        ImportError: jinja2 is not installed.
        OSError: The file cannot be written.
        ValueError: There is no clip, or `embed_mb` is not a number of 0 or more.
    """
    corpora = utterances if isinstance(utterances, Mapping) else {"": utterances}
    utterances = list(chain.from_iterable(corpora.values()))
    if not utterances:
        raise ValueError("there is no clip to report on")
    if not 0 <= embed_mb < math.inf:
        raise ValueError(f"embed_mb is {embed_mb}, give a number of 0 or more")
    template = page_template()
    known = {one.uid: predictions[one.uid] for one in utterances if one.uid in predictions}
    metrics = list(dict.fromkeys(chain([metric], *known.values())))
    both = {name for one in utterances for name in one.metrics if name in known.get(one.uid, ())}
    labelled = [name for name in metrics if name in both]
    if evaluation is None and labelled:
        predicted = {"predictions": [[known.get(one.uid, {}) for one in utterances]]}
        evaluation = evaluate([Dataset("all", False, utterances)], predicted, metrics=labelled, allow_missing=True)
    others = [(name, kind) for name in metrics[1:] for kind in ("", "label") if not kind or name in both]
    clips = best_first(utterances, known, metric, others, failures)
    groups = to_look_at(clips)
    cards = {clip.place: Card(clip) for group in groups.values() for clip in group}
    frames = look(cards.values(), metric, model)
    store = SoundStore(Path(path).parent, round(1e6 * embed_mb))
    lines = some_lines(clips, cards.keys())
    give_sounds(lines, cards.values(), store)
    systems = [system.name for system in ranking.systems] if ranking else []
    systems += sorted({clip.system for clip in clips if clip.system is not None} - set(systems))
    scores = [clip.score for clip in clips if clip.score is not None]
    axis = Axis.over(scores) if scores else None
    title_of = {corpus: corpus if len(corpora) > 1 else "" for corpus in corpora}
    panels = [_panels(name, part, known, title_of[one]) for name in labelled for one, part in corpora.items()]
    page = template.render(
        title=title,
        metric=metric,
        description=CATALOGUE[metric].description if metric in CATALOGUE else "",
        lower_is_better=not higher_is_better(metric),
        facts=facts,
        version=__version__,
        date=datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
        systems=systems,
        ranking=ranking,
        ranking_axis=_ranking_axis(ranking),
        tables=agreement_tables(evaluation) if evaluation else [],
        panels=list(filter(None, panels)),
        axis=axis,
        distributions=_distributions(clips, axis, metric, ranking) if axis else [],
        level_with_first=_level_with_first(ranking),
        groups=_once(groups, cards),
        frames=frames,
        count=len(clips),
        lines=lines,
        cards=cards,
        labelled=metric in both,
        others=others,
        store=store,
        failed=[clip for clip in clips if clip.failure],
        max_faults=MAX_FAULTS,
    )
    write_text(path, page)


def _level_with_first(ranking: Ranking | None) -> list[str]:
    """Systems that do not differ significantly from the first."""
    if ranking is None:
        return []
    first, *others = ranking.systems
    return [other.name for other in others if set(other.group) & set(first.group)]


def _once(groups: Mapping[str, Sequence[Clip]], cards: Mapping[int, Card]) -> dict[str, list[tuple[Card, bool]]]:
    """The cards of each group, and whether each has been shown above."""
    shown: dict[str, list[tuple[Card, bool]]] = {}
    seen: set[int] = set()
    for name, group in groups.items():
        shown[name] = [(cards[clip.place], clip.place in seen) for clip in group]
        seen |= {clip.place for clip in group}
    return shown


def _ranking_axis(ranking: Ranking | None) -> Axis | None:
    """Of the means and their intervals."""
    means = [system.mean for system in ranking.systems] if ranking else []
    sides = [side for one in means for side in (one.value, one.low, one.high) if not math.isnan(side)]
    return Axis.over(sides, most=4) if sides else None


def _panels(
    metric: str, utterances: Sequence[Utterance], known: Mapping[str, Mapping[str, float]], corpus: str
) -> list[Panel]:
    """Predictions over labels, by clip and, where there are several, by system; none without any."""
    found = [one for one in utterances if metric in one.metrics and metric in known.get(one.uid, ())]
    if not found:
        return []
    predicted, true = [known[one.uid][metric] for one in found], [one.metrics[metric] for one in found]
    name, before = (f"{metric}, {corpus}", f"{corpus}: ") if corpus else (metric, "")
    names, systems = [one.uid.removeprefix(before) for one in found], [one.system_id for one in found]
    panels = [Panel(name, "clips", scatter(true, predicted, names, labels=False), agreement(predicted, true))]
    names = [system.removeprefix(before) for system in sorted({one for one in systems if one is not None})]
    if len(names) > 1:
        means = system_means(predicted, true, systems)
        plot = scatter(means[1], means[0], names, labels=True)
        panels.append(Panel(name, "systems", plot, agreement(*means)))
    return panels


def _distributions(clips: Sequence[Clip], axis: Axis, metric: str, ranking: Ranking | None) -> list[Distribution]:
    """Scores of each system, in the order of the ranking, else the best mean first; and of clips without a system."""
    values: dict[str | None, list[float]] = {system.name: [] for system in ranking.systems} if ranking else {}
    for clip in clips:
        if clip.score is not None:
            values.setdefault(clip.system, []).append(clip.score)
    without = "all clips" if values.keys() == {None} else "without a system"
    found = [distribution(name or without, scores, axis) for name, scores in values.items() if scores]
    return found if ranking else sorted(found, key=lambda one: one.mean, reverse=higher_is_better(metric))
