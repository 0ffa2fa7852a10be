"""The clips of a page: all of them as lines of a table, a few of them as cards to look at and to hear."""

import contextlib
import math
import os
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from urgentmos_jax.audio.loading import AudioBlocks, AudioError, probe
from urgentmos_jax.manifests.records import Utterance
from urgentmos_jax.ranking.ranking import higher_is_better
from urgentmos_jax.report.charts import Axis, envelope, polyline
from urgentmos_jax.report.sound import Sound, SoundStore
from urgentmos_jax.scoring.windows import cut_windows

if TYPE_CHECKING:
    from urgentmos_jax.scoring.model import Model

# Clips of each kind to look at: best, worst, largest errors.
_SHOWN = 5
# Lines of a table: a browser takes seconds for ten thousand.
MAX_LINES = 10_000
MAX_FAULTS = 1_000
# Samples at 16 kHz of which a waveform is drawn as their extremes: a recording of hours is not held whole.
_RUN = 16


@dataclass(slots=True)
class Clip:
    """A line of the table.

    Attributes:
        place: Among the utterances.
        score, label: Of the metric that counts; `others` in the order of the columns.
        failure: Why there is no score.
        path, sound: The recording, and where it is on the page.
    """

    place: int
    uid: str
    system: str | None
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


@dataclass(slots=True)
class Card:
    """A clip to look at: SVG path of its waveform, SVG points of its frame scores; `fault` where it cannot be read."""

    clip: Clip
    wave: str = ""
    curve: str = ""
    seconds: float = 0.0
    fault: str = ""


def best_first(
    utterances: Sequence[Utterance],
    predictions: Mapping[str, Mapping[str, float]],
    metric: str,
    others: Sequence[tuple[str, str]],
    failures: Mapping[str, str],
) -> list[Clip]:
    """Lines of the table, the best first, those without a score last; see `page.write_report`.

    The further columns are `others`: (metric, "" or "label").
    """
    clips = []
    for place, one in enumerate(utterances):
        predicted = predictions.get(one.uid, {})
        score = predicted.get(metric)
        failure = None if score is not None else failures.get(one.uid, f"no prediction of {metric}")
        beside = [(one.metrics if kind else predicted).get(name) for name, kind in others]
        label, seconds = one.metrics.get(metric), _seconds(one)
        clips.append(Clip(place, one.uid, one.system_id, seconds, score, label, beside, failure, one.audio_path))
    sign = -1 if higher_is_better(metric) else 1
    return sorted(clips, key=lambda clip: math.inf if clip.score is None else sign * clip.score)


def to_look_at(clips: Sequence[Clip]) -> dict[str, list[Clip]]:
    """Named groups of clips, which are in order, best first; the last group may share clips with the others."""
    scored = [clip for clip in clips if clip.score is not None]
    best = scored[: min(_SHOWN, -(-len(scored) // 2))]
    worst = scored[len(best) :][-_SHOWN:][::-1]
    wrong = sorted((clip for clip in scored if clip.error is not None), key=lambda clip: -abs(clip.error or 0))[:_SHOWN]
    groups = {"Best": best, "Worst": worst, "Largest errors": wrong}
    return {name: group for name, group in groups.items() if group}


def some_lines(clips: Sequence[Clip], cards: Collection[int]) -> list[Clip]:
    """The clips of the table, of very many some, in their order: the best and the worst quarter of `MAX_LINES`, others
    at even places between, `MAX_FAULTS` without a score; and those whose places are those of `cards`."""
    if len(clips) <= MAX_LINES:
        return list(clips)
    scored = sum(clip.score is not None for clip in clips)
    chosen = set(range(scored, min(len(clips), scored + MAX_FAULTS)))
    quarter = (MAX_LINES - len(chosen)) // 4
    if scored > 4 * quarter:
        chosen |= {*range(quarter), *range(scored - quarter, scored)}
        chosen |= set(np.linspace(quarter, scored - quarter - 1, 2 * quarter).astype(int).tolist())
    else:
        chosen |= set(range(scored))
    return [clip for number, clip in enumerate(clips) if number in chosen or clip.place in cards]


def look(cards: Collection[Card], metric: str, model: "Model | None") -> Axis | None:
    """Fills in waveforms and curves; the axis that the curves share, or None without any."""
    for card in cards:
        try:
            audio = AudioBlocks(card.clip.path)
            extremes = [_extremes(part) for part in cut_windows(audio, longest=_RUN << 16, shortest=_RUN)]
        except AudioError as error:
            card.fault = str(error)
            continue
        card.wave, card.seconds = envelope(np.concatenate(extremes)), audio.duration_s
    if model is None or metric not in model.metrics:
        return None
    chosen = [card for card in cards if not card.fault]
    rows = model.score([card.clip.path for card in chosen], frames=True, metrics=[metric])
    curves = [(card, row["frames"][metric]["scores"]) for card, row in zip(chosen, rows, strict=True) if row["scores"]]
    if not curves:
        return None
    axis = Axis.over(*(scores for _, scores in curves), most=5)
    for card, scores in curves:
        card.curve = polyline(scores, axis)
    return axis


def give_sounds(clips: Sequence[Clip], cards: Collection[Card], store: SoundStore) -> None:
    """Room goes to the clips of the cards, then to the others from the best on until one finds none."""
    for card in cards:
        if not card.fault:
            card.clip.sound = store.put(card.clip.path)
    full = False
    for clip in clips:
        if clip.sound is None and os.path.isfile(clip.path):
            clip.sound = store.put(clip.path, link=full)
            full = full or not clip.sound.embedded


def _extremes(waveform: np.ndarray) -> np.ndarray:
    """Lowest and highest sample of each run."""
    runs = waveform[: len(waveform) // _RUN * _RUN].reshape(-1, _RUN)
    return np.stack([runs.min(1), runs.max(1)], 1).ravel()


def _seconds(one: Utterance) -> float:
    """Length of a clip; if it is not known, what its header says, or NaN."""
    if math.isnan(one.duration):
        with contextlib.suppress(AudioError):
            return probe(one.audio_path)
    return one.duration
