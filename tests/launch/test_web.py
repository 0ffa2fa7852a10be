"""The page that scores in a browser, tried in one: onnxruntime-web is looked for where `npm install` puts it."""

import contextlib
import functools
import os
import shutil
import threading
from collections.abc import Iterator
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest
import soundfile

from tests.helpers.browser import BROWSER, Browser
from tests.helpers.corpus import ROOT, speech_like
from tests.helpers.models import OWN_LENGTH, on_one_device, random_module
from urgentmos_jax.exporting.files import export_model
from urgentmos_jax.scoring.loading import load_model
from urgentmos_jax.scoring.model import Model

PAGE = ROOT / "launch" / "web"
MODULES = Path(os.environ.get("NODE_MODULES", PAGE / "node_modules"))
TOLERANCE = 1e-3

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(BROWSER is None, reason="no browser is installed"),
    pytest.mark.skipif(not (MODULES / "onnxruntime-web").is_dir(), reason="`npm install` was not run in launch/web"),
]


@pytest.fixture(scope="module")
def model() -> Model:
    model = on_one_device(random_module("whisper" + OWN_LENGTH))
    model.engine.bucket_sizes = (8000, 20000, 32000)
    return model


@contextlib.contextmanager
def page_with(model: Model, folder: Path) -> Iterator[tuple[str, list[str]]]:
    """Address of the page with the model, in that folder, and what was asked for."""
    pytest.importorskip("onnx")
    for path in PAGE.iterdir():
        if path.is_file():
            shutil.copy(path, folder)
    (folder / "node_modules").symlink_to(MODULES)
    export_model(model, folder / "model.onnx", "onnx")
    asked: list[str] = []

    class Handler(SimpleHTTPRequestHandler):
        def log_message(self, *_):
            asked.append(f"{self.command} {self.path}")

    server = ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Handler, directory=folder))
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}/", asked
    server.shutdown()
    server.server_close()
    thread.join(10)


@pytest.fixture(scope="module")
def site(model, tmp_path_factory) -> Iterator[tuple[str, Path, list[str]]]:
    folder = tmp_path_factory.mktemp("site")
    with page_with(model, folder) as (address, asked):
        yield address, folder, asked


WAIT = "(async () => { await work; return document.getElementById('state').textContent; })()"


def give(browser: Browser, files: list[Path]) -> None:
    """Chooses files; `WAIT` waits for their scores."""
    node = browser.call(
        "DOM.querySelector", nodeId=browser.call("DOM.getDocument")["root"]["nodeId"], selector="#files"
    )
    browser.call("DOM.setFileInputFiles", nodeId=node["nodeId"], files=[str(path) for path in files])


def table(browser: Browser) -> list[list[str]]:
    script = (
        "[...document.querySelectorAll('#rows tr')].map(row => [...row.cells].map(cell => cell.textContent.trim()))"
    )
    return browser.run(script)


def test_the_page_scores_as_the_command_does(model, site, tmp_path):
    address, _, asked = site
    files = [tmp_path / "a.wav", tmp_path / "long.wav", tmp_path / "none.wav"]
    soundfile.write(files[0], speech_like(1, 12345), 16000)
    # Over the 2 s of this model's window, of two channels.
    soundfile.write(files[1], np.stack([speech_like(2, 40000), speech_like(3, 40000)], 1), 16000)
    files[2].write_bytes(b"no sound")
    rows = model.score(files[:2])
    assert rows[1]["windows"] == 2

    with Browser(tmp_path / "profile") as browser:
        browser.open(address)
        assert browser.run(WAIT) == "Ready."
        before = len(asked)
        give(browser, files)
        assert browser.run(WAIT).startswith("Ready. none.wav")
        heads = browser.run("[...document.querySelectorAll('#head th')].map(one => one.textContent)")
        assert heads == ["recording", "listen", "seconds", *model.metrics]
        found = table(browser)
        for row, wanted, path in zip(found, rows, files, strict=False):
            assert row[0] == path.name
            values = [float(one) for one in row[3:]]
            assert values == pytest.approx([wanted["scores"][name] for name in model.metrics], abs=TOLERANCE)
        assert found[2][0] == "none.wav" and "cannot be scored" in found[2][2]
        assert len(asked) == before, "nothing leaves the page"
        if picture := os.environ.get("WEB_PICTURE"):
            browser.picture(Path(picture))
        assert not browser.errors


def test_the_packaged_model_scores_recordings_of_the_demo(tmp_path):
    """Real recordings, the model at its full size."""
    model = load_model("urgentmos-small")
    files = sorted((ROOT / "launch" / "demo" / "clips").glob("*.flac"))
    rows = model.score(files)
    (tmp_path / "site").mkdir()
    with page_with(model, tmp_path / "site") as (address, _), Browser(tmp_path / "profile") as browser:
        browser.open(address)
        give(browser, files)
        assert browser.run(WAIT).startswith("Ready. noisy_1.flac")
        for row, wanted in zip(table(browser), rows, strict=True):
            values = [float(one) for one in row[3:]]
            assert values == pytest.approx([wanted["scores"][name] for name in model.metrics], abs=TOLERANCE)
        if picture := os.environ.get("WEB_PICTURE"):
            browser.picture(Path(picture))
        assert not browser.errors


def test_a_model_that_is_not_there(site, tmp_path):
    address, folder, _ = site
    (folder / "model.onnx.meta.json").rename(folder / "aside")
    try:
        with Browser(tmp_path / "profile") as browser:
            browser.open(address)
            state = browser.run(WAIT)
            assert "urgentmos export M --format onnx --output model.onnx" in state
    finally:
        (folder / "aside").rename(folder / "model.onnx.meta.json")
