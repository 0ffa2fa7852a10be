"""A writer of torch's file format, free enough to write what torch never would."""

import dataclasses
import io
import struct
import warnings
import zipfile
from collections import OrderedDict

import numpy as np


@dataclasses.dataclass
class Raw:
    """Pickle opcodes that leave one object on the stack."""

    opcodes: bytes


def dump(value) -> bytes:
    """Returns the opcodes, as protocol 2 writes them, that push a value."""
    match value:
        case Raw(opcodes):
            return opcodes
        case None:
            return b"N"
        case bool():
            return b"\x88" if value else b"\x89"
        case int() if -(2**31) <= value < 2**31:
            return b"J" + struct.pack("<i", value)
        case int():
            data = value.to_bytes(value.bit_length() // 8 + 1, "little", signed=True)
            return b"\x8a" + bytes([len(data)]) + data
        case float():
            return b"G" + struct.pack(">d", value)
        case str():
            return b"X" + struct.pack("<I", len(value.encode())) + value.encode()
        case tuple():
            return b"(" + b"".join(map(dump, value)) + b"t"
        case list():
            return b"](" + b"".join(map(dump, value)) + b"e"
        case OrderedDict():
            return call("collections OrderedDict") + dump_items(value)
        case dict():
            return b"}" + dump_items(value)
    raise TypeError(type(value))


def dump_items(items: dict) -> bytes:
    return b"(" + b"".join(dump(key) + dump(value) for key, value in items.items()) + b"u"


def glob(name: str) -> bytes:
    """Returns the opcode for the global "module name"."""
    return b"c" + name.replace(" ", "\n").encode() + b"\n"


def call(name: str, *arguments) -> bytes:
    return glob(name) + dump(arguments) + b"R"


def storage(key="0", numel=6, kind="Float", device="cpu") -> Raw:
    return Raw(dump(("storage", Raw(glob(f"torch {kind}Storage")), key, device, numel)) + b"Q")


def tensor(source: Raw | None = None, offset=0, size=(2, 3), stride=(3, 1), hooks=None) -> Raw:
    hooks = OrderedDict() if hooks is None else hooks
    return Raw(call("torch._utils _rebuild_tensor_v2", source or storage(), offset, size, stride, False, hooks))


SIX = np.arange(6, dtype=np.float32)


def entries(value, storages=(SIX,), root="model") -> list[tuple[str, bytes]]:
    """Returns the zip entries of a checkpoint that holds a value."""
    data = [(f"{root}/data/{key}", array.tobytes()) for key, array in enumerate(storages)]
    start = [(f"{root}/data.pkl", b"\x80\x02" + dump(value) + b"."), (f"{root}/byteorder", b"little")]
    return [*start, *data, (f"{root}/version", b"3\n")]


def zipped(content: list[tuple[str, bytes]], compression=zipfile.ZIP_STORED) -> bytes:
    buffer = io.BytesIO()
    with warnings.catch_warnings(), zipfile.ZipFile(buffer, "w", compression) as archive:
        warnings.simplefilter("ignore")  # duplicate names
        for name, data in content:
            archive.writestr(name, data)
    return buffer.getvalue()


def checkpoint(value, *storages) -> bytes:
    return zipped(entries(value, storages or (SIX,)))


def state_dict_file(content: dict) -> bytes:
    """Returns a checkpoint with numpy arrays (float32) written as tensors, wherever they are."""
    storages: list[np.ndarray] = []

    def written(value):
        if isinstance(value, np.ndarray):
            storages.append(np.array(value, np.float32, order="C"))
            strides = tuple(step // 4 for step in storages[-1].strides)
            source = storage(str(len(storages) - 1), value.size)
            return tensor(source, 0, value.shape, strides)
        if isinstance(value, dict):
            return type(value)((key, written(item)) for key, item in value.items())
        return [written(item) for item in value] if isinstance(value, list) else value

    tree = written(content)
    return checkpoint(tree, *storages)
