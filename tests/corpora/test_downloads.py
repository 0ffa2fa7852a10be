"""`--download` against servers on loopback: interrupted, resumed, changed."""

import dataclasses
import hashlib
import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from http.server import ThreadingHTTPServer
from types import SimpleNamespace

import pytest

from tests.helpers.archives import zipped
from tests.helpers.corpus_trees import build_pstn
from tests.helpers.servers import COMMIT, HubHandler, Server
from urgentmos_jax.cli import main
from urgentmos_jax.corpora import downloads, unpacking
from urgentmos_jax.corpora.downloads import Archive, DownloadError, download
from urgentmos_jax.corpora.published import pstn


@pytest.fixture
def server(monkeypatch) -> Iterator[Server]:
    monkeypatch.setattr(downloads, "_WAITS_SECONDS", (0.01, 0.01))
    server = Server()
    yield server
    server.stop()


NOISE = os.urandom(3 << 20)


def test_a_file_and_its_record(server, tmp_path, capsys):
    server.files = {"/a.zip": zipped({"top/a.txt": "a", "__MACOSX/x": "b", "top/.DS_Store": "c", "top/._a": "d"})}
    wanted = [Archive((f"{server.address}/gone.zip", f"{server.address}/a.zip"), "a.zip")]
    (record,) = download(wanted, tmp_path / "new" / "raw")
    folder = tmp_path / "new" / "raw"
    assert sorted(path.name for path in folder.rglob("*")) == ["a.txt", "a.zip", "downloads.json", "top"]
    digest = hashlib.sha256(server.files["/a.zip"]).hexdigest()
    assert record["address"] == f"{server.address}/a.zip" and record["sha256"] == digest and record["holds"] == ["top"]
    assert json.loads((folder / "downloads.json").read_text()) == {"a.zip": record}
    err = capsys.readouterr().err
    assert f"{len(server.files['/a.zip']):,} bytes, sha256 {digest}" in err
    # Not again, also without the archive; again where something of it is missing.
    asked = len(server.requests)
    (folder / "a.zip").unlink()
    assert download(wanted, folder) == [record] and len(server.requests) == asked
    assert "here since" in capsys.readouterr().err
    shutil.rmtree(folder / "top")
    download(wanted, folder)
    assert len(server.requests) > asked and (folder / "top" / "a.txt").read_text() == "a"


def test_an_interrupted_file_goes_on(server, tmp_path):
    server.files, server.cut = {"/a": NOISE}, {"/a": 1_000_000}
    (record,) = download([Archive((f"{server.address}/a",), "a", unpack=False)], tmp_path)
    assert (tmp_path / "a").read_bytes() == NOISE and record["size_bytes"] == len(NOISE)
    assert server.requests == [("/a", None), ("/a", "bytes=1000000-")]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a", "downloads.json"]


def test_a_server_without_ranges_starts_again(server, tmp_path):
    server.files, server.cut, server.ranges = {"/a": NOISE}, {"/a": 1_000_000}, False
    download([Archive((f"{server.address}/a",), "a", unpack=False)], tmp_path)
    assert (tmp_path / "a").read_bytes() == NOISE


def test_a_file_that_changed_meanwhile_starts_again(server, tmp_path, monkeypatch):
    monkeypatch.setattr(downloads, "_WAITS_SECONDS", ())
    server.files, server.cut = {"/a": NOISE}, {"/a": 1_000_000}
    wanted = [Archive((f"{server.address}/a",), "a", unpack=False)]
    with pytest.raises(DownloadError, match=r"ended at 1,000,000 of 3,145,728 bytes"):
        download(wanted, tmp_path)
    assert (tmp_path / "a.part").stat().st_size == 1_000_000
    server.files["/a"] = NOISE[::-1]
    download(wanted, tmp_path)
    assert (tmp_path / "a").read_bytes() == NOISE[::-1]


def test_a_part_that_is_whole_is_taken(server, tmp_path):
    server.files = {"/a": NOISE}
    wanted = [Archive((f"{server.address}/a",), "a", unpack=False)]
    download(wanted, tmp_path)
    (tmp_path / "a").replace(tmp_path / "a.part")
    etag = f'"{hashlib.sha256(NOISE).hexdigest()[:16]}"'
    (tmp_path / "a.part.json").write_text(json.dumps({"address": f"{server.address}/a", "validator": etag}))
    download(wanted, tmp_path)
    assert (tmp_path / "a").read_bytes() == NOISE and server.requests[-1] == ("/a", f"bytes={len(NOISE)}-")


FETCH = """
import sys
from pathlib import Path
from urgentmos_jax.corpora.downloads import Archive, download
download([Archive((sys.argv[1],), "a", unpack=False)], Path(sys.argv[2]))
"""


def test_killed_and_started_again(server, tmp_path):
    server.files, server.slow = {"/a": NOISE}, {"/a"}
    process = subprocess.Popen([sys.executable, "-c", FETCH, f"{server.address}/a", str(tmp_path)])
    part = tmp_path / "a.part"
    deadline = time.monotonic() + 60
    while not (part.exists() and part.stat().st_size > 1 << 20) and time.monotonic() < deadline:
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    process.wait()
    size = part.stat().st_size
    assert 0 < size < len(NOISE) and not (tmp_path / "a").exists()
    server.slow.clear()
    subprocess.run([sys.executable, "-c", FETCH, f"{server.address}/a", str(tmp_path)], check=True)
    assert (tmp_path / "a").read_bytes() == NOISE and server.requests[1:] == [("/a", f"bytes={size}-")]


