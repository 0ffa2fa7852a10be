"""Length buckets: clips of like length share a batch, and few shapes are ever compiled."""

import dataclasses
import itertools
import math
from collections.abc import Callable, Sequence

import numpy as np

# A clip of a shorter bucket joins a batch if it fills at least this part of its length; less would be mostly padding.
_MIN_FILL = 0.75
# To compile less, a group of clips may cost so much more to compute: they may be computed again and again.
_MAX_EXCESS = 1.05


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


class BatchPlanner:
    """Plans group after group of clips as `plan_batches`, with fewer shapes where padding costs less than compiling.

    What a shape takes to compile is of use later too: it is shared with the groups planned so far, as if as many were
    to come. So a few clips are computed in few shapes, and a stream of them in as many as pay. The plan is a function
    of the lengths given so far, whatever was compiled before.

    Args:
        sizes: Buckets, ascending.
        multiple: Rows are divisible by it (number of devices).
        cost: Of a row by its size.
        shape_cost, batch_cost: Of compiling a shape and of starting a batch, in the same unit.
    """

    def __init__(
        self,
        sizes: Sequence[int],
        *,
        multiple: int,
        cost: Callable[[int], int] = int,
        shape_cost: float = 0.0,
        batch_cost: float = 0.0,
    ):
        self._sizes, self._multiple, self._cost = sizes, multiple, cost
        self._shape_cost, self._batch_cost = shape_cost, batch_cost
        self._shapes: set[tuple[int, int]] = set()
        self._seen = 0

    def __call__(self, lengths: Sequence[int], budget: int) -> list[Batch]:
        """Batches that hold each clip of the next group once; `budget` as in `plan_batches`."""
        finest = plan_batches(lengths, self._sizes, budget=budget, multiple=self._multiple, cost=self._cost)
        order = sorted(range(len(lengths)), key=lambda i: (-lengths[i], i))
        descending = [lengths[i] for i in order]
        before = list(itertools.accumulate(descending, initial=0))
        self._seen += before[-1]
        share = before[-1] / max(1, self._seen)
        fits = {(rows, size) for rows, size in self._shapes if rows * self._cost(size) <= budget}

        def with_shapes(shapes: set[tuple[int, int]]) -> tuple[float, float, list[Batch]]:
            """Longest first, each batch of the shape that costs least for what it holds: cost of all, with compiling
            and without, and the batches."""
            costs = {(rows, size): rows * self._cost(size) + self._batch_cost for rows, size in shapes}
            batches: list[Batch] = []
            total, start = 0.0, 0
            while start < len(order):
                choices = [
                    (cost / (before[min(start + rows, len(order))] - before[start]), rows, size)
                    for (rows, size), cost in costs.items()
                    if size >= descending[start]
                ]
                if not choices:
                    return math.inf, math.inf, []
                _, rows, size = min(choices)
                batches.append(Batch(tuple(order[start : start + rows]), rows, size))
                start, total = start + rows, total + costs[rows, size]
            return total + share * self._shape_cost * len(_shapes(batches) - fits), total, batches

        best = with_shapes(fits | _shapes(finest))
        most = _MAX_EXCESS * best[1]
        while new := _shapes(best[2]) - fits:
            plans = (with_shapes((fits | new) - {one}) for one in sorted(new))
            fewer = min((plan for plan in plans if plan[1] <= most), key=lambda plan: plan[0], default=best)
            if fewer[0] >= best[0]:
                break
            best = fewer
        self._shapes |= _shapes(best[2])
        return best[2]


def _shapes(batches: Sequence[Batch]) -> set[tuple[int, int]]:
    return {(batch.rows, batch.size) for batch in batches}
