"""Models from folders and the hub, and the memory of a process that computes."""

import ctypes
from pathlib import Path

from urgentmos_jax.scoring.engine import Precision
from urgentmos_jax.scoring.model import Model


def load_model(
    source: str | Path,
    *,
    revision: str | None = None,
    precision: Precision = "float32",
    batch_seconds: float | None = None,
    compile_cache: bool = True,
) -> Model:
    """Loads a model: `Model.from_pretrained`, which says what the arguments are and what is raised."""
    return Model.from_pretrained(
        source, revision=revision, precision=precision, batch_seconds=batch_seconds, compile_cache=compile_cache
    )


def keep_freed_memory() -> None:
    """Lets glibc keep the memory that is freed, for processes that compute on a CPU until they end.

    XLA takes its working memory anew in each call; where the system has to clear the pages each time, that takes a
    third of the update of a small model. Elsewhere than on Linux nothing changes.
    """
    trim_threshold, mmap_max, arena_max = -1, -4, -8
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (AttributeError, OSError, TypeError):
        return
    mallopt(mmap_max, 0)
    mallopt(trim_threshold, 2**31 - 1)
    # Other arenas than the first have heaps of 64 MB at most.
    mallopt(arena_max, 1)
