"""Decoding ahead of the computation: inputs become windows or errors, within a bound of seconds of audio."""

import itertools
import os
import threading
import time
from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np

from urgentmos_jax.audio.loading import SAMPLE_RATE_HZ, AudioBlocks, AudioError, is_open_file
from urgentmos_jax.audio.opening import reading_seconds
from urgentmos_jax.audio.recordings import Recording, Stored
from urgentmos_jax.scoring.times import Times
from urgentmos_jax.scoring.windows import cut_windows, recording_flags

# Windows are computed in groups of so many, and of so many seconds (or a batch): enough for batches of like length,
# little to hold in memory. As much is decoded ahead.
_GROUP_WINDOWS = 256
_GROUP_SECONDS = 1200.0
_SAMPLE_BYTES = 4


class Ending(NamedTuple):
    """What the row of a recording says of it: its length in seconds, its flags, its bandwidth."""

    duration_s: float
    flags: list[str]
    bandwidth_hz: float | None


@dataclass
class Decoded:
    """What a group holds of an input.

    Attributes:
        uid, path: Of the input; `path` None for an array or an open file.
        windows: [T] each, at 16 kHz: those that follow.
        end: After the last window; or why the input has no result. None: the next group has more of it.
    """

    uid: str
    path: str | None
    windows: list[np.ndarray] = field(default_factory=list)
    end: Ending | AudioError | None = None


@dataclass
class _Input:
    """An input while it is decoded: windows that wait to be taken, and what ended it."""

    uid: str
    path: str | None
    source: Any
    array_bytes: int
    windows: deque[np.ndarray] = field(default_factory=deque)
    end: Ending | BaseException | None = None


class Decoder:
    """Decodes inputs in threads, one group ahead of the computation. Entered, it gives lists of `Decoded`, in order.

    However long the inputs are, the windows that wait hold no more than a group does.

    Args:
        sources: (uid, path, open file or array) of each input; or `AudioBlocks`, read by then or not.
        sample_rate: Of the arrays, in Hz.
        longest: Samples of a window, at 16 kHz.
        shortest: Samples of the shortest recording that is no error, and of the shortest last window.
        batch_seconds: Audio that a group has at least, where there is so much.
        times: Are told what reading and decoding take.
    """

    def __init__(
        self,
        sources: Iterable[tuple[str, Any]],
        sample_rate: float | None,
        *,
        longest: int,
        shortest: int,
        batch_seconds: float,
        times: Times,
    ):
        self._sources, self._times = iter(sources), times
        self._sample_rate, self._limits = sample_rate, {"longest": longest, "shortest": shortest}
        self._group_samples = round(max(_GROUP_SECONDS, batch_seconds) * SAMPLE_RATE_HZ)
        self._inputs: deque[_Input] = deque()
        self._waiting_samples = self._array_bytes = 0
        self._stopped = False
        self._changed = threading.Condition()

    def __enter__(self) -> Iterator[list[Decoded]]:
        self._pool = ThreadPoolExecutor(max(2, os.cpu_count() or 2), thread_name_prefix="decode")
        # The first group is small, so that the device has work early.
        parts = itertools.chain([8], itertools.repeat(1))
        return itertools.takewhile(bool, (self._group(part) for part in parts))

    def __exit__(self, *error: object) -> None:
        with self._changed:
            self._stopped = True
            self._changed.notify_all()
        self._pool.shutdown(wait=True, cancel_futures=True)

    def _group(self, part: int) -> list[Decoded]:
        """The next group, of the usual size divided by `part`; empty at the end."""
        group: list[Decoded] = []
        count, samples = 0, 0
        most, most_samples = _GROUP_WINDOWS // part, self._group_samples // part
        while len(group) < most and count < most and samples < most_samples and (item := self._first_input()):
            one = Decoded(item.uid, item.path)
            group.append(one)
            while not (ended := self._has_ended(item)) and count < most and samples < most_samples:
                one.windows.append(self._take(item))
                count, samples = count + 1, samples + len(one.windows[-1])
            if ended:
                one.end = self._close(item)
        self._first_input()  # The next group is decoded while this one is computed.
        return group

    def _first_input(self) -> _Input | None:
        """The first input that is not closed, after more of them are given to the threads; None at the end."""
        # A path takes no room; arrays that are made as they are asked for do.
        while len(self._inputs) < 2 or (
            len(self._inputs) < _GROUP_WINDOWS and self._array_bytes < _SAMPLE_BYTES * self._group_samples
        ):
            if (named := next(self._sources, None)) is None:
                break
            uid, source = named
            item = _Input(uid, source_path(source), source, getattr(source, "nbytes", 0))
            with self._changed:
                self._array_bytes += item.array_bytes
                self._inputs.append(item)
            self._pool.submit(self._decode, item)
        return self._inputs[0] if self._inputs else None

    def _has_ended(self, item: _Input) -> bool:
        """Waits until an input has a window or none any more."""
        with self._changed:
            self._changed.wait_for(lambda: item.windows or item.end is not None)
            return not item.windows

    def _take(self, item: _Input) -> np.ndarray:
        with self._changed:
            self._waiting_samples -= len(item.windows[0])
            self._changed.notify_all()
            return item.windows.popleft()

    def _close(self, item: _Input) -> Ending | AudioError:
        with self._changed:
            self._inputs.popleft()
            self._changed.notify_all()
        if isinstance(item.end, Ending | AudioError):
            return item.end
        assert item.end is not None
        raise item.end

    def _decode(self, item: _Input) -> None:
        end: Ending | BaseException
        audio_s, read_before, before = 0.0, reading_seconds(), time.thread_time()
        try:
            clip = item.source
            if not isinstance(clip, AudioBlocks):
                clip = AudioBlocks(
                    item.source,
                    self._sample_rate,
                    name=item.path or item.uid,
                    min_samples=self._limits["shortest"],
                    measured=True,
                )
            for window in cut_windows(clip, **self._limits):
                if not self._put(item, window):
                    return
            end = Ending(clip.duration_s, recording_flags(clip, **self._limits), clip.bandwidth_hz)
            audio_s = clip.duration_s
        except BaseException as error:  # Raised where the input is closed, if it is no AudioError.
            end = error
        self._times.add(reading=reading_seconds() - read_before, decoding=time.thread_time() - before, audio=audio_s)
        with self._changed:
            self._array_bytes -= item.array_bytes
            item.source, item.end = None, end
            self._changed.notify_all()

    def _put(self, item: _Input, window: np.ndarray) -> bool:
        """Adds a window when there is room; false if nobody wants it any more."""

        def has_room() -> bool:
            # The first input always has room for one, or all would wait for each other.
            is_next = item is self._inputs[0] and not item.windows
            return self._stopped or is_next or self._waiting_samples < self._group_samples

        with self._changed:
            self._changed.wait_for(has_room)
            item.windows.append(window)
            self._waiting_samples += len(window)
            self._changed.notify_all()
            return not self._stopped


def source_path(source: Any) -> str | None:
    """Path of an input, None of an array or an open file."""
    if isinstance(source, Recording | Stored):
        return source.path
    return str(source) if isinstance(source, (str, os.PathLike)) else None


def source_name(source: Any, index: int) -> str:
    """What an input is called that has no uid: its path; the name of an open file; `file-<index>`, `array-<index>`."""
    if not is_open_file(source):
        return source_path(source) or f"array-{index}"
    name = getattr(source, "name", None)
    return name if isinstance(name, str) else f"file-{index}"
