"""The report: what is on the page, that it needs nothing beside it, and what it does in a browser."""

import base64
import dataclasses
import io
import itertools
import json
import math
import os
import re
import sys
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote_to_bytes

import numpy as np
import pytest
import soundfile
from browser import BROWSER, Browser
from conftest import speech_like

from urgentmos_jax.cli import main, reporting
from urgentmos_jax.evaluation.correlation import agreement
from urgentmos_jax.evaluation.evaluating import evaluate
from urgentmos_jax.evaluation.predictions import Predictions
from urgentmos_jax.evaluation.ranking import Ranking, rank, wins_by_score
from urgentmos_jax.evaluation.report import EMBED_MB, write_report
from urgentmos_jax.evaluation.report.charts import Axis, Scatter, distribution, envelope, polyline, scatter
from urgentmos_jax.manifest import Utterance, write_utterances

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
    return rank(clips, scores, pairs, wins_by_score(clips, scores, pairs, metric), metric=metric, draws=100)


def sources(page: Page) -> list[str]:
    """Every address that the page names."""
    names = ("src", "href", "data-source", "poster", "action", "srcset")
    return [attributes[name] or "" for _, attributes in page.elements for name in names if name in attributes]


@pytest.fixture(scope="module")
def clips(tmp_path_factory) -> list[Utterance]:
    return corpus(tmp_path_factory.mktemp("corpus"))


@pytest.fixture(scope="module")
def written(clips, tmp_path_factory) -> tuple[Page, Path]:
    """A report with all there can be but a model."""
    path = tmp_path_factory.mktemp("report") / "report.html"
    predictions = predicted(clips)
    ranking = ranked(clips, predictions)
    write_report(
        path,
        clips,
        predictions,
        metric="mos_overall",
        title="Three systems",
        facts={"Model": "a formula", "Data": "corpus"},
        ranking=ranking,
    )
    return Page(path), path


def test_page_holds_what_was_found(written, clips):
    page, _ = written
    assert ("title", {}) in page.elements and page.text.startswith("Three systems")
    assert "Model a formula" in page.text and "Clips 15 of 3 systems" in page.text
    ranking, pairs = page.tables["ranking"]
    predictions = predicted(clips)
    for row, (name, clean) in zip(ranking[1:], [("clean", 0), ("codec", 5), ("noisy", 10)], strict=True):
        mean = np.mean([predictions[clip.uid]["mos_overall"] for clip in clips[clean : clean + REFERENCES]])
        assert row[1] == name and row[2].startswith(f"{mean:.2f} [") and row[-1] == "5"
    # Qualities are so far apart that each system wins all or nothing.
    assert [row[1:] for row in pairs[1:]] == [["", "100", "100"], ["0", "", "100"], ["0", "0", ""]]
    first, *others = ranked(clips, predictions).systems
    level = [other.name for other in others if set(first.group) & set(other.group)]
    apart = f", and cannot be told apart from {', '.join(level)} at 95 %" if level else ""
    ends = f"[{first.mean.low:.2f}, {first.mean.high:.2f}]"
    lead = f"clean leads with a mean mos_overall of {first.mean.value:.2f} {ends}{apart}."
    assert level and lead.replace(" ", "") in page.text.replace(" ", "")
    marks = page.all("circle")
    assert len(marks) == 15 + 3  # By clip and by system; utmos has no labels.
    assert all(one.get("aria-label") for one in page.all("svg", role="img"))
    assert len(page.all("svg")) == 2 + 3 + len(page.all("audio")) - 1
    assert "mos_overall by clips SRCC" in page.text and "n = 3" in page.text


def test_agreement_is_there_with_its_intervals(written, clips, tmp_path):
    (table,) = written[0].tables["agreement"]
    predictions = predicted(clips)
    sides = [[predictions[clip.uid]["mos_overall"], clip.metrics["mos_overall"]] for clip in clips]
    means = np.mean(np.reshape(sides, (3, REFERENCES, 2)), axis=1)
    assert table[0] == ["Metric", "By", "n", "Missing", "MSE", "LCC", "SRCC", "KTAU", "mapped RMSE"]
    for row, level, found in zip(table[1:], ("clips", "systems"), (np.array(sides), means), strict=True):
        wanted = agreement(found[:, 0], found[:, 1])
        assert row[:4] == ["mos_overall", level, str(len(found)), "0" if level == "clips" else NONE]
        assert [float(cell.split()[0]) for cell in row[4:7]] == pytest.approx(
            [wanted[name] for name in ("mse", "lcc", "srcc")], abs=6e-4
        )
    assert all(re.fullmatch(r"[\d.]+ \[[\d.]+, [\d.]+\]", cell) for cell in table[1][4:])
    # Of several predictors and corpora.
    both = [
        Predictions(predictions, "one"),
        Predictions({uid: {"mos_overall": 3.0} for uid in predictions}, "constant"),
    ]
    found = evaluate({"first": clips[:8], "second": clips[8:]}, both)
    write_report(tmp_path / "r.html", clips, predictions, metric="mos_overall", evaluation=found)
    page = Page(tmp_path / "r.html")
    first, second, *compared = page.tables["agreement"]
    assert [row[1] for row in first[1:]] == ["one", "one", "constant", "constant"] and len(first) == len(second)
    assert [row[-1] for row in second[1:]][2:] == [NONE, NONE] and "constant_predictions" in page.text
    assert compared and not re.search(r"\bnan\b", page.text, re.IGNORECASE)


