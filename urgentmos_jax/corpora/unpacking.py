"""Archives of strangers: unpacked so that nothing lands outside the folder, and all of it or nothing does."""

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

__all__ = ["DownloadError", "require_space", "unpack"]

_BLOCK_BYTES = 1 << 20
_SPARE_BYTES = 1 << 26
_LITTER = re.compile(r"(^|/)(__MACOSX(/|$)|\.DS_Store$|\._)")
_BROKEN = (zipfile.BadZipFile, tarfile.TarError, zlib.error, EOFError, RuntimeError, NotImplementedError, OSError)


class DownloadError(RuntimeError):
    """Something that cannot be fetched or unpacked; the message names it and says what to do."""


def unpack(archive: Path, folder: Path, *, nested: Sequence[str] = ()) -> list[str]:
    """Unpacks a zip or tar file; files of an earlier unpacking are replaced.

    Everything is unpacked into a hidden folder and then moved, so that a kill leaves no half of it under its name.
    macOS's own files (`__MACOSX`, `.DS_Store`, `._*`) are left out.

    Args:
        archive: The file.
        folder: Where to.
        nested: Names of archives inside, which are unpacked where they are, and removed.

    Returns:
        Names of the files and folders at the top.

    Raises:
        DownloadError: It is no archive or damaged; a member has an absolute path, `..`, is a device, or a link that
            leads out; or there is no room. Nothing of it stays.
    """
    fresh = folder / f".{archive.name}.unpacking"
    shutil.rmtree(fresh, ignore_errors=True)
    fresh.mkdir(parents=True)
    try:
        _extract(archive, fresh)
        for name in nested:
            inside = next(fresh.rglob(name), None)
            if inside is None:
                raise DownloadError(f"{archive}: no {name} inside; has it been published anew?")
            _extract(inside, inside.parent)
            inside.unlink()
        tops = sorted(path.name for path in fresh.iterdir())
        if not tops:
            raise DownloadError(f"{archive}: there is nothing inside")
        _move(fresh, folder)
    finally:
        shutil.rmtree(fresh, ignore_errors=True)
    return tops


def require_space(folder: Path, size: int, what: str) -> None:
    """Refuses what does not fit on the disk.

    Args:
        folder: There already.
        size: Bytes.
        what: What they are for.

    Raises:
        DownloadError: With how much is missing.
    """
    free = shutil.disk_usage(folder).free
    if size + _SPARE_BYTES > free:
        text = f"{what} takes {size / 1e9:.2f} GB, {free / 1e9:.2f} GB are free"
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
            raise DownloadError(f"{archive}: neither zip nor tar, it starts with {start!r}; remove it and try again")
    except _BROKEN as error:
        if isinstance(error, DownloadError):
            raise
        raise DownloadError(f"{archive}: damaged ({error}); remove it and try again") from None


def _unzip(archive: Path, folder: Path) -> None:
    with zipfile.ZipFile(archive) as file:
        members = [member for member in file.infolist() if not _LITTER.search(member.filename)]
        require_space(folder, sum(member.file_size for member in members), f"what {archive.name} unpacks to")
        for member in members:
            path = folder / _checked_name(member.filename, archive)
            kind = stat.S_IFMT(member.external_attr >> 16)
            if kind not in (0, stat.S_IFREG, stat.S_IFDIR):
                raise DownloadError(f"{archive}: {member.filename!r} is a link or a device; it is not unpacked")
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
                raise DownloadError(f"{archive}: it unpacks to more than the disk holds")
            path = folder / _checked_name(member.name, archive)
            if member.isdir():
                path.mkdir(parents=True, exist_ok=True)
            elif member.isreg():
                _write(file.extractfile(member), path, member.size, archive)
            else:
                file.extract(member, folder, filter="data")


def _tar_members(file: tarfile.TarFile, archive: Path, folder: Path) -> Iterator[tarfile.TarInfo]:
    # Python 3.11.4 and newer know where links lead; before that there are none.
    check = getattr(tarfile, "data_filter", None)
    for member in file:
        if _LITTER.search(member.name):
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
        raise DownloadError(f"{archive}: {name!r} leads out of the folder; this archive is not unpacked")
    return PurePosixPath(plain)


def _write(source: IO[bytes], path: Path, size: int, archive: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.is_symlink():
        raise DownloadError(f"{archive}: {path.name!r} would be written through a link; it is not unpacked")
    written = 0
    with path.open("wb") as target:
        while block := source.read(_BLOCK_BYTES):
            written += len(block)
            if written > size:
                break
            target.write(block)
    if written != size:
        raise DownloadError(f"{archive}: {path.name!r} holds {written} bytes or more, it declares {size}")


def _move(source: Path, target: Path) -> None:
    for path in source.iterdir():
        place = target / path.name
        if path.is_dir() and not path.is_symlink() and place.is_dir() and not place.is_symlink():
            _move(path, place)
        else:
            os.replace(path, place)
