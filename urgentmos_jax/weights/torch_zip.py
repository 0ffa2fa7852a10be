"""Reader of torch's zip checkpoints without torch: nothing from the file is executed.

A file that `torch.save` writes is a zip archive of stored entries under one root folder: `data.pkl`, a
protocol 2 pickle in which each tensor names a storage, and `data/<key>`, the bytes of each storage. Python's
unpickler calls what the file names; this module interprets itself the opcodes that a weights file needs, some
thirty. Globals are inert names here, and the few on the allowlist stand for functions of this module. The
whole pickle is scanned first, so that a refused file is refused before anything is built.
"""

import dataclasses
import math
import os
import pickletools
import struct
import zipfile
import zlib
from collections import OrderedDict
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO

import ml_dtypes
import numpy as np

_ORDERED_DICT = "collections OrderedDict"
_TENSOR = "torch._utils _rebuild_tensor_v2"
_PARAMETER = "torch._utils _rebuild_parameter"
_STORAGES = {
    "torch FloatStorage": np.dtype(np.float32),
    "torch BFloat16Storage": np.dtype(ml_dtypes.bfloat16),
    "torch HalfStorage": np.dtype(np.float16),
    "torch DoubleStorage": np.dtype(np.float64),
    "torch LongStorage": np.dtype(np.int64),
    "torch IntStorage": np.dtype(np.int32),
    "torch ShortStorage": np.dtype(np.int16),
    "torch CharStorage": np.dtype(np.int8),
    "torch ByteStorage": np.dtype(np.uint8),
    "torch BoolStorage": np.dtype(np.bool_),
}
_GLOBALS = {_ORDERED_DICT, _TENSOR, _PARAMETER, *_STORAGES}

_LITERALS = {"BINUNICODE", "BININT", "BININT1", "BININT2", "LONG1", "BINFLOAT"}
_MEMO = {"BINPUT", "LONG_BINPUT", "BINGET", "LONG_BINGET"}
_CONTAINERS = {"MARK", "EMPTY_TUPLE", "TUPLE", "TUPLE1", "TUPLE2", "TUPLE3"}
_CONTAINERS |= {"EMPTY_LIST", "APPEND", "APPENDS", "EMPTY_DICT", "SETITEM", "SETITEMS"}
_OPCODES = _LITERALS | _MEMO | _CONTAINERS | {"PROTO", "STOP", "NONE", "NEWTRUE", "NEWFALSE"}
_OPCODES |= {"GLOBAL", "REDUCE", "BUILD", "BINPERSID"}

# Above any weights file, and bounding time and memory: a tensor takes about 35 opcodes and, with its entry in the zip,
# 2,000 bytes; a list takes one opcode, and 80 bytes of memory.
_MAX_PICKLE_BYTES = 64 * 2**20
_MAX_OPCODES, _MIN_BYTES_AN_OPCODE = 20_000, 40
_MAX_DEPTH = 32
_MAX_DIMENSIONS = 32
_MAX_FAULTS = 16

_DATA_DESCRIPTOR_AND_UTF8 = 0x0808
_LOCAL_HEADER = struct.Struct("<4s5H3L2H")
_END_RECORD_BYTES = 22

_AGAIN = "copy or download it again"
_RESAVE = "re-save it with a current torch: torch.save(state_dict, path)"
_ASK = "do not load it with torch; ask its author for a safetensors file or a plain state dict"
_OTHER_FORMATS = (
    (b"\x80\x02\x8a\x0a\x6c\xfc\x9c\x46\xf9\x20\x6a\xa8\x50\x19", "a legacy (non-zip) torch file", _RESAVE),
    (b"\x80", "a bare pickle", _ASK),
    (b"7z\xbc\xaf\x27\x1c", "a 7z archive", _ASK),
    (b"\x1f\x8b", "a gzip file", "decompress it if you trust its source"),
    (b"version https://git-lfs", "a Git LFS pointer", "fetch the file itself (git lfs pull)"),
    (b"<", "an HTML or XML page", "download the file itself, not the page about it"),
)


