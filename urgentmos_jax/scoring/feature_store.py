"""Features of windows while they wait for the last comparison of their recording: in memory, else on disk."""

import tempfile
from collections import defaultdict
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from urgentmos_jax.scoring.rows import EncodedWindow

# Samples of a window, and the file of its features.
_Spilled = tuple[int, Path]


class FeatureStore:
    """Encoded windows of recordings; those that memory has no room for lie on disk until their recording is dropped.

    Args:
        max_bytes: Of features in memory.
        spill_dir: Folder for the others; None = a temporary one.
    """

    def __init__(self, max_bytes: int, spill_dir: Path | None = None):
        self._max_bytes, self._spill_dir = max_bytes, spill_dir
        self._held: dict[int, list[EncodedWindow | _Spilled]] = defaultdict(list)
        self._bytes = 0
        self._folder: tempfile.TemporaryDirectory[str] | None = None

    def __enter__(self) -> "FeatureStore":
        return self

    def __exit__(self, *error: object) -> None:
        if self._folder is not None:
            self._folder.cleanup()

    def put(self, index: int, window: EncodedWindow) -> None:
        """Keeps the features of the next window of a recording."""
        held, size = self._held[index], feature_bytes(window)
        if self._bytes + size > self._max_bytes:
            held.append((window.samples, self._spill(f"{index}-{len(held)}", window.features)))
        else:
            self._bytes += size
            held.append(EncodedWindow(window.samples, {}, {}, window.features))

    def window(self, index: int, place: int) -> EncodedWindow:
        """A window of a recording: its length and its features."""
        held = self._held[index][place]
        if isinstance(held, EncodedWindow):
            return held
        samples, file = held
        with np.load(file) as arrays:
            return EncodedWindow(samples, {}, {}, {name: arrays[name] for name in arrays.files})

    def drop(self, index: int) -> None:
        """Forgets a recording."""
        for held in self._held.pop(index, []):
            if isinstance(held, EncodedWindow):
                self._bytes -= feature_bytes(held)
            else:
                held[1].unlink()

    def _spill(self, name: str, features: Mapping[str, np.ndarray]) -> Path:
        if self._folder is None:
            self._folder = tempfile.TemporaryDirectory(prefix="features-", dir=self._spill_dir)
        file = Path(self._folder.name, f"{name}.npz")
        arrays: dict[str, Any] = dict(features)
        np.savez(file, **arrays)
        return file


def feature_bytes(window: EncodedWindow) -> int:
    """Memory that the features of a window take."""
    return sum(x.nbytes for x in window.features.values())
