"""StableHLO: what `jax.export` writes, for CPU, CUDA and TPU; `jax.export.deserialize(...).call(waveform, lengths)`.

Extra `[stablehlo]`, to write and to read it.
"""

from collections.abc import Sequence

import jax
import numpy as np

from urgentmos_jax.exporting.program import Program
from urgentmos_jax.lazy import need

PLATFORMS = ("cpu", "cuda", "tpu")


def to_stablehlo(program: Program) -> bytes:
    """The content of a file, for all platforms in one. jax reads it for half a year at least, by its own promise.

    Raises:
        ModuleNotFoundError: flatbuffers is missing.
    """
    need(("flatbuffers",), "stablehlo")
    exported = jax.export.export(jax.jit(program.function), platforms=PLATFORMS)(*program.inputs)
    return bytes(exported.serialize())


class StableHLO:
    """Such a file, to be called on arrays."""

    def __init__(self, content: bytes):
        self._call = jax.jit(jax.export.deserialize(bytearray(content)).call)

    def __call__(self, waveform: np.ndarray, lengths: np.ndarray) -> Sequence[np.ndarray]:
        """Scores [B] of each metric, in order."""
        return [np.asarray(x) for x in self._call(waveform, lengths)]