class UnsafeCheckpoint(ValueError):
    """A torch file is refused: unsafe, damaged or of another format. The message says why and what to do."""


class _Fault(Exception):
    """What is wrong with the file, and what to do about it."""

    def __init__(self, fault: str, advice: str = _ASK):
        super().__init__(f"{fault}; {advice}.")


@dataclasses.dataclass(frozen=True)
class _Global:
    """A global on the allowlist, as "module name": a name, never the object."""

    name: str


@dataclasses.dataclass(frozen=True)
class _Storage:
    data: bytes
    dtype: np.dtype

    @property
    def numel(self) -> int:
        return len(self.data) // self.dtype.itemsize


def read_torch_file(path: str | os.PathLike) -> Any:
    """Reads what `torch.save` wrote.

    Args:
      path: a zip checkpoint of torch 1.6 or later.

    Returns:
      The object in the file, with plain containers and numbers. Tensors and parameters are read-only numpy
      arrays that share memory where the tensors did; bfloat16 is `ml_dtypes.bfloat16`. Gradient flags,
      devices and the `_metadata` of state dicts are dropped.

    Raises:
      UnsafeCheckpoint: the file is refused, whatever the reason.
      OSError: the file cannot be opened.
    """
    path = Path(path)
    with path.open("rb") as file:
        try:
            archive = _Archive(file)
            pickle = archive.read_pickle()
            _scan(pickle, max(_MAX_OPCODES, path.stat().st_size // _MIN_BYTES_AN_OPCODE))
            result = _build(pickle, archive)
            _check_tree(result, 0, {})
            return result
        except _Fault as fault:
            raise UnsafeCheckpoint(f"{path}: {fault}") from None
        except Exception as error:
            cause = f"{type(error).__name__}: {_printable(error)}"
            raise UnsafeCheckpoint(f"{path}: malformed or damaged ({cause}); {_AGAIN}.") from error


class _Archive:
    """The zip archive: checks its structure at once, the checksum of each entry as it is read."""

    def __init__(self, file: BinaryIO):
        self._file = file
        self._storages: dict[str, _Storage] = {}
        file_bytes = os.fstat(file.fileno()).st_size
        _check_format(file, file_bytes)
        with zipfile.ZipFile(file) as archive:
            infos = archive.infolist()
        self._entries = {info.filename: info for info in infos}
        for info in infos:
            _check_entry(info)
        if len(self._entries) < len(infos):
            raise _Fault("two zip entries have the same name")
        if min((info.header_offset for info in infos), default=0) > 0:
            raise _Fault("bytes before the first zip entry")
        if sum(info.file_size for info in infos) > file_bytes:
            raise _Fault(f"zip entries declare more bytes than the {file_bytes} of the file (a zip bomb)")
        roots = {name.split("/")[0] for name in self._entries}
        pickles = [name for name in self._entries if name.split("/")[-1] == "data.pkl"]
        self._root = min(roots, default="")
        if len(roots) != 1 or pickles != [f"{self._root}/data.pkl"]:
            raise _Fault(f"{len(pickles)} data.pkl and {len(roots)} root folders in the zip, not one of each")

    def read_pickle(self) -> bytes:
        order = f"{self._root}/byteorder"
        if order in self._entries and self._read(order) != b"little":
            raise _Fault("byte order other than little", _RESAVE)
        name = f"{self._root}/data.pkl"
        if (size := self._entries[name].file_size) > _MAX_PICKLE_BYTES:
            raise _Fault(f"data.pkl has {size} bytes, more than {_MAX_PICKLE_BYTES}")
        return self._read(name)

    def storage(self, persistent_id: Any) -> _Storage:
        """Returns the storage of the id ("storage", class, key, device, numel), read once."""
        match persistent_id:
            case ("storage", _Global(name), str(key), str(), int(numel)) if name in _STORAGES:
                dtype = _STORAGES[name]
            case _:
                raise _Fault("persistent id other than ('storage', class, key, device, numel)")
        info = self._entries.get(f"{self._root}/data/{key}")
        if info is None:
            raise _Fault(f"storage data/{_printable(key)} is missing", _AGAIN)
        if info.file_size != numel * dtype.itemsize:
            fault = f"storage data/{_printable(key)} has {info.file_size} bytes, not {numel} elements of {dtype}"
            raise _Fault(fault, _AGAIN)
        if key not in self._storages:
            data = self._read(info.filename)
            if dtype == np.bool_ and np.frombuffer(data, np.uint8).max(initial=0) > 1:
                raise _Fault(f"storage data/{key} holds booleans other than 0 and 1", _AGAIN)
            self._storages[key] = _Storage(data, dtype)
        if self._storages[key].dtype != dtype:
            raise _Fault(f"storage data/{key} is declared as {dtype} and as {self._storages[key].dtype}")
        return self._storages[key]

    def _read(self, name: str) -> bytes:
        info = self._entries[name]
        self._file.seek(info.header_offset)
        header = _LOCAL_HEADER.unpack(self._file.read(_LOCAL_HEADER.size))
        signature, _, flags, method, *_, name_bytes, extra_bytes = header
        found = (signature, flags, method, self._file.read(name_bytes))
        if found != (b"PK\3\4", info.flag_bits, zipfile.ZIP_STORED, name.encode()):
            raise _Fault(f"the two zip headers of {_printable(name)} disagree")
        self._file.seek(extra_bytes, os.SEEK_CUR)
        data = self._file.read(info.file_size)
        if len(data) != info.file_size or zlib.crc32(data) != info.CRC:
            raise _Fault(f"checksum (CRC-32) of {_printable(name)} is wrong: the file is damaged", _AGAIN)
        return data


def _check_format(file: BinaryIO, file_bytes: int) -> None:
    head = file.read(512)
    if not head:
        raise _Fault("the file is empty", _AGAIN)
    if not head.startswith(b"PK\3\4"):
        for magic, name, advice in _OTHER_FORMATS:
            if head.lstrip().startswith(magic):
                raise _Fault(f"{name}, not torch's zip format", advice)
        if head[257:262] == b"ustar":
            raise _Fault("a tar archive, not torch's zip format", _RESAVE)
        if head[8:9] == b"{":
            raise _Fault("a safetensors file, not torch's zip format", "load it as safetensors")
        raise _Fault("not a zip file, so not written by torch 1.6 or later", _RESAVE)
    file.seek(max(file_bytes - _END_RECORD_BYTES, 0))
    if not file.read().startswith(b"PK\5\6"):
        raise _Fault("cut, or followed by other bytes: the end record of the zip is not at the end", _AGAIN)


def _check_entry(info: zipfile.ZipInfo) -> None:
    name = info.orig_filename
    if info.compress_type != zipfile.ZIP_STORED or info.compress_size != info.file_size:
        raise _Fault(f"zip entry {_printable(name)} is compressed, which torch never does")
    if info.flag_bits & ~_DATA_DESCRIPTOR_AND_UTF8:
        raise _Fault(f"zip entry {_printable(name)} is encrypted or has other flags ({info.flag_bits:#06x})")
    parts = name.split("/")
    if len(parts) < 2 or {"", ".", ".."} & set(parts) or "\\" in name or info.filename != name:
        raise _Fault(f"zip entry {_printable(name)} has an unsafe path")


def _scan(pickle: bytes, max_opcodes: int) -> None:
    """Refuses a pickle with opcodes or globals off the allowlists, naming them, before anything is built."""
    faults: dict[str, None] = {}  # an ordered set
    for fault in _pickle_faults(pickle, max_opcodes):
        faults[fault] = None
        if len(faults) == _MAX_FAULTS:
            break
    if faults:
        raise _Fault(f"data.pkl has what no weights file needs: {', '.join(faults)}")


def _opcodes(pickle: bytes) -> Iterator[tuple[str, Any, int]]:
    """Name, argument and position of each opcode."""
    for opcode, argument, position in pickletools.genops(pickle):
        yield opcode.name, argument, position or 0


def _pickle_faults(pickle: bytes, max_opcodes: int) -> Iterator[str]:
    # What the last two opcodes pushed, and the memo: enough to name, not to trust, what STACK_GLOBAL takes.
    pushed: tuple[Any, Any] = (None, None)
    memo: dict[int, Any] = {}
    end = 0
    try:
        for count, (name, argument, position) in enumerate(_opcodes(pickle)):
            end = position + 1
            if count == max_opcodes:
                yield f"more than {max_opcodes} opcodes, too many for its size"
                return
            if name not in _OPCODES:
                yield f"opcode {name}"
            if name == "PROTO" and argument != 2:
                yield f"pickle protocol {argument}, not 2"
            elif name == "INST" or (name == "GLOBAL" and argument not in _GLOBALS):
                yield f"global {_printable(argument.replace(' ', '.', 1))}"
            elif name == "STACK_GLOBAL" and all(isinstance(text, str) for text in pushed):
                yield f"global {_printable('.'.join(pushed))}"
            if name in ("PUT", "BINPUT", "LONG_BINPUT", "MEMOIZE"):
                memo[len(memo) if argument is None else argument] = pushed[1]
            elif name in ("GET", "BINGET", "LONG_BINGET"):
                pushed = (pushed[1], memo.get(argument))
            elif name not in ("PROTO", "FRAME"):
                pushed = (pushed[1], argument)
        if end < len(pickle):
            yield f"{len(pickle) - end} bytes after the end of the pickle"
    except ValueError as error:
        yield f"malformed pickle after byte {end} ({_printable(error)})"


def _build(pickle: bytes, archive: _Archive) -> Any:
    """Interprets a scanned pickle; one that runs out of stack or memo ends in an IndexError or KeyError."""
    stack: list[Any] = []
    outer: list[list[Any]] = []  # the stacks below each mark
    memo: dict[int, Any] = {}
    for name, argument, _ in _opcodes(pickle):
        match name:
            case "BINPUT" | "LONG_BINPUT":
                memo[argument] = stack[-1]
            case "BINGET" | "LONG_BINGET":
                stack.append(memo[argument])
            case _ if name in _LITERALS:
                stack.append(argument)
            case "NONE":
                stack.append(None)
            case "NEWTRUE" | "NEWFALSE":
                stack.append(name == "NEWTRUE")
            case "EMPTY_TUPLE":
                stack.append(())
            case "EMPTY_LIST":
                stack.append([])
            case "EMPTY_DICT":
                stack.append({})
            case "MARK":
                outer.append(stack)
                stack = []
            case "TUPLE":
                items, stack = stack, outer.pop()
                stack.append(tuple(items))
            case "TUPLE1" | "TUPLE2" | "TUPLE3":
                items = [stack.pop() for _ in range(int(name[-1]))]
                stack.append(tuple(reversed(items)))
            case "APPEND":
                _extend(stack[-2], [stack.pop()])
            case "APPENDS":
                items, stack = stack, outer.pop()
                _extend(stack[-1], items)
            case "SETITEM":
                value, key = stack.pop(), stack.pop()
                _update(stack[-1], [key, value])
            case "SETITEMS":
                items, stack = stack, outer.pop()
                _update(stack[-1], items)
            case "GLOBAL":
                stack.append(_Global(argument))
            case "BINPERSID":
                stack.append(archive.storage(stack.pop()))
            case "REDUCE":
                arguments, function = stack.pop(), stack.pop()
                stack.append(_reduce(function, arguments))
            case "BUILD":
                state, target = stack.pop(), stack[-1]
                if type(target) is not OrderedDict or type(state) is not dict or list(state) != ["_metadata"]:
                    raise _Fault("BUILD of other than the _metadata of an OrderedDict")
            case "STOP":
                if len(stack) != 1 or outer:
                    raise _Fault("the pickle ends with other than one object")
    return stack[0]


def _extend(target: Any, items: list[Any]) -> None:
    if type(target) is not list:
        raise _Fault(f"APPEND to {type(target).__name__}")
    target.extend(items)


def _update(target: Any, items: list[Any]) -> None:
    """Sets items = [key, value, key, value, ...]."""
    if type(target) not in (dict, OrderedDict) or len(items) % 2:
        raise _Fault(f"SETITEM of {len(items)} objects in {type(target).__name__}")
    for key, value in zip(items[::2], items[1::2], strict=True):
        # Hashing a deep tuple would overflow the stack, and weights files have no other keys.
        if type(key) not in (str, int):
            raise _Fault(f"dictionary key of type {type(key).__name__}")
        target[key] = value


def _reduce(function: Any, arguments: Any) -> Any:
    """Stands for the call of a global on the allowlist."""
    name = function.name if isinstance(function, _Global) else type(function).__name__
    match arguments if type(arguments) is tuple else None:
        case () if name == _ORDERED_DICT:
            return OrderedDict()
        case (np.ndarray() as array, bool(), OrderedDict() as hooks) if name == _PARAMETER and not hooks:
            return array
        case (_Storage() as storage, offset, tuple(size), tuple(stride), bool(), OrderedDict() as hooks) if (
            name == _TENSOR and not hooks
        ):
            return _tensor(storage, offset, size, stride)
    raise _Fault(f"{name.replace(' ', '.')} called with arguments that torch does not write")


def _tensor(storage: _Storage, offset: Any, size: tuple, stride: tuple) -> np.ndarray:
    """Returns the view of the storage that _rebuild_tensor_v2 makes; offset and stride count elements."""
    if len(size) != len(stride) or len(size) > _MAX_DIMENSIONS:
        raise _Fault(f"tensor with {len(size)} sizes and {len(stride)} strides")
    if any(type(n) is not int or not 0 <= n < 2**63 for n in (offset, *size, *stride)):
        raise _Fault("tensor with an offset, size or stride that is negative, too large or no integer")
    count = math.prod(size)
    last = offset + sum((n - 1) * step for n, step in zip(size, stride, strict=True)) if count else offset - 1
    # More elements than the storage has: an expanded tensor, small in the file and of any size in memory.
    if count > storage.numel or last >= storage.numel:
        raise _Fault(f"tensor of size {_printable(size)} reaches beyond its storage of {storage.numel}")
    itemsize = storage.dtype.itemsize
    strides = [step * itemsize if n > 1 else itemsize for n, step in zip(size, stride, strict=True)]
    return np.ndarray(size, storage.dtype, storage.data, offset * itemsize, strides)


def _check_tree(node: Any, depth: int, seen: dict[int, int]) -> None:
    """Refuses depth, cycles and parts that are not plain data; `seen` spares shared parts a second walk."""
    if depth > _MAX_DEPTH:
        raise _Fault(f"objects nested deeper than {_MAX_DEPTH}, or holding themselves")
    if seen.get(id(node), -1) >= depth:
        return
    if isinstance(node, dict | list | tuple):
        if node:
            seen[id(node)] = depth
        for child in node.values() if isinstance(node, dict) else node:
            _check_tree(child, depth + 1, seen)
    elif node is not None and not isinstance(node, str | int | float | np.ndarray):
        raise _Fault(f"{type(node).__name__.strip('_').lower()} outside a tensor")


def _printable(text: object) -> str:
    """Returns text from the file in printable ASCII and of bounded length."""
    text = ascii(str(text))[1:-1]
    return text if len(text) <= 120 else f"{text[:120]}..."
