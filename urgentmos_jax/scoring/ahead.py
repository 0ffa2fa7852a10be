"""Programs of coming batches, compiled in a thread while the first batches are computed."""

from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, Self

from urgentmos_jax.scoring.batching import Batch

Shape = tuple[int, int]


class CompiledAhead:
    """Compiles the shapes of planned batches in their order, but that of the first, which is computed at once.

    Args:
        compiled: (rows, size) that need nothing any more; those that were waited for are added.
        compile_shape: Compiles one.
    """

    def __init__(self, compiled: set[Shape], compile_shape: Callable[[Shape], Any]):
        self._compiled, self._compile_shape = compiled, compile_shape
        self._coming: dict[Shape, Future[Any]] = {}

    def __enter__(self) -> Self:
        self._pool = ThreadPoolExecutor(1, thread_name_prefix="compile")
        return self

    def __exit__(self, *error: object) -> None:
        self._pool.shutdown(wait=True, cancel_futures=True)

    def announce(self, batches: Sequence[Batch]) -> None:
        """Begins to compile for batches that were planned."""
        shapes = dict.fromkeys((batch.rows, batch.size) for batch in batches)
        for number, shape in enumerate(shapes):
            if number and shape not in self._compiled and shape not in self._coming:
                self._coming[shape] = self._pool.submit(self._compile_shape, shape)

    def wait(self, batch: Batch) -> None:
        """Returns once a batch can be computed; raises what its compiling raised."""
        shape = (batch.rows, batch.size)
        if coming := self._coming.pop(shape, None):
            coming.result()
        self._compiled.add(shape)
