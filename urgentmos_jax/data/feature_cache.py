"""The feature cache: states of frozen encoders in float16 files, written once and read in place of being computed.

A shard is `<name>.f16`, values one clip after the other in little-endian float16, and `<name>.json`, written last,
which says where each clip's are and their CRC-32. A shard without it does not count. A clip goes by its path, declared
duration, size and time of change, so that other audio under the same path is not taken for it. A second of audio takes
1 MB with WavLM-base-plus and its thirteen states, 0.08 MB with the last layer alone.
"""

import dataclasses
import json
import logging
import os
import zlib
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np

from urgentmos_jax.audio.loading import AudioError
from urgentmos_jax.data.training_set import TrainingSet
from urgentmos_jax.files import write_text

logger = logging.getLogger(__name__)

SHARD_BYTES = 2**30
# Of a shard's list; version 1 had neither its number nor size and time of the audio.
FORMAT_VERSION = 2
_THREADS = 16


class DamagedStates(RuntimeError):
    """A file of stored states is not what was written; the message names it."""


class FeatureCacheError(RuntimeError):
    """States cannot be stored; the message says why and what to do."""


@dataclasses.dataclass(frozen=True)
class StateShape:
    """What is stored of one encoder.

    Args:
        encoder: Its index in the model.
        states: Number of hidden states, or None for the last layer alone.
        width: Features of a frame.
        frames: Number of frames of so many samples.
    """

    encoder: int
    states: int | None
    width: int
    frames: Callable[[int], int]

    def shape(self, samples: int) -> tuple[int, ...]:
        """[F, D], or [L + 1, F, D] for all hidden states, of a clip of so many samples."""
        clip = (int(self.frames(samples)), self.width)
        return clip if self.states is None else (self.states, *clip)

    def bytes(self, samples: int) -> int:
        """Size of a clip of so many samples."""
        return 2 * int(np.prod(self.shape(samples)))


def clip_names(data: TrainingSet) -> list[str]:
    """The names of clips in the cache: `path:seconds:bytes:nanoseconds`, the last two 0 where there is no file."""

    def stamp(path: str) -> str:
        try:
            found = os.stat(path)
        except OSError:
            return "0:0"
        return f"{found.st_size}:{found.st_mtime_ns}"

    with ThreadPoolExecutor(_THREADS) as pool:
        stamps = pool.map(stamp, data.paths)
        return [
            f"{path}:{seconds:.3f}:{one}" for path, seconds, one in zip(data.paths, data.seconds, stamps, strict=True)
        ]


def without_stamp(name: str) -> str:
    """`path:seconds` of a name: what stays where audio is changed."""
    return name.rsplit(":", 2)[0]


