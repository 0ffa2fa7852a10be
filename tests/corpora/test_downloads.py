"""`--download` against servers on loopback: interrupted, resumed, changed; and archives that reach out."""

import hashlib
import io
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tarfile
import threading
import time
import zipfile
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import SimpleNamespace

import pytest

from urgentmos_jax.cli import main
from urgentmos_jax.corpora import downloads, unpacking
from urgentmos_jax.corpora.downloads import Archive, DownloadError, HubDataset, HubFile, download
from urgentmos_jax.corpora.registry import NAMES, corpus_of
from urgentmos_jax.corpora.unpacking import unpack


class Server:
    """Serves {path: content} with ranges, and notes (path, Range) of each request.

    Attributes:
        cut: {path: bytes after which the connection ends}, once each.
        slow: Paths that are sent in small pieces.
        ranges: Whether Range is known.
        status: {path: what is answered instead}.
    """

    def __init__(self):
        self.files: dict[str, bytes] = {}
        self.requests: list[tuple[str, str | None]] = []
        self.cut: dict[str, int] = {}
        self.slow: set[str] = set()
        self.ranges = True
        self.status: dict[str, int] = {}
        server = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self):
                server.answer(self)

            def log_message(self, *arguments):
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.address = f"http://127.0.0.1:{self._server.server_port}"
        threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()

    def stop(self) -> None:
        self._server.shutdown()
        self._server.server_close()

    def answer(self, request: BaseHTTPRequestHandler) -> None:
        path, asked = request.path, request.headers.get("Range")
        self.requests.append((path, asked))
        request.close_connection = True
        content = self.files.get(path)
        if content is None or path in self.status:
            request.send_error(self.status.get(path, 404))
            return
        etag = f'"{hashlib.sha256(content).hexdigest()[:16]}"'
        start = 0
        if asked and self.ranges and request.headers.get("If-Range") == etag:
            start = int(re.fullmatch(r"bytes=(\d+)-", asked)[1])
        if start >= len(content) > 0:
            request.send_response(416)
            request.send_header("Content-Range", f"bytes */{len(content)}")
            request.send_header("Content-Length", "0")
            request.end_headers()
            return
        request.send_response(206 if start else 200)
        request.send_header("ETag", etag)
        request.send_header("Content-Length", str(len(content) - start))
        request.end_headers()
        content = content[start : self.cut.pop(path, None)]
        try:
            for place in range(0, len(content), 1 << 16):
                request.wfile.write(content[place : place + (1 << 16)])
                if path in self.slow:
                    time.sleep(0.05)
        except OSError:
            pass


@pytest.fixture
def server(monkeypatch) -> Iterator[Server]:
    monkeypatch.setattr(downloads, "_WAITS_SECONDS", (0.01, 0.01))
    server = Server()
    yield server
    server.stop()


def zipped(files: dict[str, bytes | str]) -> bytes:
    data = io.BytesIO()
    with zipfile.ZipFile(data, "w", zipfile.ZIP_DEFLATED) as file:
        for name, content in files.items():
            file.writestr(name, content)
    return data.getvalue()


def tarred(*members: tuple[str, bytes | None, dict], mode: str = "w:gz") -> bytes:
    """Members (name, content, what else of the TarInfo)."""
    data = io.BytesIO()
    with tarfile.open(fileobj=data, mode=mode) as file:
        for name, content, more in members:
            member = tarfile.TarInfo(name)
            member.size = len(content or b"")
            for key, value in more.items():
                setattr(member, key, value)
            file.addfile(member, io.BytesIO(content or b""))
    return data.getvalue()


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
    with pytest.raises(DownloadError, match=rf"a\.zip: its md5 is [0-9a-f]{{32}}, published is {'0' * 32}"):
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


SYMLINK = dict(type=tarfile.SYMTYPE)
HARDLINK = dict(type=tarfile.LNKTYPE)
GOOD = ("good.txt", b"good", {})
REFUSED: dict[str, Callable[[], bytes]] = {
    "zip up": lambda: zipped({"good": "x", "../canary": "x"}),
    "zip up inside": lambda: zipped({"good": "x", "a/../../canary": "x"}),
    "zip absolute": lambda: zipped({"good": "x", "/tmp/canary": "x"}),
    "zip drive": lambda: zipped({"good": "x", "C:\\canary": "x"}),
    "zip share": lambda: zipped({"good": "x", "\\\\host\\canary": "x"}),
    "zip up in windows": lambda: zipped({"good": "x", "..\\canary": "x"}),
    "tar up": lambda: tarred(GOOD, ("../canary", b"x", {})),
    "tar absolute": lambda: tarred(GOOD, ("/tmp/canary", b"x", {})),
    "tar symbolic link out": lambda: tarred(GOOD, ("canary", None, SYMLINK | {"linkname": "../../canary"})),
    "tar absolute link": lambda: tarred(GOOD, ("canary", None, SYMLINK | {"linkname": "/etc/passwd"})),
    "tar hard link out": lambda: tarred(GOOD, ("canary", None, HARDLINK | {"linkname": "../canary"})),
    "tar device": lambda: tarred(GOOD, ("canary", None, {"type": tarfile.CHRTYPE})),
    "tar pipe": lambda: tarred(GOOD, ("canary", None, {"type": tarfile.FIFOTYPE}), mode="w"),
    "tar through a link": lambda: tarred(
        GOOD, ("canary", None, SYMLINK | {"linkname": "good.txt"}), ("canary", b"x", {})
    ),
}


