"""Inputs of a fuzzer and files: what is within a checksum is put there behind the fuzzer's back.

A zip of torch is refused by its first wrong checksum, and a safetensors file by a wrong length of its header. So the
first byte of such an input says whether the rest is a whole file or the inner part, a pickle or a header with its data.
"""

import io
import zipfile

from tests.helpers.torch_writer import SIX, entries, zipped

_WHOLE, _INNER = b"\0", b"\1"


def unwrapped(target: str, data: bytes) -> list[bytes]:
    """The inputs that stand for a file."""
    if target == "torch":
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            pickle = next(name for name in archive.namelist() if name.endswith("/data.pkl"))
            return [_WHOLE + data, _INNER + archive.read(pickle)]
    if target == "safetensors":
        return [_WHOLE + data, _INNER + data[8:]]
    return [data]


def wrapped(target: str, data: bytes) -> bytes:
    """The file that an input stands for."""
    if target not in ("torch", "safetensors") or not data:
        return data
    kind, data = data[:1], data[1:]
    if kind == _WHOLE:
        return data
    if target == "torch":
        parts = dict(entries({}, (SIX, SIX[:2])))
        return zipped([(name, data if name.endswith("data.pkl") else part) for name, part in parts.items()])
    end = data.find(b"}}") + 2
    return (end if end > 1 else len(data)).to_bytes(8, "little") + data
