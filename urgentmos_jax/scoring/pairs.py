"""Recordings and their pairs: each recording is encoded once, and kept until its last pair is compared."""

import collections
import dataclasses
import itertools
import os
import reprlib
from collections.abc import Hashable, Iterable, Iterator, Mapping, Sequence, Sized
from pathlib import Path
from typing import Any

import numpy as np

from urgentmos_jax.audio.loading import AudioError, is_open_file
from urgentmos_jax.audio.recordings import of_dataset
from urgentmos_jax.manifests.inputs import stream
from urgentmos_jax.scoring.decoding import Decoder, source_name, source_path
from urgentmos_jax.scoring.engine import Engine, Params
from urgentmos_jax.scoring.feature_store import FeatureStore, feature_bytes
from urgentmos_jax.scoring.rows import (
    Calibrations,
    Compared,
    Encoded,
    EncodedWindow,
    Order,
    Scored,
    WindowComparison,
    comparison_row,
    score_row,
    unlike_flag,
)
from urgentmos_jax.statistics.training_distribution import TrainingDistribution

# Features that a chunk of comparisons holds at most, beside those of the store.
_CHUNK_BYTES = 256 << 20


def assess(
    engine: Engine,
    params: Params,
    recordings: Iterable[Any],
    pairs: Sequence[tuple[int, int]] | np.ndarray,
    *,
    sample_rate: float | None,
    frames: bool,
    order: Order,
    metrics: Sequence[str],
    comparative_metrics: Sequence[str],
    calibrations: Calibrations,
    uids: Iterable[str] | None,
    pair_uids: Sequence[str] | None,
    max_feature_bytes: int,
    spill_dir: Path | None,
    signature: str | None,
    distribution: TrainingDistribution | None,
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
    uses = collections.Counter(sides.ravel().tolist())
    kept: dict[int, tuple[str, str | None, Encoded | AudioError]] = {}
    encoded_count = compared_count = 0
    windows: list[EncodedWindow] = []
    planner = engine.planner()
    frame_rate_hz = engine.frame_rate_hz if frames else None
    decoder = Decoder(
        _named(inputs, uids, sequence),
        sample_rate,
        longest=engine.window_samples,
        shortest=engine.min_samples,
        batch_seconds=engine.batch_seconds,
        times=engine.times,
    )
    with decoder as groups, FeatureStore(max_feature_bytes, spill_dir) as store:
        for group in groups:
            waveforms = [waveform for item in group for waveform in item.windows]
            options = {"frames": frames, "features": bool(len(pairs)), "pooled": distribution is not None}
            found = collections.deque(engine.encode_windows(params, waveforms, planner=planner, **options))
            for item in group:
                index = encoded_count if sequence is None else sequence[encoded_count]
                for window in (found.popleft() for _ in item.windows):
                    if uses[index]:
                        store.put(index, window)
                    windows.append(dataclasses.replace(window, features={}))
                if item.end is None:
                    continue  # The next group has more of it.
                encoded: Encoded | AudioError
                if isinstance(item.end, AudioError):
                    encoded = item.end
                else:
                    flags = item.end.flags + unlike_flag(windows, distribution)
                    encoded = Encoded(item.end.duration_s, flags, windows, item.end.bandwidth_hz)
                windows = []
                encoded_count += 1
                if uses[index]:
                    kept[index] = item.uid, item.path, encoded
                named = item.uid, item.path, encoded, metrics
                scored = score_row(*named, calibrations=calibrations, frame_rate_hz=frame_rate_hz)
                scored["model"] = signature
                yield Scored(index, scored)
            waveforms.clear()
            group.clear()
            ready = sides[compared_count : int(np.searchsorted(needed, encoded_count, side="right"))].tolist()
            places = [(a, b, n) for a, b in ready for n in range(_meetings(kept[a][2], kept[b][2]))]
            compared = _compare(engine, params, store, places)
            for indices in ready:
                a, b = (kept[index] for index in indices)
                uid = f"{a[0]} {b[0]}" if pair_uids is None else pair_uids[compared_count]
                meetings = list(itertools.islice(compared, _meetings(a[2], b[2])))
                both = [a[1], b[1]], (a[2], b[2])
                row = comparison_row(uid, *both, meetings, comparative_metrics, order, calibrations)
                row["model"] = signature
                yield Compared(compared_count, row)
                compared_count += 1
                for index in indices:
                    uses[index] -= 1
                    if not uses[index]:
                        store.drop(index)
                        del kept[index]


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


def check_lists(
    recordings: Iterable[Any],
    pairs: Sequence[tuple[int, int]] | np.ndarray,
    uids: Iterable[str] | None,
    pair_uids: Sequence[str] | None,
    order: str,
) -> None:
    """Refuses what is not a list, names that are not one for each input, and unknown orders, as `Model.assess` does."""
    refuse_single(recordings, "recordings: [recording]")
    for given, names in ((recordings, uids), (pairs, pair_uids)):
        if isinstance(names, str):
            raise TypeError(f"uids is {names!r}, expected a list of names, one for each input")
        if isinstance(given, Sized) and isinstance(names, Sized) and len(given) != len(names):
            raise ValueError(f"{len(names)} uids for {len(given)} inputs, expected one for each")
    if order not in ("both", "ab"):
        raise ValueError(f"order is {order!r}, it must be both or ab")


def refuse_single(inputs: Any, expected: str) -> None:
    """Raises TypeError where one recording is given instead of several; its letters or samples would be taken for them.

    Args:
        inputs: What was given.
        expected: What is, for the message.
    """
    # Arrays and columns of tables may list paths.
    numbers = hasattr(inputs, "dtype") and getattr(inputs.dtype, "kind", "f") not in "OU"
    if numbers or is_open_file(inputs) or isinstance(inputs, (str, bytes, os.PathLike, Mapping)):
        raise TypeError(f"found {reprlib.repr(inputs)} of type {type(inputs).__name__}, expected a list of {expected}")


def chosen_metrics(metrics: Sequence[str] | None, known: Sequence[str]) -> tuple[str, ...]:
    """Some of the metrics of a model, None = all.

    Raises:
        TypeError, ValueError: One name in place of a list; a metric that the model does not have.
    """
    if metrics is None:
        return tuple(known)
    if isinstance(metrics, str):
        raise TypeError(f"metrics is {metrics!r}, expected a list: [{metrics!r}]")
    if unknown := [name for name in metrics if name not in known]:
        raise ValueError(f"metrics {unknown} are not among those of the model: {list(known)}")
    return tuple(metrics)


def _named(
    inputs: Iterable[Any], uids: Iterable[str] | None, sequence: Sequence[int] | None
) -> Iterator[tuple[str, Any]]:
    """(uid, input) of each; without uids what `source_name` says."""
    inputs = stream(map(of_dataset, inputs))
    if uids is not None:
        yield from zip(uids, inputs, strict=True)
        return
    for position, source in enumerate(inputs):
        yield source_name(source, position if sequence is None else sequence[position]), source


def _meetings(a: Encoded | AudioError, b: Encoded | AudioError) -> int:
    """In how many places both recordings have a window."""
    if isinstance(a, AudioError) or isinstance(b, AudioError):
        return 0
    return min(len(a.windows), len(b.windows))


def _compare(
    engine: Engine, params: Params, store: FeatureStore, places: Iterable[tuple[int, int, int]]
) -> Iterator[WindowComparison]:
    """Comparisons of the windows of two recordings in the same place, a chunk of features at a time."""
    chunk: list[tuple[EncodedWindow, EncodedWindow]] = []
    size = 0
    for a, b, place in places:
        sides = store.window(a, place), store.window(b, place)
        chunk.append(sides)
        size += sum(map(feature_bytes, sides))
        if size > _CHUNK_BYTES:
            yield from engine.compare_windows(params, chunk)
            chunk, size = [], 0
    yield from engine.compare_windows(params, chunk)


def _key(source: Any) -> Hashable:
    """Equal for the same file, and for the same array object."""
    return source_path(source) or id(source)
