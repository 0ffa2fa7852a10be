"""The page of the service in a browser: recordings are dropped, drawn, scored, compared, and nobody else is asked."""

import json
import re

import pytest

from tests.helpers.browser import BROWSER, Browser
from tests.helpers.serving import Levels, listening, recording
from urgentmos_jax.serving.page import page

needs_browser = pytest.mark.skipif(
    BROWSER is None, reason="no chromium, chromium-browser or google-chrome is installed to open the page with"
)


def test_the_page_is_whole_and_asks_nobody():
    html, policy = page()
    assert "/* style */" not in html and "/* script */" not in html
    addresses = re.findall(r"""(?:src|href|url)\s*[=(]\s*["']?([^"')\s>]+)""", html)
    assert {address for address in addresses if "URL." not in address and "audio" not in address} <= {"data:,"}
    assert "http:" not in html and "https:" not in html
    assert "default-src 'none'" in policy and "connect-src 'self'" in policy


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    folder = tmp_path_factory.mktemp("files")
    for name, content in {"a.wav": recording(1), "b.flac": recording(2, 9600, "FLAC"), "c.wav": b"none"}.items():
        (folder / name).write_bytes(content)
    return folder


def give(browser: Browser, side: int, path) -> None:
    """Chooses a file, as a person would."""
    root = browser.call("DOM.getDocument")["root"]["nodeId"]
    inputs = browser.call("DOM.querySelectorAll", nodeId=root, selector="input[type=file]")["nodeIds"]
    browser.call("DOM.setFileInputFiles", nodeId=inputs[side], files=[str(path)])


def wait_for(browser: Browser, condition: str) -> None:
    script = """new Promise((done, failed) => {
      const end = Date.now() + 30000;
      (function look() { if (%s) done(true); else if (Date.now() > end) failed("late"); else setTimeout(look, 20); })();
    })"""
    assert browser.run(script % condition) is True


TABLE = "Array.from(document.querySelectorAll('#results tr'), row => Array.from(row.cells, cell => cell.textContent))"


@pytest.mark.slow
@needs_browser
def test_two_recordings_are_heard_scored_and_compared(files, tmp_path):
    with listening(Levels(), token="secret") as address, Browser(tmp_path / "profile") as browser:
        browser.open(f"{address}/")
        wait_for(browser, "document.getElementById('metric').options.length === 2")
        give(browser, 0, files / "a.wav")
        wait_for(browser, "!document.getElementById('asking').hidden")
        assert "Authorization" in browser.run("document.querySelector('.fault').textContent")
        complaints, browser.errors = browser.errors, []
        assert complaints and all("401" in complaint for complaint in complaints)
        browser.run("token.value = 'secret'; token.dispatchEvent(new Event('change'))")
        wait_for(browser, "document.querySelectorAll('#results tbody tr').length === 2")
        assert browser.run(TABLE)[0] == ["Metric", "A", "B"]
        give(browser, 1, files / "b.flac")
        wait_for(browser, "document.querySelector('#results thead tr').cells.length === 7")
        wait_for(
            browser, "sides.every(side => side.row) && document.querySelectorAll('.wave:not([hidden])').length === 2"
        )
        heads, first, second = browser.run(TABLE)
        assert heads[3:] == ["CMOS of A over B", "A better", "B better", "tie"]
        assert first[0] == "mos_overall" and first[4:] == ["33 %"] * 3 and second[3:] == [""] * 4
        assert float(first[1]) > 1 and float(first[2]) > 1
        assert abs(float(first[3]) - (float(second[1]) - float(second[2]))) < 0.02
        curves = browser.run(
            "Array.from(document.querySelectorAll('.curve'), one => one.getAttribute('points').split(' ').length)"
        )
        assert curves == [25, 30]
        outlines = browser.run("Array.from(document.querySelectorAll('.outline'), one => one.getAttribute('d').length)")
        assert min(outlines) > 2000
        assert browser.run("document.querySelectorAll('.tick').length") >= 4
        sound = (
            "Promise.all(Array.from(document.querySelectorAll('audio'), one => one.play().then(() => one.duration)))"
        )
        assert [round(length, 1) for length in browser.run(sound.replace("one.play()", "Promise.resolve()"))] == [
            0.5,
            0.6,
        ]
        browser.run("metric.value = 'level'; metric.dispatchEvent(new Event('change'))")
        assert browser.run("document.querySelector('.about b').textContent").startswith("level ")
        asked = browser.run("JSON.stringify(performance.getEntriesByType('resource').map(one => one.name))")
        assert all(name.startswith((address, "blob:", "data:")) for name in json.loads(asked))
        browser.picture(tmp_path / "page.png")
        give(browser, 1, files / "c.wav")
        wait_for(browser, "!document.querySelectorAll('.fault')[1].hidden")
        assert "c.wav" in browser.run("document.querySelectorAll('.fault')[1].textContent")
        assert browser.run("document.querySelector('#results thead tr').cells.length") == 3
        for width in (320, 1400):
            browser.open(f"{address}/", width=width, dark=True)
            assert browser.run("document.documentElement.scrollWidth") <= width
        assert browser.errors == []
