"""Decoding ahead of the computation: inputs become clips or errors."""

import itertools
import os
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

from urgentmos_jax.audio.loading import AudioError, Clip, load_audio

# Clips are decoded and batched in groups of so many: enough for batches of like length, little to hold in memory.
_GROUP = 256


@dataclass
class Decoded:
    """One input after decoding: a clip or an error."""

    uid: str
    path: str | None
    clip: Clip | AudioError


class Decoder:
    """Decodes inputs in threads, one group ahead of the computation. Entered, it gives lists of `Decoded`, in order.

    Args:
        sources: (uid, path or array) of each input.
        sample_rate: Of the arrays, in Hz.
        min_samples: Of the shortest clip that is no error, at 16 kHz.
    """

    def __init__(self, sources: Iterable[tuple[str, Any]], sample_rate: int | None, min_samples: int):
        self._sources = iter(sources)
        self._sample_rate, self._min_samples = sample_rate, min_samples

    def __enter__(self) -> Iterator[list[Decoded]]:
        self._pool = ThreadPoolExecutor(max(2, os.cpu_count() or 2), thread_name_prefix="decode")
        return self._groups()

    def __exit__(self, *error: object) -> None:
        self._pool.shutdown(wait=True, cancel_futures=True)

    def _groups(self) -> Iterator[list[Decoded]]:
        # The first group is small, so that the device has work early.
        ahead = self._submit(_GROUP // 8)
        while ahead:
            now, ahead = ahead, self._submit(_GROUP)
            yield [future.result() for future in now]

    def _submit(self, count: int) -> list[Future[Decoded]]:
        return [self._pool.submit(self._decode, *named) for named in itertools.islice(self._sources, count)]

    def _decode(self, uid: str, source: Any) -> Decoded:
        path = source_path(source)
        rate = None if path is not None else self._sample_rate
        try:
            clip = load_audio(source, rate, name=path or uid, min_samples=self._min_samples)
        except AudioError as error:
            return Decoded(uid, path, error)
        return Decoded(uid, path, clip)


def source_path(source: Any) -> str | None:
    """Path of an input, None of an array."""
    return str(source) if isinstance(source, (str, os.PathLike)) else None


def source_name(source: Any, index: int) -> str:
    """What an input is called that has no uid: its path, or `array-<index>`."""
    return source_path(source) or f"array-{index}"
