"""Recordings in tar archives, such as the shards of WebDataset: read where they lie, nothing is unpacked to disk.

Python's `tarfile` reads them; what else there is about a sample (`.json`, `.txt`, ...) is passed over. Names of members
are names alone: they lead nowhere, and neither do links.
"""

import os
import tarfile
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from urgentmos_jax.audio.errors import AudioError, audio_error
from urgentmos_jax.audio.opening import read_suffixes
from urgentmos_jax.audio.recordings import FilePart, Recording, Stored
from urgentmos_jax.files import UNREADABLE
from urgentmos_jax.manifests.lists import tell_others
from urgentmos_jax.manifests.records import ManifestError

SUFFIXES = (".tar", ".tar.gz", ".tgz", ".tar.bz2", ".tbz2", ".tar.xz", ".txz")

_PACKINGS = (b"\x1f\x8b", b"BZh", b"\xfd7zXZ")
# Of a packed archive a member is held in memory.
_MAX_PACKED_BYTES = 1 << 30


def list_archive(path: Path) -> list[tuple[str, Recording | Stored]]:
    """(uid, recording) of each member that has the suffix of one; the uid is its name without the suffix.

    A link, and what is lost of an archive that is cut or damaged, are listed as recordings that cannot be read.

    Raises:
        ManifestError: It cannot be read, or holds no recordings.
    """
    suffixes, packed = read_suffixes(), _is_packed(path)
    found: list[tuple[str, Recording | Stored]] = []
    others: Counter[str] = Counter()
    for number, member in enumerate(_members(path)):
        if isinstance(member, str):
            found.append((str(path), Recording(str(path), audio_error("truncated", str(path), member))))
            continue
        stem, suffix = os.path.splitext(member.name)
        if member.isdir() or os.path.basename(stem).startswith("."):
            continue
        if suffix.lower() not in suffixes:
            others[suffix.lower() or "without suffix"] += 1
            continue
        name = f"{path}/{member.name}"
        recording: Recording | Stored = Stored(name, str(path), number) if packed else _in_place(path, name, member)
        if fault := _fault(name, member, packed):
            recording = Recording(name, fault)
        found.append((stem, recording))
    if not found:
        text = f"{path}: no recordings ({', '.join(suffixes)}) in this archive"
        raise ManifestError([f"{text}; other members: {tell_others(others)}" if others else text])
    return found


class ArchiveReader:
    """Members of a packed archive, one at a time and best in order: each step back reads from the start again."""

    def __init__(self, path: str):
        self._path = path
        self._start()

    def _start(self) -> None:
        self._archive = _Archive(Path(self._path))
        self._next = 0

    def recording(self, stored: Stored) -> Recording:
        """A member with its content, or why there is none."""
        if stored.number < self._next:
            self.close()
            self._start()
        try:
            for member in self._archive:
                self._next += 1
                if self._next > stored.number:
                    return Recording(stored.path, self._archive.content(member))
            why = f"the archive {self._path} ends before it"
        except (*UNREADABLE, tarfile.TarError) as error:
            why = f"the archive {self._path} cannot be read: {_reason(error)}"
        return Recording(stored.path, audio_error("truncated", stored.path, f"{why}; copy or make it again"))

    def close(self) -> None:
        """Closes the archive."""
        self._archive.close()


class _Header(tarfile.TarInfo):
    """As `tarfile` reads headers; the archive keeps what ended it, of which `tarfile` does not tell."""

    @classmethod
    def fromtarfile(cls, tarfile: Any) -> Any:
        try:
            return super().fromtarfile(tarfile)
        except Exception as error:
            tarfile.ending = error
            raise


class _Archive:
    """Members of a tar archive from the start on, whose headers do not stay in memory."""

    def __init__(self, path: Path):
        mode: Any = "r|*" if _is_packed(path) else "r:"
        self._tar = tarfile.open(path, mode, tarinfo=_Header)  # noqa: SIM115  # `close` closes it.

    def __iter__(self) -> Iterator[tarfile.TarInfo]:
        while (member := self._tar.next()) is not None:
            self._tar.members.clear()  # type: ignore[attr-defined]  # typeshed lacks it, and those below.
            yield member
        ending = getattr(self._tar, "ending", None)
        whole = (tarfile.EOFHeaderError, tarfile.EmptyHeaderError)  # type: ignore[attr-defined]
        if ending is not None and not isinstance(ending, whole):
            raise tarfile.ReadError(str(ending))

    def content(self, member: tarfile.TarInfo) -> bytes:
        file = self._tar.extractfile(member)
        assert file is not None  # Members that are no files are not asked for.
        return file.read()

    def close(self) -> None:
        self._tar.close()


def _members(path: Path) -> Iterator[tarfile.TarInfo | str]:
    """Headers of an archive; at last, where it is cut or damaged, a text that says so."""
    last = ""
    try:
        archive = _Archive(path)
    except (*UNREADABLE, tarfile.TarError) as error:
        raise ManifestError([f"{path}: cannot be read as a tar archive ({_reason(error)})"]) from None
    try:
        for member in archive:
            last = member.name
            yield member
    except (*UNREADABLE, tarfile.TarError) as error:
        yield f"it is cut or damaged at or behind {last!r} ({_reason(error)}); copy or make it again"
    finally:
        archive.close()


def _in_place(path: Path, name: str, member: tarfile.TarInfo) -> Recording:
    return Recording(name, FilePart(str(path), member.offset_data, member.size))


def _fault(name: str, member: tarfile.TarInfo, packed: bool) -> AudioError | None:
    if not member.isreg():
        kind = "a link" if member.issym() or member.islnk() else "no file"
        return audio_error("missing", name, f"it is {kind}, which is not followed; put the recording in its place")
    if member.issparse():
        return audio_error("undecodable", name, "it is stored with holes; make the archive without --sparse")
    if packed and member.size > _MAX_PACKED_BYTES:
        text = f"it has {member.size} bytes, more than {_MAX_PACKED_BYTES} within a packed archive; unpack it to .tar"
        return audio_error("too_large", name, text)
    return None


def _is_packed(path: Path) -> bool:
    try:
        with path.open("rb") as file:
            return file.read(6).startswith(_PACKINGS)
    except OSError as error:
        raise ManifestError([f"{path}: cannot be read ({error.strerror or error})"]) from None


def _reason(error: BaseException) -> str:
    return str(getattr(error, "strerror", None) or error)
