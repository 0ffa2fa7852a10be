"""Unpacks untrusted archives: completely or not at all, and nothing outside the folder."""

import os
import re
import shutil
import stat
import tarfile
import zipfile
import zlib
from collections.abc import Iterator, Sequence
from pathlib import Path, PurePosixPath
from typing import IO

_BLOCK_BYTES = 1 << 20
_SPARE_BYTES = 1 << 26
_MACOS_FILES = re.compile(r"(^|/)(__MACOSX(/|$)|\.DS_Store$|\._)")
_BROKEN = (zipfile.BadZipFile, tarfile.TarError, zlib.error, EOFError, RuntimeError, NotImplementedError, OSError)


class DownloadError(RuntimeError):
    """A download or archive that failed; the message names it and says what to do."""


def unpack(archive: Path, folder: Path, *, nested: Sequence[str] = ()) -> list[str]:
    """Unpacks a zip or tar file; files of the same name are replaced.

    Everything is unpacked into a hidden folder and then moved, so a killed process leaves no partial files under their
    own names. Files of macOS (`__MACOSX`, `.DS_Store`, `._*`) are left out.

    Archives inside it that `nested` names are unpacked where they are and removed.

    Returns:
        Names of the files and folders at the top.

    Raises:
        DownloadError: It is not an archive, or is damaged; a member has an absolute path or `..`, is a device, or is a
            link that leads out of the folder; or the disk is too small. Nothing is unpacked then.
    """
    fresh = folder / f".{archive.name}.unpacking"
    shutil.rmtree(fresh, ignore_errors=True)
    fresh.mkdir(parents=True)
    try:
        _extract(archive, fresh)
        for name in nested:
            inside = next(fresh.rglob(name), None)
            if inside is None:
                raise DownloadError(f"{archive}: no {name} inside; the archive may have been republished")
            _extract(inside, inside.parent)
            inside.unlink()
        tops = sorted(path.name for path in fresh.iterdir())
        if not tops:
            raise DownloadError(f"{archive}: the archive is empty")
        _move(fresh, folder)
    finally:
        shutil.rmtree(fresh, ignore_errors=True)
    return tops


def require_space(folder: Path, size: int, what: str) -> None:
    """Raises `DownloadError` if so many bytes do not fit on the disk of a folder; `what` needs them."""
    free = shutil.disk_usage(folder).free
    if size + _SPARE_BYTES > free:
        text = f"{what} takes {size / 1e9:.2f} GB, but {free / 1e9:.2f} GB are free"
        raise DownloadError(f"{folder}: {text}; make room or choose another folder")


def _extract(archive: Path, folder: Path) -> None:
    try:
        if zipfile.is_zipfile(archive):
            _unzip(archive, folder)
        elif tarfile.is_tarfile(archive):
            _untar(archive, folder)
        else:
            with archive.open("rb") as file:
                start = file.read(32)
            raise DownloadError(f"{archive}: neither zip nor tar: it starts with {start!r}; remove it and try again")
    except DownloadError:
        raise
    except _BROKEN as error:
        raise DownloadError(f"{archive}: damaged ({error}); remove it and try again") from None


def _unzip(archive: Path, folder: Path) -> None:
    with zipfile.ZipFile(archive) as file:
        members = [member for member in file.infolist() if not _MACOS_FILES.search(member.filename)]
        require_space(folder, sum(member.file_size for member in members), f"what {archive.name} unpacks to")
        for member in members:
            path = folder / _checked_name(member.filename, archive)
            kind = stat.S_IFMT(member.external_attr >> 16)
            if kind not in (0, stat.S_IFREG, stat.S_IFDIR):
                raise DownloadError(f"{archive}: {member.filename!r} is a link or a device; not unpacked")
            if member.is_dir():
                path.mkdir(parents=True, exist_ok=True)
                continue
            with file.open(member) as source:
                _write(source, path, member.file_size, archive)


def _untar(archive: Path, folder: Path) -> None:
    left = shutil.disk_usage(folder).free - _SPARE_BYTES
    with tarfile.open(archive, "r|*") as file:
        for member in _tar_members(file, archive, folder):
            left -= member.size
            if left < 0:
                require_space(folder, member.size - left, f"the rest of {archive.name}")
                raise DownloadError(f"{archive}: unpacks to more than fits on the disk")
            path = folder / _checked_name(member.name, archive)
            if member.isdir():
                path.mkdir(parents=True, exist_ok=True)
            elif source := file.extractfile(member) if member.isreg() else None:
                _write(source, path, member.size, archive)
            else:
                file.extract(member, folder, filter="data")


def _tar_members(file: tarfile.TarFile, archive: Path, folder: Path) -> Iterator[tarfile.TarInfo]:
    # From Python 3.11.4 on, `data_filter` checks where links lead; before that, no links are allowed.
    check = getattr(tarfile, "data_filter", None)
    for member in file:
        if _MACOS_FILES.search(member.name):
            continue
        if not (member.isreg() or member.isdir()):
            try:
                if check is None:
                    raise tarfile.TarError("a link or a device")
                check(member, str(folder))
            except tarfile.TarError as error:
                raise DownloadError(f"{archive}: {member.name!r} is refused: {error}") from None
        yield member


def _checked_name(name: str, archive: Path) -> PurePosixPath:
    plain = name.replace("\\", "/")
    if plain.startswith("/") or re.match("[A-Za-z]:", plain) or ".." in plain.split("/") or "\0" in plain:
        raise DownloadError(f"{archive}: {name!r} leads out of the folder; not unpacked")
    return PurePosixPath(plain)


def _write(source: IO[bytes], path: Path, size: int, archive: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.is_symlink():
        raise DownloadError(f"{archive}: {path.name!r} would be written through a link; not unpacked")
    written = 0
    with path.open("wb") as target:
        while block := source.read(_BLOCK_BYTES):
            written += len(block)
            if written > size:
                break
            target.write(block)
    if written != size:
        raise DownloadError(f"{archive}: {path.name!r} holds {written} bytes or more, but declares {size}")


def _move(source: Path, target: Path) -> None:
    for path in source.iterdir():
        destination = target / path.name
        if path.is_dir() and not path.is_symlink() and destination.is_dir() and not destination.is_symlink():
            _move(path, destination)
        else:
            os.replace(path, destination)