def test_table_of_all_clips_is_complete_and_best_first(written, clips):
    rows = written[0].tables["clips"][0]
    assert rows[0] == ["", "Clip", "mos_overall", "label", "error", "System", "Seconds", "utmos"]
    predictions = predicted(clips)
    order = sorted(clips, key=lambda clip: -predictions[clip.uid]["mos_overall"])
    assert [row[1] for row in rows[1:]] == [clip.uid for clip in order]
    for row, clip in zip(rows[1:], order, strict=True):
        score, label = predictions[clip.uid]["mos_overall"], clip.metrics["mos_overall"]
        assert [row[2], row[3], *row[5:7]] == [f"{score:.2f}", f"{label:.2f}", clip.system_id, f"{clip.duration:.1f}"]
        assert float(row[4]) == pytest.approx(score - label, abs=0.006) and row[4] != "-0.00"


def test_best_worst_and_largest_errors_are_shown(written, clips):
    page, _ = written
    predictions = predicted(clips)
    order = sorted(clips, key=lambda clip: -predictions[clip.uid]["mos_overall"])
    heads = re.findall(r"<h4[^>]*>([^<]*)</h4>", page.source)
    assert heads[:5] == [clip.uid for clip in order[:5]]
    assert heads[5:10] == [clip.uid for clip in order[:-6:-1]]
    errors = {clip.uid: abs(predictions[clip.uid]["mos_overall"] - clip.metrics["mos_overall"]) for clip in clips}
    assert [errors[uid] for uid in heads[10:]] == pytest.approx(sorted(errors.values())[: -len(heads[10:]) - 1 : -1])
    # A clip that two lists name is drawn once.
    ids = [one["id"] for one in page.all("article") if "id" in one]
    assert len(ids) == len(set(ids)) == len(set(heads))
    assert len(page.all("audio")) == len(ids) + 1 and page.text.count("Shown above") == len(heads) - len(ids)


def test_page_needs_nothing_beside_it(written):
    page, path = written
    for source in sources(page):
        assert re.match(r"data:|#|\./", source), source
    assert not re.search(r"url\(|@import|https?://", re.sub(r"data:audio[^\"]*", "", page.source))
    assert not re.search(r"\b(nan|inf|infinity|undefined)\b", page.text, re.IGNORECASE)
    assert not re.search(r'="[^"]*\b(nan|inf|None)\b', page.source)
    assert not page.all("link", rel="stylesheet") and all("src" not in one for one in page.all("script"))
    assert sorted(os.listdir(path.parent)) == ["report.html"]


def test_recordings_within_the_page_are_the_recordings(written, clips):
    page, _ = written
    embedded = [source for source in sources(page) if source.startswith("data:audio")]
    assert len(embedded) == len(clips)
    found = []
    for source in embedded:
        kind, _, data = source.partition(";base64,")
        assert kind == "data:audio/flac"
        found.append(soundfile.read(io.BytesIO(base64.b64decode(data)), dtype="int16")[0].tolist())
    wanted = [soundfile.read(clip.audio_path, dtype="int16")[0].tolist() for clip in clips]
    assert sorted(found) == sorted(wanted)


@pytest.mark.parametrize("megabytes", [0.0, 0.02, 0.06])
def test_recordings_are_linked_beyond_the_limit(clips, tmp_path, megabytes):
    path = tmp_path / "deep" / "report.html"
    path.parent.mkdir()
    write_report(path, clips, predicted(clips), metric="mos_overall", embed_mb=megabytes)
    page = Page(path)
    embedded = [source for source in sources(page) if source.startswith("data:audio")]
    linked = [source for source in sources(page) if source.startswith("./")]
    assert len(embedded) + len(linked) == len(clips) and sum(map(len, embedded)) <= 1e6 * megabytes
    assert bool(embedded) == (megabytes > 0)
    files = {os.path.normpath(os.path.join(os.fsencode(path.parent), unquote_to_bytes(link))) for link in linked}
    assert len(files) == len(linked) and all(map(os.path.isfile, files))
    # What is shown large comes first.
    large = sum((one.get("src") or "").startswith("data:audio") for one in page.all("audio"))
    assert large == len(embedded) or large == len(page.all("audio")) - 1
    assert f"{len(linked)} are linked" in page.text


