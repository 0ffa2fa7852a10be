"""What a report holds, and its writing as one HTML file that needs nothing beside it."""

import math
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING

from urgentmos_jax.audio import SAMPLE_RATE_HZ, AudioError, load_audio
from urgentmos_jax.evaluation.bootstrap import Interval
from urgentmos_jax.evaluation.correlation import agreement, system_means
from urgentmos_jax.evaluation.ranking import Ranking, higher_is_better
from urgentmos_jax.evaluation.report import charts
from urgentmos_jax.evaluation.report.charts import Axis
from urgentmos_jax.evaluation.report.rendering import page_template
from urgentmos_jax.evaluation.report.sound import Shelf, Sound
from urgentmos_jax.manifest import Utterance, whole_file
from urgentmos_jax.metrics import CATALOGUE
from urgentmos_jax.version import __version__

if TYPE_CHECKING:
    from urgentmos_jax.scoring import Model

__all__ = ["EMBED_MB", "Table", "write_report"]

EMBED_MB = 20.0

# Clips of each kind to look at: best, worst, largest errors.
_SHOWN = 5


@dataclass(frozen=True)
class Table:
    """A table of the page.

    Attributes:
        caption: What it says.
        head: Names of the columns.
        rows: Cells: text, numbers, or intervals; None and NaN for what is not defined.
        notes: What a reader must know, a sentence each.
    """

    caption: str
    head: Sequence[str]
    rows: Sequence[Sequence[str | int | float | Interval | None]]
    notes: Sequence[str] = ()


@dataclass
class Clip:
    """A line of the table of all clips."""

    place: int
    uid: str
    system: str | None
    reference: str | None
    seconds: float
    score: float | None
    label: float | None
    others: list[float | None]
    failure: str | None
    path: str
    sound: Sound | None = None

    @property
    def error(self) -> float | None:
        """Prediction minus label."""
        return None if self.score is None or self.label is None else self.score - self.label


@dataclass
class Card:
    """A clip to look at: its waveform and, over it, the scores of its frames; or why there is none."""

    clip: Clip
    wave: str = ""
    curve: str = ""
    seconds: float = 0.0
    fault: str = ""


@dataclass(frozen=True)
class Panel:
    """A scatter plot and what it says."""

    metric: str
    level: str
    plot: charts.Scatter
    figures: dict[str, float]


def write_report(
    path: str | os.PathLike,
    utterances: Sequence[Utterance],
    predictions: Mapping[str, Mapping[str, float]],
    *,
    metric: str,
    title: str = "Speech quality",
    facts: Mapping[str, str] = {},
    failures: Mapping[str, str] = {},
    ranking: Ranking | None = None,
    tables: Sequence[Table] = (),
    model: "Model | None" = None,
    embed_mb: float = EMBED_MB,
) -> None:
    """Writes a report.

    Args:
        path: HTML file to write. All it needs is in it, but for recordings there is no room for.
        utterances: Clips, with the labels they have.
        predictions: {uid: {metric: value}}.
        metric: The one that systems and clips are ordered by; others are shown beside it.
        title: Heading.
        facts: {name: text} for the head of the page: the model, the data.
        failures: {uid: why the clip has no prediction}.
        ranking: Of the systems, if there is one.
        tables: Further tables: agreement with labels.
        model: Gives the frame scores of the few clips that are shown large; None: their waveforms alone.
        embed_mb: Most that recordings within the file may take, in megabytes of its size; the others are linked.

    Raises:
        ImportError: jinja2 is not installed.
        OSError: The file cannot be written.
        ValueError: There is no clip, or `embed_mb` is no number of 0 or more.
    """
    if not utterances:
        raise ValueError("there is no clip to report on")
    if not 0 <= embed_mb < math.inf:
        raise ValueError(f"embed_mb is {embed_mb}, give a number of 0 or more")
    template = page_template()
    metrics = list(dict.fromkeys(chain([metric], *(predictions.get(one.uid, ()) for one in utterances))))
    labelled = [name for name in metrics if any(name in one.metrics for one in utterances)]
    others = [(name, kind) for name in metrics[1:] for kind in ("", "label") if not kind or name in labelled]
    clips = [
        _clip(place, one, predictions.get(one.uid, {}), metric, others, failures)
        for place, one in enumerate(utterances)
    ]
    sign = 1 if higher_is_better(metric) else -1
    clips.sort(key=lambda clip: math.inf if clip.score is None else -sign * clip.score)
    groups = _to_look_at(clips)
    cards = {clip.place: Card(clip) for _, chosen in groups for clip in chosen}
    axis = _look(cards.values(), metric, model)
    shelf = Shelf(Path(path).parent, round(1e6 * embed_mb))
    _sounds(clips, cards, shelf)
    systems = [system.name for system in ranking.systems] if ranking else []
    systems += sorted({clip.system for clip in clips if clip.system is not None} - set(systems))
    scores = [clip.score for clip in clips if clip.score is not None]
    shared_axis = Axis.over(scores) if scores else None
    page = template.render(
        title=title,
        metric=metric,
        description=CATALOGUE[metric].description if metric in CATALOGUE else "",
        lower_is_better=sign < 0,
        facts=facts,
        version=__version__,
        date=datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
        ranking=ranking,
        ranking_axis=_ranking_axis(ranking),
        tables=tables,
        panels=[panels for name in labelled if (panels := _panels(name, utterances, predictions))],
        distributions=_distributions(clips, systems, shared_axis) if shared_axis else [],
        axis=shared_axis,
        groups=[(name, [cards[clip.place] for clip in chosen]) for name, chosen in groups],
        frames=axis,
        clips=clips,
        others=others,
        labelled=metric in labelled,
        systems=systems,
        shelf=shelf,
        shown=cards,
        failed=[clip for clip in clips if clip.failure],
    )
    with whole_file(path) as file:
        file.write(page)


