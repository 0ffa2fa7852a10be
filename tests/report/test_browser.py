"""The report in a real browser: it sorts, sounds, fits a phone, and makes no complaint."""

import dataclasses
import re
from pathlib import Path

import pytest

from tests.helpers.browser import BROWSER, Browser
from tests.helpers.pages import corpus, full_report, predicted, ranked
from urgentmos_jax.manifests.records import Utterance
from urgentmos_jax.report import write_report

pytestmark = pytest.mark.skipif(
    BROWSER is None, reason="no chromium, chromium-browser or google-chrome is installed to open the report with"
)

# Texts of a column of the table that an expression finds, rows that are shown only.
COLUMN = """
(table => Array.from(table.tBodies[0].rows).filter(row => !row.hidden).map(row => row.cells[%d].textContent))(%s)
"""
ALL, RANKING = "document.getElementById('all')", "document.querySelector('#ranking table')"


@pytest.fixture(scope="module")
def clips(tmp_path_factory) -> list[Utterance]:
    return corpus(tmp_path_factory.mktemp("corpus"))


@pytest.fixture(scope="module")
def written(clips, tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("report") / "report.html"
    full_report(path, clips)
    return path


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


def test_tables_sort_by_click_and_by_key(browser, written, clips):
    browser.open(written)
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


def test_missing_values_sort_last_either_way(browser, clips, tmp_path):
    predictions = predicted(clips)
    del predictions["codec/1"]
    write_report(tmp_path / "r.html", clips, predictions, metric="mos_overall", embed_mb=0)
    browser.open(tmp_path / "r.html")
    for _ in range(2):
        browser.run(f"{ALL}.tHead.rows[0].cells[2].querySelector('button').click()")
        column = browser.run(COLUMN % (1, ALL))
        assert column[-1] == "codec/1" and len(column) == len(clips)


def test_recordings_can_be_heard(browser, written, clips):
    browser.open(written)
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