@pytest.mark.parametrize(
    ("suffix", "subtype", "kind"),
    [
        ("flac", None, "flac"),
        ("ogg", "VORBIS", "ogg"),
        ("mp3", None, "mpeg"),
        ("wav", "FLOAT", "flac"),
        ("aiff", "PCM_24", "flac"),
    ],
)
def test_what_browsers_play_stays_as_it_is(tmp_path, suffix, subtype, kind):
    path = tmp_path / f"a.{suffix}"
    soundfile.write(path, speech_like(3, 9600), 16000, subtype)
    write_report(tmp_path / "r.html", [Utterance("a", str(path), 0.6)], {"a": {"pesq": 2.0}}, metric="pesq")
    (source,) = (source for source in sources(Page(tmp_path / "r.html")) if source.startswith("data:audio"))
    data = base64.b64decode(source.partition(",")[2])
    assert source.startswith(f"data:audio/{kind};")
    if suffix in ("flac", "ogg", "mp3"):
        assert data == path.read_bytes()
    else:
        found = soundfile.read(io.BytesIO(data))[0]
        np.testing.assert_allclose(found, soundfile.read(path)[0], atol=2.0**-23, rtol=0)


@pytest.mark.skipif(sys.platform != "linux", reason="names that are not UTF-8 need Linux")
def test_names_are_shown_as_text(tmp_path):
    evil = "<script>alert(1)</script> & \"quoted\" 'name' {{ 7 * 7 }}"
    folder = os.fsencode(tmp_path) + b"/100% #1 \xff"
    os.mkdir(folder)
    clips = []
    for place, name in enumerate((evil.replace("/", ""), "plain")):
        path = os.fsdecode(folder + b"/" + name.encode() + b".wav")
        soundfile.write(open(path, "wb"), speech_like(place, 6400), 16000, format="WAV")  # noqa: SIM115
        uid = os.fsdecode(b"\xfe" + evil.encode()) if place == 0 else name
        clips.append(Utterance(uid, path, 0.4, evil + str(place), "r", {"mos_overall": 3.0 + place}))
    predictions = {clip.uid: {"mos_overall": 3.0} for clip in clips}
    out = tmp_path / "r.html"
    write_report(
        out,
        clips,
        predictions,
        metric="mos_overall",
        title=evil,
        facts={evil: evil},
        failures={"plain": evil},
        ranking=ranked(clips, predictions),
        embed_mb=0,
    )
    page = Page(out)
    assert len(page.all("script")) == 1 and "<script>alert" not in page.source and page.text.count(evil) > 8
    assert page.tables["clips"][0][1][1] == "\\udcfe" + evil
    links = {one["src"] for one in page.all("audio") if "src" in one}
    assert {os.path.normpath(os.fsencode(tmp_path) + b"/" + unquote_to_bytes(link)) for link in links} == {
        os.fsencode(clip.audio_path) for clip in clips
    }


def test_failed_and_missing_clips_have_their_reasons(clips, tmp_path):
    predictions = predicted(clips)
    del predictions["codec/1"], predictions["noisy/2"]
    gone = [
        Utterance(one.uid, str(tmp_path / "gone.wav"), one.duration, one.system_id, one.reference_id, one.metrics)
        if one.uid in ("codec/1", "clean/0")
        else one
        for one in clips
    ]
    path = tmp_path / "r.html"
    reasons = {"codec/1": "missing: no such file"}
    ranking = ranked(gone, predictions)
    write_report(path, gone, predictions, metric="mos_overall", failures=reasons, ranking=ranking)
    page = Page(path)
    failed, lacking = page.tables["failed"]
    assert sorted(failed[1:]) == [
        ["codec/1", "codec", "missing: no such file"],
        ["noisy/2", "noisy", "no prediction of mos_overall"],
    ]
    assert sorted(lacking[1:]) == [["codec", "r1"], ["noisy", "r2"]] and "2 without a score" in page.text
    rows = {row[1]: row for row in page.tables["clips"][0][1:]}
    assert len(rows) == len(clips) and rows["codec/1"][2] == rows["noisy/2"][2] == NONE
    # A clip with a score whose file is gone since says so in place of its waveform.
    assert f"{tmp_path / 'gone.wav'}" in page.text


