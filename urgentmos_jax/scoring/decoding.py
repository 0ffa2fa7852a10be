"""Decoding ahead of the computation: inputs become clips or errors, clips become windows."""

import itertools
import os
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import numpy as np

from urgentmos_jax.audio.loading import AudioError, Clip, load_audio

__all__ = ["Decoded", "Decoder", "Window", "named_sources"]

# Clips are decoded and batched in groups of so many: enough for batches of like length, little to hold in memory.
_GROUP = 256


@dataclass
class Window:
    """Part of a clip that is computed at once."""

    place: int
    waveform: np.ndarray

    @property
    def samples(self) -> int:
        return len(self.waveform)


@dataclass
class Decoded:
    """One input after decoding: a clip or an error."""

    uid: str
    path: str | None
    clip: Clip | None = None
    error: AudioError | None = None

    def windows(self, place: int, *, longest: int, shortest: int) -> Iterator[Window]:
        """Its windows of at most `longest` samples; a last one under `shortest` is left out."""
        if self.clip is not None:
            for start in range(0, len(self.clip.waveform), longest):
                part = self.clip.waveform[start : start + longest]
                if start == 0 or len(part) >= shortest:
                    yield Window(place, part)

    def flags(self, *, longest: int, shortest: int) -> list[str]:
        """What its row says about it."""
        flags, samples = list(self.clip.flags), len(self.clip.waveform)
        if samples > longest:
            flags.append("windowed")
            if 0 < samples % longest < shortest:
                flags.append("tail_left_out")
        return flags


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

    def _submit(self, count: int) -> list[Future]:
        return [self._pool.submit(self._decode, *named) for named in itertools.islice(self._sources, count)]

    def _decode(self, uid: str, source: Any) -> Decoded:
        path = str(source) if isinstance(source, (str, os.PathLike)) else None
        rate = None if path is not None else self._sample_rate
        try:
            clip = load_audio(source, rate, name=path or uid, min_samples=self._min_samples)
        except AudioError as error:
            return Decoded(uid, path, error=error)
        return Decoded(uid, path, clip)


def named_sources(inputs: Iterable[Any], uids: Iterable[str] | None) -> Iterator[tuple[str, Any]]:
    """(uid, input) of each; without uids its path, or `array-<place>`."""
    if uids is not None:
        yield from zip(uids, inputs, strict=True)
        return
    for place, source in enumerate(inputs):
        yield (str(source) if isinstance(source, (str, os.PathLike)) else f"array-{place}"), source
