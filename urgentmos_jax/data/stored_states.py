"""Encoder states of clips in float16 files, read instead of computed: the reading side of the frozen-feature cache.

A shard is `<name>.f16`, values one clip after the other in little-endian float16, and `<name>.json`, written last,
which says where each clip's are and their CRC-32. A shard without it does not count.
"""

import dataclasses
import json
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from urgentmos_jax.audio.loading import AudioError

__all__ = ["DamagedStates", "StateShape", "StoredStates"]


class DamagedStates(RuntimeError):
    """A file of stored states is not what was written; the message names it."""


@dataclasses.dataclass(frozen=True)
class StateShape:
    """What is stored of one encoder.

    Args:
        encoder: Its place in the model.
        states: Hidden states, or None for the last layer alone.
        width: Features of a frame.
        frames: Frames of so many samples.
    """

    encoder: int
    states: int | None
    width: int
    frames: Any

    def shape(self, samples: int) -> tuple[int, ...]:
        """[F, D], or [L + 1, F, D] for all hidden states, of a clip of so many samples."""
        clip = (int(self.frames(samples)), self.width)
        return clip if self.states is None else (self.states, *clip)


class StoredStates:
    """States of clips.

    Args:
        folder: Of the shards.
        shapes: What is stored, encoder by encoder.
        whole: Whether every encoder of the model is stored, so that waveforms are not needed.

    Raises:
        DamagedStates: a shard is shorter than its list says, or the list cannot be read.
    """

    def __init__(self, folder: Path, shapes: Sequence[StateShape], *, whole: bool):
        self.folder, self.shapes, self.whole = Path(folder), tuple(shapes), whole
        self._places: dict[str, tuple[str, int, int, int, int]] = {}
        self._failed: dict[str, dict[str, str]] = {}
        for path in sorted(self.folder.glob("*.json")):
            try:
                listed = json.loads(path.read_text(encoding="utf-8"))
                shard = path.with_suffix(".f16")
                if shard.stat().st_size != listed["bytes"]:
                    raise ValueError(f"{shard.name} has {shard.stat().st_size} bytes, wanted are {listed['bytes']}")
                self._places |= {name: (shard.name, *place) for name, place in listed["clips"].items()}
                self._failed |= listed["failed"]
            except (OSError, ValueError, LookupError) as error:
                raise DamagedStates(f"{path}: {error}; remove this shard, it is then written again") from error

    @staticmethod
    def name(path: str, seconds: float) -> str:
        """Of a clip."""
        return f"{path}:{seconds:.3f}"

    def __contains__(self, name: str) -> bool:
        return name in self._places or name in self._failed

    def __len__(self) -> int:
        return len(self._places) + len(self._failed)

    def read(self, name: str) -> tuple[int, list[np.ndarray]]:
        """Samples of a clip, and its states by encoder, float16, as `StateShape.shape` says.

        Raises:
            AudioError: the clip could not be decoded when states were written.
            DamagedStates: the values are not what was written.
        """
        if name in self._failed:
            failed = self._failed[name]
            raise AudioError(failed["code"], failed["message"], name.rpartition(":")[0])
        file, start, size, crc, samples = self._places[name]
        with (self.folder / file).open("rb") as shard:
            shard.seek(start)
            content = shard.read(size)
        shapes = [one.shape(samples) for one in self.shapes]
        if zlib.crc32(content) != crc or size != 2 * sum(int(np.prod(shape)) for shape in shapes):
            raise DamagedStates(
                f"{self.folder / file}: the states of {name} are not what was written; remove this shard, it is then "
                f"written again"
            )
        values, found = np.frombuffer(content, "<f2"), []
        for shape in shapes:
            count = int(np.prod(shape))
            found.append(values[:count].reshape(shape))
            values = values[count:]
        return samples, found
