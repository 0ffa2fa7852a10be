"""Text files that users write, as bytes and as text: UTF-8, also compressed; what is none of that gets advice."""

import codecs
import os

from urgentmos_jax.files import UNREADABLE, unpacked
from urgentmos_jax.manifests.records import ManifestError


def read_bytes(path: str | os.PathLike) -> bytes:
    """Content of a file, that of a `.gz`, `.bz2` or `.xz` unpacked.

    Raises:
        ManifestError: It cannot be read.
    """
    name = os.fsdecode(path)
    try:
        with open(path, "rb") as raw, unpacked(raw, name) as file:
            return file.read()
    except UNREADABLE as error:
        raise ManifestError([f"{name}: cannot be read ({getattr(error, 'strerror', None) or error})"]) from None


def decode(data: bytes, name: str, *, errors: str = "strict") -> str:
    """Text of a file, without its byte-order mark.

    Args:
        data: Content of the file.
        name: For messages.
        errors: "surrogateescape" where lines may be names of files that are not UTF-8.

    Raises:
        ManifestError: It is not UTF-8, by line; or holds NUL characters.
    """
    if data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        raise ManifestError([f"{name}: is UTF-16, as PowerShell and spreadsheets write; save it as UTF-8"])
    if b"\0" in data:
        advice = "save it as UTF-8; `find -print0` needs to be `-print`"
        raise ManifestError([f"{name}: is not a text of lines, it holds NUL characters; {advice}"])
    try:
        return data.removeprefix(codecs.BOM_UTF8).decode("utf-8", errors)
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise ManifestError([f"{name}:{line}: is not UTF-8 ({error.reason}); save it as UTF-8"]) from None
