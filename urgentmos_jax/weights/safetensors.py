"""Reading safetensors files as numpy arrays, bfloat16 included."""

import json
from collections.abc import Callable
from pathlib import Path

import ml_dtypes  # noqa: F401  lets safetensors make bfloat16 arrays
import numpy as np
import safetensors


class DamagedFile(ValueError):
    """Not a whole, well-formed safetensors file."""


def read_safetensors(path: Path, wanted: Callable[[str], bool] | None = None) -> dict[str, np.ndarray]:
    """Tensors by name.

    Args:
        path: The file.
        wanted: Which names are read; None = all.

    Raises:
        DamagedFile: the file is cut, inconsistent, or names a tensor twice.
    """
    try:
        with safetensors.safe_open(path, framework="numpy") as file:
            held = file.keys()
            tensors = {name: file.get_tensor(name) for name in held if wanted is None or wanted(name)}
        with open(path, "rb") as file:
            header = file.read(int.from_bytes(file.read(8), "little"))
    except FileNotFoundError:
        raise DamagedFile(f"{path}: is missing; copy or download it again") from None
    except (safetensors.SafetensorError, OSError, OverflowError, MemoryError, KeyError, TypeError) as error:
        raise DamagedFile(f"{path}: not a whole safetensors file ({error}); copy or download it again") from None
    names = [name for name, _ in json.loads(header, object_pairs_hook=list) if name != "__metadata__"]
    if twice := sorted({name for name in names if names.count(name) > 1}) if len(set(names)) < len(names) else []:
        raise DamagedFile(f"{path}: tensors named twice: {twice}")
    return tensors
