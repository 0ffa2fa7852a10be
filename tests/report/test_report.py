"""The report: what is on the page, and that it needs nothing beside it."""

import base64
import io
import math
import os
import re
import sys
from pathlib import Path
from urllib.parse import unquote_to_bytes

import numpy as np
import pytest
import soundfile

from tests.helpers.corpus import speech_like
from tests.helpers.evaluations import evaluate_records
from tests.helpers.pages import NONE, REFERENCES, Page, corpus, full_report, predicted, ranked, sources
from urgentmos_jax.evaluation.predictions import Predictions
from urgentmos_jax.manifests.records import Utterance
from urgentmos_jax.report import write_report
from urgentmos_jax.report.charts import Axis, Scatter, distribution, envelope, polyline, scatter
from urgentmos_jax.statistics.correlation import agreement


@pytest.fixture(scope="module")
def clips(tmp_path_factory) -> list[Utterance]:
    return corpus(tmp_path_factory.mktemp("corpus"))


@pytest.fixture(scope="module")
def written(clips, tmp_path_factory) -> tuple[Page, Path]:
    path = tmp_path_factory.mktemp("report") / "report.html"
    return full_report(path, clips), path


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
    apart = f", not significantly better than {', '.join(level)} at 95 %" if level else ""
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
    # Of several models and datasets.
    both = [
        Predictions(predictions, "one"),
        Predictions({uid: {"mos_overall": 3.0} for uid in predictions}, "constant"),
    ]
    found = evaluate_records({"first": clips[:8], "second": clips[8:]}, both)
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


def test_of_very_many_clips_some_are_listed(clips, tmp_path, monkeypatch):
    monkeypatch.setattr("urgentmos_jax.report.clips.MAX_LINES", 40)
    monkeypatch.setattr("urgentmos_jax.report.clips.MAX_FAULTS", 4)
    monkeypatch.setattr("urgentmos_jax.report.page.MAX_FAULTS", 4)
    many = [Utterance(f"u{number}", str(tmp_path / "gone.wav"), 1.0, f"s{number % 3}") for number in range(400)]
    scores = {f"u{number}": {"mos_overall": 5 - number / 100} for number in range(380)}
    path = tmp_path / "r.html"
    write_report(path, many, scores, metric="mos_overall")
    page = Page(path)
    listed = [int(row[1][1:]) for row in page.tables["clips"][0][1:]]
    # The best and the worst nine, eighteen between them, and four without a score; the cards are among the former.
    assert listed == sorted(listed) and len(listed) == 40 == len(set(listed))
    assert listed[:9] == list(range(9)) and listed[-13:] == list(range(371, 384))
    assert max(np.diff(listed[9:-13])) <= 22 and "40 of 400 clips are listed" in page.text
    assert (
        len(page.tables["failed"][0]) == 5 and "The first 4 of 20." in page.text and "20 without a score" in page.text
    )
    write_report(path, many[:40], scores, metric="mos_overall")
    assert len(Page(path).tables["clips"][0]) == 41 and "clips are listed" not in Page(path).text


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