def test_a_wrong_checksum(server, tmp_path):
    server.files = {"/a.zip": zipped({"a": "a"})}
    wanted = [Archive((f"{server.address}/a.zip",), "a.zip", md5="0" * 32)]
    with pytest.raises(DownloadError, match=rf"a\.zip: its md5 is [0-9a-f]{{32}}, but {'0' * 32} is published"):
        download(wanted, tmp_path)
    assert list(tmp_path.iterdir()) == []
    right = hashlib.md5(server.files["/a.zip"]).hexdigest()
    download([Archive((f"{server.address}/a.zip",), "a.zip", md5=right)], tmp_path)
    assert (tmp_path / "a").read_text() == "a"


def test_an_archive_put_there_by_hand(server, tmp_path):
    (tmp_path / "a.zip").write_bytes(zipped({"a": "a"}))
    (record,) = download([Archive((f"{server.address}/a.zip",), "a.zip")], tmp_path)
    assert record["address"] == "by hand" and (tmp_path / "a").exists() and not server.requests


def test_what_cannot_be_fetched(server, tmp_path):
    server.files, server.status = {"/busy": b"x"}, {"/busy": 503, "/closed": 403}
    closed = "http://127.0.0.1:9/nobody"
    addresses = (f"{server.address}/gone", f"{server.address}/busy", closed)
    with pytest.raises(DownloadError) as error:
        download([Archive(addresses, "a.zip")], tmp_path)
    for words in ("/gone: 404", "/busy: 503", "127.0.0.1:9", "put it there by hand", str(tmp_path / "a.zip")):
        assert words in str(error.value)
    assert [path for path, _ in server.requests] == ["/gone", *["/busy"] * 3]


def test_free_space(server, tmp_path, monkeypatch):
    server.files = {"/a.zip": zipped({"a": bytes(1 << 20)})}
    wanted = [Archive((f"{server.address}/a.zip",), "a.zip")]
    monkeypatch.setattr(unpacking.shutil, "disk_usage", lambda folder: SimpleNamespace(free=100))
    with pytest.raises(DownloadError, match=r"a\.zip, unpacked, takes .* GB are free; make room"):
        download(wanted, tmp_path)
    (tmp_path / "a.zip").write_bytes(server.files["/a.zip"])
    monkeypatch.setattr(unpacking.shutil, "disk_usage", lambda folder: SimpleNamespace(free=(1 << 26) + 10_000))
    with pytest.raises(DownloadError, match=r"what a\.zip unpacks to takes 0.00 GB"):
        download(wanted, tmp_path)
    assert not (tmp_path / "a").exists()


# The hub's client reads its settings when it is imported: a process of its own.
FROM_HUB = """
import sys
from pathlib import Path
from urgentmos_jax.corpora.downloads import DownloadError, HubDataset, HubFile, download
one = HubFile("org/data", "x.zip") if sys.argv[1] == "file" else HubDataset("org/data", into="raw")
try:
    print(download([one], Path(sys.argv[2]))[0]["revision"])
except DownloadError as error:
    print(error)
"""


@pytest.mark.parametrize("gated", [False, True])
@pytest.mark.parametrize("kind", ["file", "dataset"])
def test_the_hub(kind, gated, tmp_path):
    files = {"x.zip": zipped({"inside.txt": "x"}), "README.md": b"---\n---\n"}
    handler = type("Handler", (HubHandler,), {"files": files, "gated": gated})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()
    environment = {name: value for name, value in os.environ.items() if not name.startswith("HF_")}
    environment |= {"HF_ENDPOINT": f"http://127.0.0.1:{server.server_port}", "HF_HOME": str(tmp_path / "hf")}
    folder = tmp_path / "folder"
    try:
        command = [sys.executable, "-c", FROM_HUB, kind, str(folder)]
        out = subprocess.run(command, check=True, env=environment, capture_output=True, text=True, timeout=60).stdout
    finally:
        server.shutdown()
        server.server_close()
    if gated:
        for words in ("org/data: cannot be downloaded", "https://huggingface.co/datasets/org/data", "hf auth login"):
            assert words in out
        return
    assert out.strip() == COMMIT
    if kind == "file":
        assert (folder / "inside.txt").read_text() == "x"
    else:
        assert (folder / "raw" / "README.md").exists() and (folder / "raw" / "x.zip").exists()


def test_without_network(tmp_path):
    environment = {**os.environ, "HF_ENDPOINT": "http://127.0.0.1:9", "HF_HOME": str(tmp_path / "hf")}
    command = [sys.executable, "-c", FROM_HUB, "dataset", str(tmp_path / "x")]
    out = subprocess.run(command, check=True, env=environment, capture_output=True, text=True, timeout=120).stdout
    assert f"hf download org/data --repo-type dataset --local-dir {tmp_path / 'x' / 'raw'}" in out


def test_prepare_downloads_first(server, tmp_path, monkeypatch, capsys):
    build_pstn(tmp_path / "made")
    made = {
        str(path.relative_to(tmp_path / "made")): path.read_bytes()
        for path in (tmp_path / "made").rglob("*")
        if path.is_file()
    }
    server.files = {"/train.zip": zipped(made)}
    archive = Archive((f"{server.address}/train.zip",), "train.zip")
    monkeypatch.setattr(pstn, "CORPUS", dataclasses.replace(pstn.CORPUS, downloads=(archive,)))
    flags = ("--source", str(tmp_path / "raw"), "--output", str(tmp_path / "out"), "--download")
    assert main(["prepare", "pstn", *flags]) == 0
    assert len((tmp_path / "out" / "train" / "data.jsonl").read_text().splitlines()) == 2
    server.files.clear()
    assert main(["prepare", "pstn", "--source", str(tmp_path / "other"), *flags[2:]]) == 2
    assert "404" in capsys.readouterr().err