def test_little_is_enough(clips, tmp_path):
    """One clip without label, system or reference; a system alone; nothing but failures."""
    path = tmp_path / "r.html"
    bare = Utterance("only", clips[0].audio_path, 0.4)
    write_report(path, [bare], {"only": {"si_sdr": 12.5}}, metric="si_sdr")
    page = Page(path)
    assert page.tables.keys() == {"distributions", "listen", "clips"}
    assert page.tables["clips"][0][1][2:] == ["12.50", "0.4"]
    assert "all clips 12.50" in page.text and len(page.all("article")) == 1

    alone = clips[:REFERENCES]
    write_report(path, alone, predicted(alone), metric="mos_overall", ranking=ranked(alone, predicted(alone)))
    page = Page(path)
    assert page.tables["ranking"][0][1][1] == "clean" and len(page.tables["ranking"]) == 1

    write_report(path, alone, {}, metric="mos_overall", failures={one.uid: "silent" for one in alone})
    page = Page(path)
    assert page.tables.keys() == {"clips", "failed"}
    assert [row[2] for row in page.tables["failed"][0][1:]] == ["silent"] * REFERENCES
    assert not re.search(r"\bnan\b", page.text, re.IGNORECASE)

    with pytest.raises(ValueError, match="no clip"):
        write_report(path, [], {}, metric="mos_overall")
    with pytest.raises(ValueError, match="embed_mb is nan"):
        write_report(path, alone, {}, metric="mos_overall", embed_mb=math.nan)


def test_least_is_best_where_the_metric_says_so(clips, tmp_path):
    predictions = {clip.uid: {"mcd": 3.0 + place / 4} for place, clip in enumerate(clips)}
    write_report(tmp_path / "r.html", clips, predictions, metric="mcd", ranking=ranked(clips, predictions, "mcd"))
    page = Page(tmp_path / "r.html")
    assert [row[1] for row in page.tables["clips"][0][1:]] == [clip.uid for clip in clips]
    assert "lower is better" in page.text and page.tables["ranking"][0][1][1] == "clean"


def test_jinja2_that_is_not_installed_is_named(clips, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "jinja2", None)
    with pytest.raises(ImportError, match=r"reports need jinja2: pip install \"urgentmos_jax\[report\]\""):
        write_report(tmp_path / "r.html", clips, {}, metric="mos_overall")
    assert not list(tmp_path.iterdir())


def test_axis_has_round_ticks_within_it():
    for low, high in ((1.2, 4.8), (-31.0, 17.5), (0.001, 0.0013), (3.0, 3.0), (0.0, 0.0), (2.5e4, 1e6)):
        axis = Axis.over([low], [high])
        values = [at for at, _ in axis.ticks]
        assert axis.low < low <= high < axis.high and 0 <= axis.at(low) <= axis.at(high) <= 1
        assert all(axis.low <= at <= axis.high for at in values) and len(values) in range(2, 8)
        assert np.allclose([float(text) for _, text in axis.ticks], values, rtol=1e-9, atol=1e-12)
        assert np.allclose(np.diff(values), values[1] - values[0])


def test_marks_lie_where_their_values_are():
    axis = Axis(1.0, 5.0, ())
    assert polyline([1, 2, 4, 5], axis, width=8) == "1,100.0 3,75.0 5,25.0 7,0.0"
    assert polyline([1, 3, 5, 5], axis, width=8, most=2) == "2,75.0 6,0.0"
    assert envelope(np.array([0, 1, -1, 0.5, 0.25, 0]), width=3) == "M0,0.0 1,25.0 2,37.5 L2,50.0 1,100.0 0,50.0Z"
    assert envelope(np.zeros(4), width=2) == "M0,50.0 1,50.0 L1,50.0 0,50.0Z"
    found = distribution("a", [5, 1, 3, 2, 2], axis)
    assert found.ticks == (0.0, 0.25, 0.25, 0.5, 1.0) and found.quartiles == (0.25, 0.25, 0.5)
    assert found.mean == pytest.approx(2.6) and found.count == 5
    assert len(distribution("b", range(3000), axis).ticks) == 400
    plot = scatter([1.0, 5.0, 3.0], [2.0, 4.0, 3.0], ["a", "b", "c"], labels=True)
    a, b, c = plot.points
    assert a.x < c.x < b.x and a.y > c.y > b.y and c.x == pytest.approx(Scatter.SIDE - c.y)
    assert (b.x - a.x) == pytest.approx(2 * (a.y - b.y)) and all(point.label for point in plot.points)


