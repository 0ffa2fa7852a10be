"""WavLM's gated relative position bias (Chen et al. 2022, arXiv 2110.13900, section 3.2)."""

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx


def relative_bias(table: jax.Array, frames: int, *, max_distance: int) -> jax.Array:
    """Position bias [H, F, F] float32 before gating: entry (h, i, j) depends on j - i alone.

    The table [buckets, H] has that of each bucket of distances; from `max_distance` frames on all fall into the last.
    """
    # One row of the bias for distances 0 .. F-1, one filler, -(F-1) .. -1; row i is this row rolled by i, which
    # a reshape with rows one element shorter than the period does without a gather over F x F.
    distance = np.concatenate([np.arange(frames), [0], np.arange(1 - frames, 0)])
    row = table[_buckets(distance, len(table), max_distance)].T.astype(jnp.float32)
    period = 2 * frames
    tiled = jnp.tile(row, (1, frames))[:, : frames * (period - 1)]
    return tiled.reshape(-1, frames, period - 1)[:, :, :frames]


def gated_bias(gate: nnx.Linear, scale: jax.Array, queries: jax.Array, bias: jax.Array) -> jax.Array:
    """The bias [H, F, F] of `relative_bias` with the gate of each query: [B, H, F, F] float32.

    Args:
        gate: Linear layer from the features of a head to 8.
        scale: [H].
        queries: [B, F, D], input of the attention.
    """
    u = gate(queries.reshape(*queries.shape[:-1], len(scale), -1)).astype(jnp.float32)
    u = jax.nn.sigmoid(u.reshape(*u.shape[:-1], 2, 4).sum(-1))
    factor = u[..., 0] * (u[..., 1] * scale - 1) + 2
    return factor.transpose(0, 2, 1)[..., None] * bias


def _buckets(distance: np.ndarray, buckets: int, max_distance: int) -> np.ndarray:
    """WavLM's bucket of each distance key - query: exact near zero, logarithmic up to `max_distance`."""
    half, exact = buckets // 2, buckets // 4
    size = np.abs(distance)
    scale = np.log(np.maximum(size, 1) / exact) / np.log(max_distance / exact)
    far = np.minimum(half - 1, np.floor(exact + (half - exact) * scale)).astype(np.int64)
    return np.where(distance > 0, half, 0) + np.where(size < exact, size, far)
