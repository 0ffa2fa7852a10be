"""Reading safetensors files as numpy arrays, bfloat16 included."""

import json
from collections.abc import Callable
from pathlib import Path

import ml_dtypes  # noqa: F401  lets safetensors make bfloat16 arrays
import numpy as np
import safetensors

_DTYPES = ("BOOL", "U8", "I8", "U16", "I16", "U32", "I32", "U64", "I64", "F16", "BF16", "F32", "F64", "C64")
_MAX_DIMENSIONS = 32


class DamagedFile(ValueError):
    """Not a whole, well-formed safetensors file."""


def read_safetensors(path: Path, wanted: Callable[[str], bool] | None = None) -> dict[str, np.ndarray]:
    """Tensors by name.

    Args:
        path: The file.
        wanted: Which names are read; None = all.

    Raises:
        DamagedFile: the file is cut, inconsistent, names a tensor twice, or holds wanted tensors that numpy has no
            dtype for (float8); all are named.
    """
    try:
        with safetensors.safe_open(path, framework="numpy") as file:
            names = file.keys()
            held = [name for name in names if wanted is None or wanted(name)]
            if faults := _faults(path, set(held)):
                raise DamagedFile(f"{path}: {'; '.join(faults)}")
            return {name: file.get_tensor(name) for name in held}
    except FileNotFoundError:
        raise DamagedFile(f"{path}: is missing; copy or download it again") from None
    except (safetensors.SafetensorError, OSError, OverflowError, MemoryError, KeyError, TypeError) as error:
        raise DamagedFile(f"{path}: not a whole safetensors file ({error}); copy or download it again") from None


def _faults(path: Path, wanted: set[str]) -> list[str]:
    """What safetensors does not look at in the header of a file that it opened."""
    with path.open("rb") as file:
        header = file.read(int.from_bytes(file.read(8), "little"))
    all_entries = json.loads(header, object_pairs_hook=list)
    names = [name for name, _ in all_entries if name != "__metadata__"]
    entries = [(name, dict(entry)) for name, entry in all_entries if name in wanted]
    twice = sorted({name for name in names if names.count(name) > 1}) if len(set(names)) < len(names) else []
    odd = [f"{name} ({entry['dtype']})" for name, entry in entries if entry["dtype"] not in _DTYPES]
    deep = [name for name, entry in entries if len(entry["shape"]) > _MAX_DIMENSIONS]
    return [
        *([f"tensors named twice: {twice}"] if twice else []),
        *([f"dtypes that are not read: {', '.join(odd)}; save them as float32 or bfloat16"] if odd else []),
        *([f"tensors of more than {_MAX_DIMENSIONS} dimensions: {deep}"] if deep else []),
    ]
