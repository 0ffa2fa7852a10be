"""Recordings and their pairs: each recording is encoded once, and kept until its last pair is compared."""

import collections
import os
import reprlib
import tempfile
from collections.abc import Hashable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from urgentmos_jax.audio.loading import AudioError
from urgentmos_jax.scoring.decoding import Decoded, Decoder, source_name, source_path
from urgentmos_jax.scoring.engine import Engine, Params
from urgentmos_jax.scoring.rows import (
    Compared,
    Encoded,
    EncodedWindow,
    Order,
    Scored,
    WindowComparison,
    comparison_row,
    score_row,
)
from urgentmos_jax.scoring.windows import cut_windows, recording_flags

Sides = tuple[Encoded | AudioError, Encoded | AudioError]

# Features that a chunk of comparisons holds at most, beside those of the store.
_CHUNK_BYTES = 256 << 20


def assess(
    engine: Engine,
    params: Params,
    recordings: Iterable[Any],
    pairs: Sequence[tuple[int, int]] | np.ndarray,
    *,
    sample_rate: int | None,
    frames: bool,
    order: Order,
    metrics: Sequence[str],
    comparative_metrics: Sequence[str],
    uids: Iterable[str] | None,
    pair_uids: Sequence[str] | None,
    max_feature_bytes: int,
    spill_dir: Path | None,
) -> Iterator[Scored | Compared]:
    """See `Model.assess`."""
    if len(pairs):
        recordings = list(recordings)
        given = None if uids is None else list(uids)
        # In the order of the pairs, so that few recordings wait for a partner; those without a pair last.
        sides = np.asarray(pairs, np.int64).reshape(-1, 2)
        if sides.min() < 0 or sides.max() >= len(recordings):
            raise IndexError(f"pairs name recordings 0 to {len(recordings) - 1}, found {sides.min()} to {sides.max()}")
        sequence = list(dict.fromkeys([*sides.ravel().tolist(), *range(len(recordings))]))
        inputs: Iterable[Any] = (recordings[index] for index in sequence)
        uids = None if given is None else [given[index] for index in sequence]
        position = np.argsort(sequence)
        # A pair can be compared once so many recordings are encoded; pairs become ready in order.
        needed = np.maximum.accumulate(position[sides].max(1)) + 1
    else:
        inputs, sequence, sides, needed = recordings, None, np.empty((0, 2), np.int64), np.empty(0, np.int64)
    names: dict[int, tuple[str, str | None]] = {}
    uses = collections.Counter(sides.ravel().tolist())
    encoded_count = compared_count = 0
    frame_rate_hz = engine.frame_rate_hz if frames else None
    named = _named(inputs, uids, sequence)
    with Decoder(named, sample_rate, engine.min_samples) as groups, FeatureStore(max_feature_bytes, spill_dir) as store:
        for group in groups:
            found = _encode_group(engine, params, group, frames=frames, features=bool(len(pairs)))
            for item, encoded in zip(group, found, strict=True):
                index = encoded_count if sequence is None else sequence[encoded_count]
                encoded_count += 1
                if uses[index]:
                    names[index] = item.uid, item.path
                    store.put(index, encoded, uses[index])
                yield Scored(index, score_row(item.uid, item.path, encoded, metrics, frame_rate_hz=frame_rate_hz))
            ready = int(np.searchsorted(needed, encoded_count, side="right"))
            while compared_count < ready:
                chunk = _take_chunk(store, sides[compared_count:ready].tolist())
                comparisons = _compare_chunk(engine, params, chunk)
                for taken, windows in zip(chunk, comparisons, strict=True):
                    a, b = (names[index] for index in sides[compared_count].tolist())
                    uid = f"{a[0]} {b[0]}" if pair_uids is None else pair_uids[compared_count]
                    row = comparison_row(uid, [a[1], b[1]], taken, windows, comparative_metrics, order)
                    yield Compared(compared_count, row)
                    compared_count += 1


def unique_recordings(pairs: Iterable[tuple[Any, Any]]) -> tuple[list[Any], list[tuple[int, int]]]:
    """The recordings of pairs, each file and each array object once, and the pairs as indices into them."""
    refuse_single(pairs, "pairs: [(A, B)]")
    recordings: list[Any] = []
    indices: dict[Hashable, int] = {}
    found = []
    for pair in pairs:
        if not isinstance(pair, (tuple, list)) or len(pair) != 2:
            raise TypeError(f"a pair is {reprlib.repr(pair)}, expected a list of pairs: [(A, B)]")
        for side in pair:
            if indices.setdefault(_key(side), len(recordings)) == len(recordings):
                recordings.append(side)
        a, b = (indices[_key(side)] for side in pair)
        found.append((a, b))
    return recordings, found


def refuse_single(inputs: Any, expected: str) -> None:
    """Raises TypeError where one recording is given instead of several; its letters or samples would be taken for them.

    Args:
        inputs: What was given.
        expected: What is, for the message.
    """
    # Arrays and columns of tables may list paths.
    numbers = hasattr(inputs, "dtype") and getattr(inputs.dtype, "kind", "f") not in "OU"
    if numbers or isinstance(inputs, (str, bytes, os.PathLike)):
        raise TypeError(f"found {reprlib.repr(inputs)} of type {type(inputs).__name__}, expected a list of {expected}")