class StoredStates:
    """States of clips.

    Args:
        folder: Of the shards.
        shapes: What is stored, encoder by encoder.
        whole: Whether every encoder of the model is stored, so that waveforms are not needed.
        names: Of the clips of a training set, see `clip_names`.

    Raises:
        DamagedStates: a shard is shorter than its list says, or the list cannot be read.
    """

    def __init__(self, folder: Path, shapes: Sequence[StateShape], *, whole: bool, names: Sequence[str] = ()):
        self.folder, self.shapes, self.whole, self.names = Path(folder), tuple(shapes), whole, names
        self._clips: dict[str, tuple[str, int, int, int, int]] = {}
        self._failed: dict[str, dict[str, str]] = {}
        for path in sorted(self.folder.glob("*.json")):
            try:
                listed = json.loads(path.read_text(encoding="utf-8"))
                if listed.get("format_version") != FORMAT_VERSION:
                    logger.warning("%s: a shard of another release, not used; it may be removed", path)
                    continue
                shard = path.with_suffix(".f16")
                if shard.stat().st_size != listed["bytes"]:
                    raise ValueError(f"{shard.name} has {shard.stat().st_size} bytes, expected {listed['bytes']}")
                self._clips |= {name: (shard.name, *where) for name, where in listed["clips"].items()}
                self._failed |= listed["failed"]
            except (OSError, ValueError, LookupError) as error:
                raise DamagedStates(f"{path}: {error}; remove this shard, it is then written again") from error

    def __contains__(self, name: str) -> bool:
        return name in self._clips or name in self._failed

    def __iter__(self) -> Iterator[str]:
        yield from self._clips
        yield from self._failed

    def __len__(self) -> int:
        return len(self._clips) + len(self._failed)

    def read(self, name: str) -> tuple[int, list[np.ndarray]]:
        """Samples of a clip, and its states by encoder, float16, as `StateShape.shape` says.

        Args:
            name: Of `clip_names`.

        Raises:
            AudioError: the clip could not be decoded when states were written.
            DamagedStates: the values are not what was written.
        """
        if name in self._failed:
            failed = self._failed[name]
            raise AudioError(failed["code"], failed["message"], _path(name))
        file, start, size, crc, samples = self._clips[name]
        with (self.folder / file).open("rb") as shard:
            shard.seek(start)
            content = shard.read(size)
        if zlib.crc32(content) != crc or size != sum(one.bytes(samples) for one in self.shapes):
            raise DamagedStates(
                f"{self.folder / file}: the states of {name} are not what was written; remove this shard, it is then "
                f"written again"
            )
        values, found = np.frombuffer(content, "<f2"), []
        for shape in (one.shape(samples) for one in self.shapes):
            count = int(np.prod(shape))
            found.append(values[:count].reshape(shape))
            values = values[count:]
        return samples, found


class StateWriter:
    """Writes shards `<prefix>-00000.f16` and so on, beside those that are there; `close` ends the last.

    Args:
        folder: Exists.
        shapes: What is stored, encoder by encoder.
        prefix: A different one for each process that writes into the folder.
    """

    def __init__(self, folder: Path, shapes: Sequence[StateShape], prefix: str):
        self._folder, self._shapes, self._prefix = folder, shapes, prefix
        self._open()

    def _open(self) -> None:
        taken = {path.stem for path in self._folder.glob(f"{self._prefix}-*.json")}
        stem = next(stem for n in range(len(taken) + 1) if (stem := f"{self._prefix}-{n:05d}") not in taken)
        self._path = self._folder / f"{stem}.f16"
        self._file = self._path.open("wb")
        self._clips: dict[str, tuple[int, int, int, int]] = {}
        self._failed: dict[str, dict[str, str]] = {}

    def add(self, name: str, samples: int, states: Sequence[np.ndarray]) -> None:
        """Takes the states of a clip.

        Args:
            name: Of `clip_names`.
            samples: Of the clip.
            states: By encoder, [F, D] or [L + 1, F, D] with frames of padding behind those of the clip.

        Raises:
            FeatureCacheError: a value does not fit float16.
        """
        parts = []
        for one, values in zip(self._shapes, states, strict=True):
            values = values[..., : one.shape(samples)[-2], :]
            with np.errstate(over="ignore"):
                part = values.astype("<f2")
            if not np.isfinite(part).all():
                raise FeatureCacheError(
                    f"{_path(name)}: states of encoder {one.encoder} do not fit float16 (largest "
                    f"{np.abs(values).max():g}); leave data.feature_cache empty for this encoder"
                )
            parts.append(part.tobytes())
        content, start = b"".join(parts), self._file.tell()
        self._file.write(content)
        self._clips[name] = (start, len(content), zlib.crc32(content), samples)

    def add_failed(self, name: str, error: AudioError) -> None:
        """Notes that a clip cannot be decoded."""
        self._failed[name] = {"code": error.code, "message": error.message}

    def end_batch(self) -> None:
        """Begins another shard where this one is large enough."""
        if self._file.tell() >= SHARD_BYTES:
            self.close()
            self._open()

    def close(self) -> None:
        """Makes the shard count."""
        size = self._file.tell()
        self._file.close()
        listed = {"format_version": FORMAT_VERSION, "bytes": size, "clips": self._clips, "failed": self._failed}
        write_text(self._path.with_suffix(".json"), json.dumps(listed) + "\n")


def _path(name: str) -> str:
    return name.rsplit(":", 3)[0]
