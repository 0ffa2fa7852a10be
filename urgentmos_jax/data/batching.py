"""The batches of training: how rows of like length are cut into them, which rows a host has, and what arrays they are.

A row has one side, a clip, or two, the clips A and B of a pair: both then lie on one device. Letters in shapes: R rows,
S sides, T samples, K metrics, C comparative metrics.
"""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple, TypedDict

import jax
import numpy as np

from urgentmos_jax.audio.loading import SAMPLE_RATE_HZ
from urgentmos_jax.scoring.batching import Batch, bucket_of

# Lengths are sorted as if each was known to this part only.
_JITTER = 0.05


class BatchShape(NamedTuple):
    """Shape of the waveforms of a global batch."""

    rows: int
    sides: int
    samples: int


@dataclasses.dataclass(frozen=True)
class HostRows:
    """The rows of global batches that this host loads: its devices' positions on the mesh axis `data`, ascending."""

    axis: int = 1
    positions: tuple[int, ...] = (0,)

    def __call__(self, rows: int) -> np.ndarray:
        """Numbers of this host's rows of a batch of so many, which is filled up to a multiple of the axis."""
        each = -(-rows // self.axis)
        return np.concatenate([np.arange(at * each, (at + 1) * each) for at in self.positions])


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class BatchArrays:
    """What the training step computes from: NumPy or jax arrays, or their shapes.

    Args:
        waveform: [R, S, T] float32 at 16 kHz, 0 behind the clip; None where every encoder's states are stored.
        states: By the encoder's index in the model, stored states [R, S, F, D], or [R, S, L + 1, F, D] for all hidden
            states; float16.
        lengths: [R, S] int32 samples, 0 where there is no clip.
        labels: [R, S, K] float32, 0 where missing.
        label_mask: [R, S, K] bool, True where there is a label.
        cmos: [R, C] float32 difference A - B, 0 where missing.
        cmos_mask: [R, C] bool.
    """

    waveform: Any
    states: dict[int, Any]
    lengths: Any
    labels: Any
    label_mask: Any
    cmos: Any
    cmos_mask: Any


def array_shapes(
    shape: BatchShape, metrics: int, comparative: int, states: Mapping[int, tuple[int, ...]], *, waveform: bool = True
) -> BatchArrays:
    """Shapes and dtypes of the arrays of a batch.

    Args:
        shape: Of its waveforms.
        metrics, comparative: Numbers of metrics.
        states: By the encoder's index, shapes of a clip's stored states.
        waveform: Whether it has waveforms.
    """
    rows, sides, samples = shape

    def array(dtype: Any, *last: int) -> jax.ShapeDtypeStruct:
        return jax.ShapeDtypeStruct((rows, *last), dtype)

    return BatchArrays(
        waveform=array(np.float32, sides, samples) if waveform else None,
        states={encoder: array(np.float16, sides, *one) for encoder, one in states.items()},
        lengths=array(np.int32, sides),
        labels=array(np.float32, sides, metrics),
        label_mask=array(np.bool_, sides, metrics),
        cmos=array(np.float32, comparative),
        cmos_mask=array(np.bool_, comparative),
    )


class SkippedClip(TypedDict):
    """A clip that could not be loaded, with the code and the text of its `AudioError`."""

    uid: str
    path: str
    code: str
    message: str


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class LoadedBatch:
    """A batch, or the rows of it that one host has.

    Args:
        arrays: Of these rows.
        skipped: Clips of these rows that could not be loaded; their labels are masked, and those of their pair.
        uids: Of the whole batch: those of each row, A and B.
        shape: Of the whole batch, without the rows that fill it up to the mesh.
        audio_seconds: Of the whole batch, without padding.
    """

    # Registered with jax, so that data workers hand the arrays over in shared memory.
    arrays: BatchArrays
    skipped: list[SkippedClip]
    uids: list[list[str]]
    shape: BatchShape
    audio_seconds: float

    @property
    def computed_seconds(self) -> float:
        """Audio of the whole batch with padding."""
        return self.shape.rows * self.shape.sides * self.shape.samples / SAMPLE_RATE_HZ


def cut_batches(
    lengths: Sequence[int] | np.ndarray, sizes: Sequence[int], *, budget: int, max_rows: int, rng: np.random.Generator
) -> list[Batch]:
    """Batches of an epoch: rows of like length, in random order.

    Rows are sorted by length with some jitter, so that a clip meets others in each epoch, and cut into batches. A
    bucket has one number of rows, so there are no more shapes than buckets; a batch that is not full has empty rows.

    Args:
        lengths: Samples of the rows, at most `sizes[-1]`; of a pair the longer side counts.
        sizes: Buckets in samples, ascending.
        budget, max_rows: Rows times samples of a batch, and rows, at most; one row is always allowed.
        rng: For jitter and order.
    """
    lengths = np.asarray(lengths)
    order = np.argsort(-lengths * rng.uniform(1 - _JITTER, 1 + _JITTER, len(lengths)), kind="stable")
    batches, start = [], 0
    while start < len(order):
        size = bucket_of(lengths[order[start]], sizes)
        stop = start + 1
        while stop < len(order) and stop - start < rows_of(size, budget, max_rows):
            longer = max(size, bucket_of(lengths[order[stop]], sizes))
            if stop - start >= rows_of(longer, budget, max_rows):
                break
            size, stop = longer, stop + 1
        batches.append(Batch(tuple(order[start:stop].tolist()), rows_of(size, budget, max_rows), size))
        start = stop
    return [batches[i] for i in rng.permutation(len(batches))]


def rows_of(size: int, budget: int, max_rows: int) -> int:
    """Rows of a bucket's batches: within the budget, a multiple of 8 from 8 up, so that devices share them evenly."""
    rows = max(1, min(max_rows, budget // size))
    return rows - rows % 8 if rows > 8 else rows