class FeatureStore:
    """Encoded recordings until their last use; those that memory has no room for lie on disk until the store closes.

    Args:
        max_bytes: Of features in memory.
        spill_dir: Folder for the others; None = a temporary one.
    """

    def __init__(self, max_bytes: int, spill_dir: Path | None = None):
        self._max_bytes, self._spill_dir = max_bytes, spill_dir
        self._held: dict[int, Encoded | AudioError] = {}
        self._uses: dict[int, int] = {}
        self._files: dict[int, Path] = {}
        self._bytes = 0
        self._folder: tempfile.TemporaryDirectory[str] | None = None

    def __enter__(self) -> "FeatureStore":
        return self

    def __exit__(self, *error: object) -> None:
        if self._folder is not None:
            self._folder.cleanup()

    def put(self, index: int, recording: Encoded | AudioError, uses: int) -> None:
        """Keeps a recording until it was taken `uses` times."""
        self._uses[index] = uses
        size = feature_bytes(recording)
        if size and self._bytes + size > self._max_bytes:
            recording = self._spill(index, recording)
        else:
            self._bytes += size
        self._held[index] = recording

    def take(self, index: int) -> Encoded | AudioError:
        """Gives a recording; the last time it is released."""
        recording = self._held[index]
        file = self._files.get(index)
        if isinstance(recording, Encoded) and file is not None:
            recording = _with_features(recording, file)
        self._uses[index] -= 1
        if not self._uses[index]:
            del self._held[index], self._uses[index]
            if file is None:
                self._bytes -= feature_bytes(recording)
            else:
                self._files.pop(index).unlink()
        return recording

    def _spill(self, index: int, recording: Encoded | AudioError) -> Encoded | AudioError:
        assert isinstance(recording, Encoded)
        if self._folder is None:
            self._folder = tempfile.TemporaryDirectory(prefix="features-", dir=self._spill_dir)
        file = Path(self._folder.name, f"{index}.npz")
        features = [(i, *item) for i, window in enumerate(recording.windows) for item in window.features.items()]
        arrays: dict[str, Any] = {f"{i}/{name}": x for i, name, x in features}
        np.savez(file, **arrays)
        self._files[index] = file
        windows = [EncodedWindow(window.samples, window.scores, {}, {}) for window in recording.windows]
        return Encoded(recording.duration_s, recording.flags, windows)


def feature_bytes(recording: Encoded | AudioError) -> int:
    """Memory that the features of a recording take."""
    if isinstance(recording, AudioError):
        return 0
    return sum(x.nbytes for window in recording.windows for x in window.features.values())


def _with_features(recording: Encoded, file: Path) -> Encoded:
    features: list[dict[str, np.ndarray]] = [{} for _ in recording.windows]
    with np.load(file) as arrays:
        for key in arrays.files:
            number, name = key.split("/", 1)
            features[int(number)][name] = arrays[key]
    windows = [
        EncodedWindow(window.samples, window.scores, {}, found)
        for window, found in zip(recording.windows, features, strict=True)
    ]
    return Encoded(recording.duration_s, recording.flags, windows)


def _named(
    inputs: Iterable[Any], uids: Iterable[str] | None, sequence: Sequence[int] | None
) -> Iterator[tuple[str, Any]]:
    """(uid, input) of each; without uids its path, or `array-<index>`."""
    if uids is not None:
        yield from zip(uids, inputs, strict=True)
        return
    for position, source in enumerate(inputs):
        yield source_name(source, position if sequence is None else sequence[position]), source


def _encode_group(
    engine: Engine, params: Params, group: Sequence[Decoded], *, frames: bool, features: bool
) -> list[Encoded | AudioError]:
    limits = {"longest": engine.window_samples, "shortest": engine.min_samples}
    parts = [[] if isinstance(item.clip, AudioError) else cut_windows(item.clip.waveform, **limits) for item in group]
    windows = iter(
        engine.encode_windows(params, [part for own in parts for part in own], frames=frames, features=features)
    )
    return [
        item.clip
        if isinstance(item.clip, AudioError)
        else Encoded(item.clip.duration_s, recording_flags(item.clip, **limits), [next(windows) for _ in own])
        for item, own in zip(group, parts, strict=True)
    ]


def _take_chunk(store: FeatureStore, pairs: Sequence[Sequence[int]]) -> list[Sides]:
    """Both sides of the first pairs, until they hold many bytes."""
    chunk: list[Sides] = []
    size = 0
    for pair in pairs:
        a, b = (store.take(index) for index in pair)
        chunk.append((a, b))
        size += feature_bytes(a) + feature_bytes(b)
        if size > _CHUNK_BYTES:
            break
    return chunk


def _compare_chunk(engine: Engine, params: Params, chunk: Sequence[Sides]) -> Iterator[list[WindowComparison]]:
    """Comparisons of each pair, one for each place where both sides have a window."""
    meetings = [
        list(zip(a.windows, b.windows, strict=False)) if isinstance(a, Encoded) and isinstance(b, Encoded) else []
        for a, b in chunk
    ]
    compared = iter(engine.compare_windows(params, [meeting for own in meetings for meeting in own]))
    for own in meetings:
        yield [next(compared) for _ in own]


def _key(source: Any) -> Hashable:
    """Equal for the same file, and for the same array object."""
    return source_path(source) or id(source)