def _clip(
    place: int,
    one: Utterance,
    predicted: Mapping[str, float],
    metric: str,
    others: Sequence[tuple[str, str]],
    failures: Mapping[str, str],
) -> Clip:
    score = predicted.get(metric)
    failure = failures.get(one.uid) or (f"no prediction of {metric}" if score is None else None)
    beside = [(one.metrics if kind else predicted).get(name) for name, kind in others]
    label = one.metrics.get(metric)
    return Clip(
        place, one.uid, one.system_id, one.reference_id, one.duration, score, label, beside, failure, one.audio_path
    )


def _to_look_at(clips: Sequence[Clip]) -> list[tuple[str, list[Clip]]]:
    """Named groups of clips, which are in order, best first; the groups of error may share clips with the others."""
    scored = [clip for clip in clips if clip.score is not None]
    best = scored[: min(_SHOWN, -(-len(scored) // 2))]
    worst = scored[len(best) :][-_SHOWN:][::-1]
    wrong = sorted((clip for clip in scored if clip.label is not None), key=lambda clip: -abs(clip.error))[:_SHOWN]
    groups = {"Best": best, "Worst": worst, "Largest errors": wrong}
    return [(name, group) for name, group in groups.items() if group]


def _look(cards: Sequence[Card], metric: str, model: "Model | None") -> Axis | None:
    """Fills in waveforms and curves; the axis that the curves share, or None without any."""
    for card in cards:
        try:
            audio = load_audio(card.clip.path)
        except AudioError as error:
            card.fault = str(error)
            continue
        card.wave, card.seconds = charts.envelope(audio.waveform), len(audio.waveform) / SAMPLE_RATE_HZ
    if model is None or metric not in model.metrics:
        return None
    chosen = [card for card in cards if not card.fault]
    rows = model.score([card.clip.path for card in chosen], frames=True, metrics=[metric])
    curves = {
        card.clip.place: row["frames"][metric]["scores"]
        for card, row in zip(chosen, rows, strict=True)
        if not row["error"]
    }
    if not curves:
        return None
    axis = Axis.over(*curves.values(), most=5)
    for card in chosen:
        if card.clip.place in curves:
            card.curve = charts.polyline(curves[card.clip.place], axis)
    return axis


def _sounds(clips: Sequence[Clip], cards: Mapping[int, Card], shelf: Shelf) -> None:
    """Room goes to the clips that are shown large, then to the others from the best on until one finds none."""
    for card in cards.values():
        card.clip.sound = shelf.put(card.clip.path, link=bool(card.fault))
    full = False
    for clip in clips:
        if clip.sound is None and not (clip.failure and not os.path.isfile(clip.path)):
            clip.sound = shelf.put(clip.path, link=full)
            full = full or not clip.sound.embedded


def _ranking_axis(ranking: Ranking | None) -> Axis | None:
    sides = [
        side
        for system in (ranking.systems if ranking else ())
        for side in (system.mean.value, system.mean.low, system.mean.high)
        if not math.isnan(side)
    ]
    return Axis.over(sides, most=4) if sides else None


def _panels(
    metric: str, utterances: Sequence[Utterance], predictions: Mapping[str, Mapping[str, float]]
) -> list[Panel]:
    """Predictions over labels, by clip and by system."""
    found = [
        (one, predictions[one.uid][metric], one.metrics[metric])
        for one in utterances
        if metric in one.metrics and metric in predictions.get(one.uid, ())
    ]
    if not found:
        return []
    clips, predicted, true = zip(*found, strict=True)
    names = [one.uid for one in clips]
    panels = [Panel(metric, "clips", charts.scatter(true, predicted, names, labels=False), agreement(predicted, true))]
    systems = [one.system_id for one in clips]
    if len(names := sorted({name for name in systems if name is not None})) > 1:
        predicted, true = system_means(predicted, true, systems)
        plot = charts.scatter(true, predicted, names, labels=True)
        panels.append(Panel(metric, "systems", plot, agreement(predicted, true)))
    return panels


def _distributions(clips: Sequence[Clip], systems: Sequence[str], axis: Axis) -> list[charts.Distribution]:
    values: dict[str | None, list[float]] = {name: [] for name in systems}
    for clip in clips:
        if clip.score is not None:
            values.setdefault(clip.system, []).append(clip.score)
    without = "without a system" if systems else "all clips"
    return [charts.distribution(name or without, found, axis) for name, found in values.items() if found]
