"""Length buckets: clips of like length share a batch, and few shapes are ever compiled."""

import dataclasses
import math
from collections.abc import Callable, Sequence

import numpy as np

# A clip of a shorter bucket joins a batch if it fills at least this part of its length; less would be mostly padding.
_MIN_FILL = 0.75


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
    lengths: Sequence[int], sizes: Sequence[int], *, budget: int, multiple: int = 1, cost: Callable[[int], int] = int
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
