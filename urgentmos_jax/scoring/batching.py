"""Length buckets: clips of like length share a batch, and few shapes are ever compiled."""

import dataclasses
import math
from collections.abc import Callable, Sequence

import numpy as np

__all__ = ["Batch", "bucket_of", "bucket_sizes", "cut_batches", "plan_batches"]

# A clip of a shorter bucket joins a batch if it fills at least this part of its length; less would be mostly padding.
_MIN_FILL = 0.75
# Lengths are sorted in training as if each was known to this part only.
_JITTER = 0.05


@dataclasses.dataclass(frozen=True)
class Batch:
    """Clips of one computation.

    Args:
        indices: Of the clips in the list that was planned, at most `rows`.
        rows: Rows of the batch, those beyond the clips are empty.
        size: Length of a row.
    """

    indices: tuple[int, ...]
    rows: int
    size: int


def bucket_sizes(shortest: int, longest: int, *, ratio: float = 1.15, multiple: int = 1) -> tuple[int, ...]:
    """Bucket sizes from `shortest` to `longest`, each at most `ratio` times the one before (or one `multiple` more).

    Args:
        shortest, longest: First and last bucket; both are rounded up to the multiple.
        ratio: Growth from bucket to bucket: the padding is at most 1 - 1 / ratio of a batch.
        multiple: Every bucket is divisible by it.
    """
    steps, top = math.ceil(shortest / multiple), math.ceil(longest / multiple)
    sizes = [steps]
    while steps < top:
        steps = min(top, max(steps + 1, math.floor(steps * ratio)))
        sizes.append(steps)
    return tuple(size * multiple for size in sizes)


def bucket_of(length: int, sizes: Sequence[int]) -> int:
    """The smallest bucket that holds a clip.

    Raises:
        ValueError: it is longer than the last.
    """
    place = int(np.searchsorted(sizes, length))
    if place == len(sizes):
        raise ValueError(f"length {length} is beyond the longest bucket, {sizes[-1]}")
    return sizes[place]


def plan_batches(
    lengths: Sequence[int],
    sizes: Sequence[int],
    *,
    budget: int,
    multiple: int = 1,
    cost: Callable[[int], int] = int,
) -> list[Batch]:
    """Groups clips by length, longest first.

    The number of rows is a power of two (times `multiple`) within the budget, so that N buckets make at
    most N log2(budget / shortest) shapes; what does not fill a batch goes into smaller ones.

    Args:
        lengths: Of the clips, at most `sizes[-1]`.
        sizes: Buckets, ascending.
        budget: Rows times cost of a batch; one row is always allowed.
        multiple: Rows are divisible by it (number of devices).
        cost: Of a row by its size; the size itself where nothing is given.

    Returns:
        Batches that hold each clip once.
    """
    order = sorted(range(len(lengths)), key=lambda i: (-lengths[i], i))
    batches, start = [], 0
    while start < len(order):
        size = bucket_of(lengths[order[start]], sizes)
        shorter = max((other for other in sizes if other < size), default=0)
        least = min(_MIN_FILL * size, shorter + 1)
        alike = next((n for n in range(start, len(order)) if lengths[order[n]] < least), len(order))
        rows = 2 ** int(math.log2(max(1, budget // (cost(size) * multiple)))) * multiple
        while rows > multiple and rows > alike - start:
            rows //= 2
        batches.append(Batch(tuple(order[start : min(start + rows, alike)]), rows, size))
        start += len(batches[-1].indices)
    return batches


def cut_batches(
    lengths: Sequence[int], sizes: Sequence[int], *, budget: int, max_rows: int, rng: np.random.Generator
) -> list[Batch]:
    """Batches of an epoch of training: rows of like length, in random order.

    Rows are sorted by length with some jitter, so that a clip meets others in each epoch, and cut into batches. A
    bucket has one number of rows, so there are no more shapes than buckets; a batch that is not full has empty rows.

    Args:
        lengths: Of the rows, at most `sizes[-1]`.
        sizes: Buckets, ascending.
        budget: Rows times size of a batch; one row is always allowed.
        max_rows: Rows of a batch at most.
        rng: Draws jitter and order.

    Returns:
        Batches that hold each row once.
    """
    known = np.asarray(lengths)
    order = np.argsort(-known * rng.uniform(1 - _JITTER, 1 + _JITTER, len(lengths)), kind="stable")
    batches, start = [], 0
    while start < len(order):
        size = bucket_of(lengths[order[start]], sizes)
        stop = start + 1
        while stop < len(order) and stop - start < row_count(size, budget, max_rows):
            longer = max(size, bucket_of(lengths[order[stop]], sizes))
            if stop - start >= row_count(longer, budget, max_rows):
                break
            size, stop = longer, stop + 1
        batches.append(Batch(tuple(order[start:stop].tolist()), row_count(size, budget, max_rows), size))
        start = stop
    return [batches[i] for i in rng.permutation(len(batches))]


def row_count(size: int, budget: int, max_rows: int) -> int:
    """Rows of a bucket in training: within the budget, a multiple of 8 from 8 up, so that devices share them evenly."""
    rows = max(1, min(max_rows, budget // size))
    return rows - rows % 8 if rows > 8 else rows
