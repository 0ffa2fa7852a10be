"""Reports as tests read them, and clips to report on."""

import itertools
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import soundfile

from tests.helpers.corpus import speech_like
from urgentmos_jax.manifests.records import Utterance
from urgentmos_jax.ranking.ranking import Ranking, rank, wins_by_score
from urgentmos_jax.report import write_report

QUALITY = {"clean": 4.6, "codec": 3.4, "noisy": 2.2}
REFERENCES = 5
NONE = "\N{EN DASH}"


class Page(HTMLParser):
    """What a reader finds on a page.

    Attributes:
        elements: (tag, attributes) of every element.
        text: All text, that of scripts and styles left out.
        tables: {id of the section: its tables, each a list of rows of texts}.
    """

    def __init__(self, path: Path):
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.tables: dict[str, list[list[list[str]]]] = {}
        self._texts: list[str] = []
        self._open: list[str] = []
        self._section = ""
        self.source = path.read_text(encoding="utf-8")
        self.feed(self.source)
        self.text = " ".join(" ".join(self._texts).split())

    def all(self, tag: str, **wanted: str) -> list[dict[str, str | None]]:
        chosen = [attributes for name, attributes in self.elements if name == tag]
        return [one for one in chosen if all(value in (one.get(key) or "").split() for key, value in wanted.items())]

    def handle_starttag(self, tag, attributes):
        self.elements.append((tag, dict(attributes)))
        self._open.append(tag)
        if tag == "section":
            self._section = dict(attributes)["id"]
            self.tables[self._section] = []
        elif tag == "table":
            self.tables[self._section].append([])
        elif tag == "tr":
            self.tables[self._section][-1].append([])
        elif tag in ("td", "th"):
            self.tables[self._section][-1][-1].append("")

    def handle_endtag(self, tag):
        while self._open and self._open.pop() != tag:
            pass

    def handle_data(self, data):
        if self._open and self._open[-1] in ("script", "style"):
            return
        self._texts.append(data)
        if {"td", "th"} & set(self._open):
            row = self.tables[self._section][-1][-1]
            row[-1] = " ".join(f"{row[-1]} {data}".split())


def corpus(folder: Path, *, references: int = REFERENCES, samples: int = 6400) -> list[Utterance]:
    """Recordings of three systems with labels; lengths differ."""
    clips = []
    for (number, (system, quality)), reference in itertools.product(enumerate(QUALITY.items()), range(references)):
        path = folder / system / f"{reference}.wav"
        path.parent.mkdir(parents=True, exist_ok=True)
        clip = 1.9 * speech_like(10 * number + reference, samples + 800 * reference)
        soundfile.write(path, clip, 16000)
        label = round(quality + 0.1 * ((7 * reference + number) % 5 - 2), 2)
        uid = f"{system}/{reference}"
        clips.append(Utterance(uid, str(path), len(clip) / 16000, system, f"r{reference}", {"mos_overall": label}))
    return clips


def predicted(clips: list[Utterance]) -> dict[str, dict[str, float]]:
    """Labels with errors that differ from clip to clip."""
    return {
        clip.uid: {"mos_overall": clip.metrics["mos_overall"] + 0.03 * ((3 * place) % 7 - 3), "utmos": 1 + place / 10}
        for place, clip in enumerate(clips)
    }


def ranked(clips: list[Utterance], predictions: dict[str, dict[str, float]], metric: str = "mos_overall") -> Ranking:
    scores = {uid: values[metric] for uid, values in predictions.items() if metric in values}
    both = itertools.combinations(range(len(clips)), 2)
    same = [
        (a, b)
        for a, b in both
        if clips[a].reference_id == clips[b].reference_id and clips[a].system_id != clips[b].system_id
    ]
    pairs = np.array(same, np.int64).reshape(-1, 2)
    return rank(clips, scores, pairs, wins_by_score(clips, scores, pairs, metric), metric=metric, resamples=100)


def sources(page: Page) -> list[str]:
    """Every address that the page names."""
    names = ("src", "href", "data-source", "poster", "action", "srcset")
    return [attributes[name] or "" for _, attributes in page.elements for name in names if name in attributes]


def full_report(path: Path, clips: list[Utterance]) -> Page:
    """A report with all there can be but a model."""
    predictions = predicted(clips)
    facts = {"Model": "a formula", "Data": "corpus"}
    ranking = ranked(clips, predictions)
    write_report(path, clips, predictions, metric="mos_overall", title="Three systems", facts=facts, ranking=ranking)
    return Page(path)
