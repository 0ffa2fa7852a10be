"""Archives that reach out, are damaged or hold archives."""

import io
import os
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.helpers.archives import tarred, zipped
from urgentmos_jax.corpora.downloads import DownloadError
from urgentmos_jax.corpora.unpacking import unpack

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