def test_of_very_many_points_some_are_drawn_and_labels_do_not_cover_each_other():
    rng = np.random.default_rng(0)
    plot = scatter(rng.uniform(1, 5, 5000), rng.uniform(1, 5, 5000), [str(i) for i in range(5000)], labels=False)
    assert len(plot.points) == 2000 and plot.left_out == 3000 and len({point.name for point in plot.points}) == 2000
    close = scatter([1, 1.001, 1.002, 1.003, 1.004, 1.005, 5], [1.0] * 7, ["a long name"] * 7, labels=True)
    labels = [point.label for point in close.points if point.label]
    assert 0 < len(labels) < 7 and len(set(labels)) == len(labels)


needs_browser = pytest.mark.skipif(
    BROWSER is None, reason="no chromium, chromium-browser or google-chrome is installed to open the report with"
)

# Texts of a column of the table that an expression finds, rows that are shown only.
COLUMN = """
(table => Array.from(table.tBodies[0].rows).filter(row => !row.hidden).map(row => row.cells[%d].textContent))(%s)
"""
ALL, RANKING = "document.getElementById('all')", "document.querySelector('#ranking table')"


@pytest.fixture(scope="module")
def open_browser(tmp_path_factory):
    with Browser(tmp_path_factory.mktemp("profile")) as one:
        yield one


@pytest.fixture
def browser(open_browser):
    """The browser, whose console must not complain."""
    yield open_browser
    open_browser.run("new Promise(done => setTimeout(done, 50))")
    complaints, open_browser.errors = open_browser.errors, []
    assert complaints == []


@needs_browser
def test_tables_sort_by_click_and_by_key(browser, written, clips):
    browser.open(written[1])
    predictions = predicted(clips)
    press = "document.querySelector('%s thead').rows[0].cells[%d].querySelector('button').click()"
    heads = f"Array.from({ALL}.tHead.rows[0].cells, cell => cell.ariaSort)"
    scores = [predictions[clip.uid]["mos_overall"] for clip in clips]
    assert browser.run(COLUMN % (2, ALL)) == [f"{score:.2f}" for score in sorted(scores, reverse=True)]
    assert browser.run(heads)[2] == "descending"
    browser.run(press % ("#all", 2))
    assert browser.run(COLUMN % (2, ALL)) == [f"{score:.2f}" for score in sorted(scores)]
    assert browser.run(heads) == [None] * 2 + ["ascending"] + [None] * 5
    browser.run(press % ("#all", 1))
    assert browser.run(COLUMN % (1, ALL)) == sorted(clip.uid for clip in clips)
    # By keyboard: the button of a head takes the focus and Enter.
    browser.run("document.querySelector('#ranking thead').rows[0].cells[0].querySelector('button').focus()")
    enter = {"key": "Enter", "code": "Enter", "windowsVirtualKeyCode": 13, "text": "\r"}
    for kind in ("rawKeyDown", "char", "keyUp"):
        browser.call("Input.dispatchKeyEvent", type=kind, **enter)
    assert browser.run(COLUMN % (0, RANKING)) == ["3", "2", "1"]
    assert browser.run(COLUMN % (1, RANKING)) == ["noisy", "codec", "clean"]


@needs_browser
def test_missing_values_sort_last_either_way(browser, clips, tmp_path):
    predictions = predicted(clips)
    del predictions["codec/1"]
    write_report(tmp_path / "r.html", clips, predictions, metric="mos_overall", embed_mb=0)
    browser.open(tmp_path / "r.html")
    for _ in range(2):
        browser.run(f"{ALL}.tHead.rows[0].cells[2].querySelector('button').click()")
        column = browser.run(COLUMN % (1, ALL))
        assert column[-1] == "codec/1" and len(column) == len(clips)


