"""safetensors files: what is sound is read; all else is refused with every key at fault."""

import json
import tracemalloc
from pathlib import Path

import ml_dtypes
import numpy as np
import pytest

from urgentmos_jax.weights.safetensors import DamagedFile, read_safetensors

EIGHT = bytes(8)


def entry(shape=(2,), start=0, end=8, dtype="F32", **more) -> dict:
    return {"dtype": dtype, "shape": list(shape), "data_offsets": [start, end], **more}


def twice(*names: str, content=None) -> str:
    return "{" + ", ".join(f'"{name}": {json.dumps(content or entry((0,), 0, 0))}' for name in names) + "}"


def written(path: Path, header: dict | str | bytes, data: bytes = EIGHT, length: int | None = None) -> Path:
    text = json.dumps(header) if isinstance(header, dict) else header
    text = text.encode() if isinstance(text, str) else text
    path.write_bytes((len(text) if length is None else length).to_bytes(8, "little") + text + data)
    return path


GOOD = {"a": entry()}
# (header, data, length that is claimed of the header, what the message says.)
BAD = {
    "empty": (b"", b"", None, "again"),
    "header-of-2-63": (GOOD, EIGHT, 2**63, "header too large"),
    "header-of-all-ones": (GOOD, EIGHT, 2**64 - 1, "header too large"),
    "header-of-101-mb": (GOOD, EIGHT, 101 * 2**20, "header too large"),
    "header-longer-than-the-file": (GOOD, EIGHT, 500, "again"),
    "header-cut": (GOOD, EIGHT, 40, "again"),
    "header-not-utf8": (b'{"\xff": 3}', b"", None, "again"),
    "header-deep": ('{"a": ' * 100_000, b"", None, "again"),
    "header-a-list": ("[]", b"", None, "again"),
    "metadata-no-text": ({"__metadata__": {"a": 1}, **GOOD}, EIGHT, None, "again"),
    "metadata-twice": (twice("__metadata__", "__metadata__", content={}), b"", None, "again"),
    "cut": (GOOD, bytes(7), None, "again"),
    "bytes-behind": (GOOD, bytes(9), None, "again"),
    "overlap": ({"a": entry(), "b": entry(start=4, end=12)}, bytes(12), None, "again"),
    "same-bytes": ({"a": entry(), "b": entry()}, EIGHT, None, "again"),
    "hole": ({"a": entry(), "b": entry(start=12, end=20)}, bytes(20), None, "again"),
    "reversed": ({"a": entry(start=8, end=0)}, EIGHT, None, "again"),
    "offset-negative": ({"a": entry(start=-8, end=0)}, EIGHT, None, "again"),
    "offset-huge": ({"a": entry(start=2**63, end=2**63 + 8)}, EIGHT, None, "again"),
    "shape-overflow": ({"a": entry((2**62, 4))}, EIGHT, None, "again"),
    "shape-negative": ({"a": entry((-2,))}, EIGHT, None, "again"),
    "shape-of-fractions": ({"a": entry((2.0,))}, EIGHT, None, "again"),
    "shape-too-small": ({"a": entry((1,))}, EIGHT, None, "again"),
    "shape-of-10-gb": ({"a": entry((10 * 2**28,), 0, 10 * 2**30)}, EIGHT, None, "again"),
    "shape-of-200-dimensions": ({"a": entry((1,) * 200, 0, 4)}, bytes(4), None, "more than 32 dimensions: ['a']"),
    "dtype-unknown": ({"a": entry(dtype="F99")}, EIGHT, None, "again"),
    "dtype-float8": (
        {"a": entry((4,), 0, 4, "F8_E5M2"), "b": entry((4,), 4, 8, "F8_E4M3"), "c": entry((0,), 8, 8)},
        EIGHT,
        None,
        "dtypes that are not read: a (F8_E5M2), b (F8_E4M3); save them",
    ),
    "dtype-of-part-of-a-byte": ({"a": entry((16,), 0, 8, "F4")}, EIGHT, None, "dtypes that are not read: a (F4)"),
    "dtype-twice": (
        '{"a": {"dtype": "F32", "dtype": "I32", "shape": [2], "data_offsets": [0, 8]}}',
        EIGHT,
        None,
        "again",
    ),
    "keys-twice": (twice("a", "b", "a", "c", "b"), b"", None, "tensors named twice: ['a', 'b']"),
    "no-tensor": ('{"a": 3}', b"", None, "again"),
    "dtype-missing": ({"a": {"shape": [2], "data_offsets": [0, 8]}}, EIGHT, None, "again"),
}


@pytest.mark.parametrize("name", BAD)
def test_refused(name, tmp_path):
    header, data, length, words = BAD[name]
    path = written(tmp_path / "a.safetensors", header, data, length)
    tracemalloc.start()
    try:
        with pytest.raises(DamagedFile) as error:
            read_safetensors(path)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert str(path) in str(error.value) and words in str(error.value)
    assert peak < 2 * path.stat().st_size + 2**20


def test_what_is_not_wanted_is_not_in_the_way(tmp_path):
    path = written(tmp_path / "a.safetensors", {"a": entry((8,), 0, 8, "F8_E5M2"), "b": entry((2,), 8, 16)}, bytes(16))
    assert list(read_safetensors(path, lambda name: name == "b")) == ["b"]


def test_read(tmp_path):
    values = np.array([1.5, -2.0, 3.0e38, np.nan])
    header = {
        "__metadata__": {"format": "pt"},
        "half": entry((4,), 0, 8, "BF16"),
        "single": entry((2, 2), 8, 24),
        "empty": entry((2, 0), 24, 24),
        "scalar": entry((), 24, 32, "I64"),
    }
    with np.errstate(over="ignore"):
        data = values.astype(ml_dtypes.bfloat16).tobytes() + values.astype(np.float32).tobytes()
    found = read_safetensors(written(tmp_path / "a.safetensors", header, data + (7).to_bytes(8, "little")))
    assert found["half"].dtype == ml_dtypes.bfloat16
    np.testing.assert_array_equal(
        found["half"].astype(np.float32), values.astype(ml_dtypes.bfloat16).astype(np.float32)
    )
    np.testing.assert_array_equal(found["single"], values.astype(np.float32).reshape(2, 2))
    assert found["empty"].shape == (2, 0) and found["scalar"] == 7