@pytest.mark.parametrize("how", REFUSED)
def test_archives_that_reach_out(how, tmp_path):
    folder = tmp_path / "raw"
    folder.mkdir()
    archive = folder / "a.bin"
    archive.write_bytes(REFUSED[how]())
    with pytest.raises(DownloadError, match=r"a\.bin.*canary") as error:
        unpack(archive, folder)
    assert "\n" not in str(error.value)
    assert [path.name for path in tmp_path.rglob("*")] == ["raw", "a.bin"]
    assert not Path("/tmp/canary").exists()


def test_a_link_in_a_zip(tmp_path):
    data = io.BytesIO()
    with zipfile.ZipFile(data, "w") as file:
        link = zipfile.ZipInfo("canary")
        link.external_attr = 0o120777 << 16
        file.writestr(link, "/etc/passwd")
    (tmp_path / "a.zip").write_bytes(data.getvalue())
    with pytest.raises(DownloadError, match="is a link or a device"):
        unpack(tmp_path / "a.zip", tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["a.zip"]


def test_links_that_stay_inside(tmp_path):
    members = (("d/a.txt", b"a", {}), ("d/b.txt", None, SYMLINK | {"linkname": "a.txt"}))
    (tmp_path / "a.tar").write_bytes(tarred(*members, ("c.txt", None, HARDLINK | {"linkname": "d/a.txt"}), mode="w"))
    assert unpack(tmp_path / "a.tar", tmp_path) == ["c.txt", "d"]
    assert (tmp_path / "d" / "b.txt").read_text() == (tmp_path / "c.txt").read_text() == "a"


@pytest.mark.parametrize("kind", ["html", "cut zip", "cut tar", "flipped zip", "empty zip", "lying zip"])
def test_damaged_archives(kind, tmp_path):
    whole = zipped({"a": os.urandom(5000), "b": os.urandom(5000)})
    place = whole.index(b"a", 30) + 100
    content = {
        "html": b"<html>Sign in</html>",
        "cut zip": whole[:6000],
        "cut tar": tarred(("a", os.urandom(5000), {}))[:3000],
        "flipped zip": whole[:place] + bytes([whole[place] ^ 1]) + whole[place + 1 :],
        "empty zip": zipped({}),
        # The directory declares less than the member holds.
        "lying zip": whole.replace((5000).to_bytes(4, "little"), (50).to_bytes(4, "little")),
    }[kind]
    (tmp_path / "a.bin").write_bytes(content)
    with pytest.raises(DownloadError, match=r"a\.bin"):
        unpack(tmp_path / "a.bin", tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["a.bin"]


def test_an_archive_in_an_archive_and_a_second_unpacking(tmp_path):
    inner = zipped({"audios/x.wav": "new", "audios/y.wav": "y"})
    (tmp_path / "somos.zip").write_bytes(zipped({"audios.zip": inner, "lists/TRAINSET": "z"}))
    (tmp_path / "audios").mkdir()
    (tmp_path / "audios" / "x.wav").write_text("old")
    (tmp_path / "audios" / "mine.wav").write_text("mine")
    assert unpack(tmp_path / "somos.zip", tmp_path, nested=("audios.zip",)) == ["audios", "lists"]
    found = {path.name: path.read_text() for path in (tmp_path / "audios").iterdir()}
    assert found == {"x.wav": "new", "y.wav": "y", "mine.wav": "mine"}
    with pytest.raises(DownloadError, match=r"no other\.zip inside"):
        unpack(tmp_path / "somos.zip", tmp_path, nested=("other.zip",))


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
COMMIT = "0123456789abcdef0123456789abcdef01234567"


class HubHandler(BaseHTTPRequestHandler):
    files: dict[str, bytes]
    gated = False

    def do_HEAD(self):
        self.respond(with_body=False)

    def do_GET(self):
        self.respond(with_body=True)

    def respond(self, *, with_body: bool) -> None:
        path = self.path.partition("?")[0]
        headers, content = {"X-Repo-Commit": COMMIT}, b""
        if path.startswith("/api/datasets/org/data"):
            if "/tree/" in path:
                found = [{"type": "file", "path": n, "size": len(c), "oid": "0" * 40} for n, c in self.files.items()]
                content = json.dumps(found).encode()
            else:
                siblings = [{"rfilename": name, "size": len(c)} for name, c in self.files.items()]
                content = json.dumps({"id": "org/data", "sha": COMMIT, "siblings": siblings}).encode()
            status = 200
        elif self.gated:
            status, headers["X-Error-Code"], headers["X-Error-Message"] = 403, "GatedRepo", "Access is restricted"
        else:
            content = self.files[path.rpartition("/")[2]]
            headers["ETag"] = f'"{hashlib.sha256(content).hexdigest()}"'
            status = 200
        self.send_response(status)
        for name, value in {"Content-Length": str(len(content)), **headers}.items():
            self.send_header(name, value)
        self.end_headers()
        if with_body:
            self.wfile.write(content)

    def log_message(self, *arguments):
        pass


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
        for words in ("org/data: cannot be fetched", "https://huggingface.co/datasets/org/data", "hf auth login"):
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


def test_every_corpus_says_where_it_comes_from():
    for name in NAMES:
        corpus = corpus_of(name)
        assert corpus.downloads and corpus.home.startswith("https://")
        for one in corpus.downloads:
            if isinstance(one, Archive):
                assert all(address.startswith("https://") for address in one.addresses)
            else:
                assert isinstance(one, HubFile | HubDataset) and "/" in one.repo


def test_prepare_downloads_first(server, tmp_path, monkeypatch, capsys):
    import dataclasses

    from tests.test_corpora import build_pstn

    from urgentmos_jax.corpora.published import pstn

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