@needs_browser
def test_recordings_can_be_heard(browser, written, clips):
    browser.open(written[1])
    seconds = """
    Promise.all(Array.from(document.querySelectorAll('article audio'), audio => audio.readyState ? audio.duration :
      new Promise((done, fail) => { audio.onloadedmetadata = () => done(audio.duration); audio.onerror = fail; })))
    """
    lengths = {clip.uid: clip.duration for clip in clips}
    names = browser.run("Array.from(document.querySelectorAll('article[id] h4'), head => head.textContent)")
    assert browser.run(seconds) == pytest.approx([lengths[name] for name in names], abs=0.002)
    # The buttons of the table play the recording of their line, shown large or not, embedded or linked.
    for place in (0, len(clips) // 2):
        browser.run(f"document.querySelectorAll('#all .play')[{place}].click()")
        found = browser.run("""
        (player => new Promise((done, fail) => {
          const tell = () => done([player.querySelector('span').textContent, player.querySelector('audio').duration]);
          if (player.querySelector('audio').readyState) tell();
          player.querySelector('audio').onloadedmetadata = tell; player.querySelector('audio').onerror = fail;
        }))(document.getElementById('player'))
        """)
        assert found == [names_in_order(clips)[place], pytest.approx(lengths[names_in_order(clips)[place]], abs=0.002)]


@needs_browser
def test_linked_recordings_can_be_heard(browser, clips, tmp_path):
    write_report(tmp_path / "r.html", clips, predicted(clips), metric="mos_overall", embed_mb=0)
    browser.open(tmp_path / "r.html")
    browser.run("document.querySelectorAll('#all .play')[7].click()")
    script = """
    (audio => new Promise((done, fail) => {
      if (audio.readyState) done(audio.duration);
      audio.onloadedmetadata = () => done(audio.duration); audio.onerror = fail;
    }))(document.querySelector('#player audio'))
    """
    wanted = next(clip.duration for clip in clips if clip.uid == names_in_order(clips)[7])
    assert browser.run(script) == pytest.approx(wanted, abs=0.002)
    assert browser.run("location.href").endswith("r.html")


def names_in_order(clips: list[Utterance]) -> list[str]:
    predictions = predicted(clips)
    return [clip.uid for clip in sorted(clips, key=lambda clip: -predictions[clip.uid]["mos_overall"])]


@needs_browser
@pytest.mark.parametrize("dark", [False, True])
def test_fits_a_phone(browser, clips, tmp_path, dark):
    """Names are long, and have no place to break at."""
    long = "_with_all_that_was_changed_since_the_last_submission"
    clips = [dataclasses.replace(one, uid=one.uid + long, system_id=one.system_id + long) for one in clips]
    predictions = predicted(clips)
    ranking, facts, path = ranked(clips, predictions), {"Data": "/of" * 40}, tmp_path / "r.html"
    write_report(path, clips, predictions, metric="mos_overall", title="of" * 40, facts=facts, ranking=ranking)
    browser.open(path, width=360, height=700, dark=dark)
    assert browser.run("[document.documentElement.scrollWidth, innerWidth]") == [360, 360]
    # What is wider scrolls within its box; figures are there, and as wide as they should.
    wide = "Array.from(document.querySelectorAll('.box'), box => box.scrollWidth > box.clientWidth)"
    assert any(browser.run(wide))
    widths = browser.run("Array.from(document.querySelectorAll('svg'), svg => svg.getBoundingClientRect().width)")
    assert len(widths) > 10 and all(100 < width <= 360 - 32 for width in widths)
    paper = browser.run("getComputedStyle(document.body).backgroundColor")
    assert (sum(map(int, re.findall(r"\d+", paper)[:3])) < 200) == dark


@needs_browser
def test_five_hundred_clips_open(browser, clips, tmp_path):
    many = []
    for place in range(500):
        like = clips[place % len(clips)]
        labels = {"mos_overall": 1 + (place * 37 % 400) / 100}
        many.append(Utterance(f"u{place}", like.audio_path, like.duration, f"s{place % 12}", f"r{place // 12}", labels))
    predictions = {clip.uid: {"mos_overall": clip.metrics["mos_overall"] * 0.9 + 0.3} for clip in many}
    ranking = ranked(many, predictions)
    write_report(tmp_path / "r.html", many, predictions, metric="mos_overall", ranking=ranking, embed_mb=3)
    assert (tmp_path / "r.html").stat().st_size < 5e6
    browser.open(tmp_path / "r.html")
    assert len(browser.run(COLUMN % (1, ALL))) == 100
    told = "document.querySelector('.filter output').textContent"
    assert browser.run(told) == "100 of 500 shown"
    choose = """
    (select => { select.value = %s; select.dispatchEvent(new Event('input', {bubbles: true})); })
    (document.querySelector('.filter select'))
    """
    browser.run(choose % "Array.from(select.options).find(one => one.text === 's7').value")
    shown = browser.run(COLUMN % (5, ALL))
    assert set(shown) == {"s7"} and len(shown) == sum(clip.system_id == "s7" for clip in many)
    browser.run(choose % "''")
    browser.run("document.querySelector('.more button').click()")
    assert set(browser.run(COLUMN % (1, ALL))) == {clip.uid for clip in many}
    assert browser.run(told) == "500 of 500 shown" and browser.run("document.querySelector('.more').hidden")
    milliseconds = browser.run(f"""
    (start => {{ {ALL}.tHead.rows[0].cells[3].querySelector('button').click(); document.body.offsetHeight;
      return performance.now() - start; }})(performance.now())
    """)
    labels = [float(label) for label in browser.run(COLUMN % (3, ALL))]
    assert labels == sorted(labels, reverse=True) and milliseconds < 2000


@pytest.fixture
def report(capsys):
    """Runs a subcommand; exit status, standard output and standard error."""

    def run(*arguments: str | Path) -> tuple[int, str, str]:
        code = main([str(argument) for argument in arguments])
        found = capsys.readouterr()
        assert "Traceback" not in found.err
        return code, found.out, found.err

    return run


def test_folders_of_recordings_are_reported_by_a_model(report, model_folder, tmp_path):
    corpus(tmp_path / "data", references=3)
    (tmp_path / "data" / "codec" / "1.wav").write_bytes(b"RIFF, but no more")
    (tmp_path / "data" / "noisy" / "2.wav").unlink()
    folders = [tmp_path / "data" / name for name in QUALITY]
    page = tmp_path / "new" / "page.html"
    code, out, err = report("report", *folders, "--model", model_folder, "--output", page, "--embed-mb", 0.05)
    assert code == 1 and out == "" and "codec/1: " in err
    page = Page(page)
    assert page.text.startswith("clean, codec, noisy") and "Clips 8 of 3 systems, 1 without a score" in page.text
    failed, lacking = page.tables["failed"]
    assert failed[1][:2] == ["codec/1", "codec"] and "1.wav" in failed[1][2]
    assert sorted(lacking[1:]) == [["codec", "1"], ["noisy", "2"]]
    # Scores of frames, on one axis, over the waveform of each clip that is shown; labels there are none.
    curves, waves = page.all("polyline"), page.all("path", **{"class": "outline"})
    assert len(curves) == len(waves) == 7 and not {"agreement", "predicted"} & page.tables.keys()
    heights = [float(point.split(",")[1]) for curve in curves for point in curve["points"].split()]
    assert min(heights) >= 0 and max(heights) <= 100 and max(heights) - min(heights) > 80
    seconds = {row[1]: row[4] for row in page.tables["clips"][0][1:]}
    assert seconds["clean/0"] == "0.4" and seconds["clean/2"] == "0.5" and seconds["codec/1"] == NONE
    assert "by the CMOS head" in page.text


def test_a_manifest_is_reported_by_predictions(report, clips, tmp_path):
    write_utterances(tmp_path / "data.jsonl", clips)
    lines = [json.dumps({"uid": uid, "scores": scores}) + "\n" for uid, scores in predicted(clips).items()]
    (tmp_path / "scores.jsonl").write_text("".join(lines))
    named = ["--predictions", tmp_path / "scores.jsonl"]
    code, out, err = report("report", tmp_path / "data.jsonl", *named, "--output", tmp_path / "r.html")
    assert (code, out, err) == (0, "", "")
    page = Page(tmp_path / "r.html")
    assert f"Predictions {tmp_path / 'scores.jsonl'}" in page.text
    assert set(page.tables) == {"ranking", "agreement", "predicted", "distributions", "listen", "clips"}
    assert not page.all("polyline") and len(page.all("path", **{"class": "outline"})) >= 10
    # `rank` writes the same page, but for the minute.
    code, out, _ = report("rank", tmp_path / "data.jsonl", *named, "--report", tmp_path / "ranked.html")
    assert code == 0 and "codec" in out
    assert Page(tmp_path / "ranked.html").tables == page.tables


def test_clips_without_a_system_are_reported_without_a_ranking(report, clips, tmp_path):
    bare = [Utterance(one.uid, one.audio_path, one.duration, metrics=one.metrics) for one in clips]
    write_utterances(tmp_path / "data.jsonl", bare)
    lines = [json.dumps({"uid": one.uid, "scores": one.metrics}) + "\n" for one in bare]
    (tmp_path / "scores.jsonl").write_text("".join(lines))
    named = ["--predictions", tmp_path / "scores.jsonl", "--output", tmp_path / "r.html"]
    assert report("report", tmp_path / "data.jsonl", *named)[0] == 0
    page = Page(tmp_path / "r.html")
    assert set(page.tables) == {"agreement", "predicted", "distributions", "listen", "clips"}
    assert page.tables["agreement"][0][1][6].startswith("1.000") and len(page.tables["clips"][0]) == 1 + len(clips)


def test_what_cannot_be_written_is_refused_before_anything_is_computed(report, tmp_path):
    no_model = ("--model", tmp_path / "none")
    for arguments, wanted in (
        (("report", tmp_path, *no_model, "--output", "a.txt"), "--output a.txt: give a name that ends in .html"),
        (("rank", tmp_path, *no_model, "--report", "a.txt"), "--report a.txt: give a name that ends in .html"),
        (("report", tmp_path, *no_model, "--output", "a.html", "--embed-mb=-1"), "--embed-mb is -1"),
        (("report", tmp_path / "no", *no_model, "--output", "a.html"), "no such folder"),
    ):
        code, out, err = report(*arguments)
        assert code == 2 and out == "" and wanted in err
    assert reporting._EMBED_MB == EMBED_MB
    corpus(tmp_path / "data", references=1)
    (tmp_path / "scores.jsonl").write_text('{"uid": "clean/0", "scores": {"mos_overall": 3}}\n')
    (tmp_path / "file").write_text("")
    named = ["--predictions", tmp_path / "scores.jsonl", "--output", tmp_path / "file" / "a.html"]
    code, _, err = report("report", tmp_path / "data" / "clean", *named)
    assert code == 2 and f"--output {tmp_path / 'file' / 'a.html'}: cannot be written" in err


def test_evaluate_writes_a_page_of_several_corpora(report, clips, tmp_path):
    """Of the same uids and systems, with clips that have no label and one that has no prediction."""
    named = []
    for corpus, quality in (("a", 0.0), ("b", 0.3)):
        part = [
            Utterance(one.uid, one.audio_path, one.duration, one.system_id, one.reference_id,
                      {"mos_overall": one.metrics["mos_overall"] - quality} if place != 4 else {})
            for place, one in enumerate(clips)
        ]  # fmt: skip
        (tmp_path / corpus / "dev").mkdir(parents=True)
        named.append(tmp_path / corpus / "dev" / "data.jsonl")
        write_utterances(named[-1], part)
    rows = [
        {"uid": one.uid, "path": one.audio_path, "scores": {"mos_overall": 5 - place / 5} if place != 7 else None}
        for place, one in enumerate(clips)
    ]
    predictions = tmp_path / "scores.jsonl"
    predictions.write_text("".join(json.dumps(row) + "\n" for row in rows))
    options = ["--predictions", predictions, "--allow-missing", "--report", tmp_path / "r.html"]
    code, out, _ = report("evaluate", *named, *options)
    assert code == 0 and "a/dev" in out
    page = Page(tmp_path / "r.html")
    assert page.text.startswith("a/dev, b/dev") and "Clips 30 of 6 systems, 2 without a score" in page.text
    assert [table[1][:4] for table in page.tables["agreement"][:2]] == [["mos_overall", "clips", "13", "1"]] * 2
    assert len(page.all("circle")) == 2 * (13 + 3) and "mos_overall, b/dev by systems" in page.text
    lines = {row[1]: row for row in page.tables["clips"][0][1:]}
    assert len(lines) == 30 and lines["b/dev: clean/0"][5] == "b/dev: clean"
    assert float(lines["a/dev: clean/0"][3]) == pytest.approx(float(lines["b/dev: clean/0"][3]) + 0.3, abs=0.011)
    assert sorted(row[0] for row in page.tables["failed"][0][1:]) == ["a/dev: codec/2", "b/dev: codec/2"]


def test_evaluate_has_no_page_of_pairs_alone(report, clips, tmp_path):
    pair = {"uids": ["a", "b"], "audio_paths": [one.audio_path for one in clips[:2]], "metrics": {"mos_overall": 1.0}}
    (tmp_path / "data_pairs.jsonl").write_text(json.dumps(pair) + "\n")
    (tmp_path / "scores.jsonl").write_text(json.dumps({"uid": "a b", "scores": {"mos_overall": 3.0}}) + "\n")
    options = ["--predictions", tmp_path / "scores.jsonl", "--report", tmp_path / "r.html"]
    code, _, err = report("evaluate", tmp_path / "data_pairs.jsonl", *options)
    assert code == 2 and "--report shows recordings and their labels" in err


def test_score_writes_a_page_of_its_rows(report, model_folder, tmp_path):
    """Recordings of one name in two folders; one is listed twice, one cannot be read."""
    corpus(tmp_path, references=2)
    (tmp_path / "noisy" / "1.wav").write_bytes(b"")
    folders = [tmp_path / "clean", tmp_path / "noisy", tmp_path / "clean"]
    options = ["--model", model_folder, "--output", tmp_path / "rows.jsonl", "--report", tmp_path / "r.html"]
    assert report("score", *folders, *options)[0] == 1
    rows = [json.loads(line) for line in (tmp_path / "rows.jsonl").read_text().splitlines()]
    page = Page(tmp_path / "r.html")
    assert len(rows) == 6 and page.text.startswith("clean, noisy") and len(page.all("polyline")) == 3
    head, *lines = page.tables["clips"][0]
    scores = {row["path"]: row["scores"] and f"{row['scores']['mos_overall']:.2f}" for row in rows}
    assert {line[1]: None if line[2] == NONE else line[2] for line in lines} == scores
    assert head[2] == "mos_overall" and page.tables["failed"][0][1][0] == str(tmp_path / "noisy" / "1.wav")
