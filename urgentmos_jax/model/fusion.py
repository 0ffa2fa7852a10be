"""Fusion of several encoders: features resampled in time to the longest, concatenated, projected."""

import jax
import jax.numpy as jnp
from flax import nnx

from urgentmos_jax.nn.blocks import layer_norm, linear


def resample_time(x: jax.Array, lengths: jax.Array, targets: jax.Array, size: int) -> jax.Array:
    """Linear resampling of each clip's frames, half-pixel centres, edges clamped.

    Args:
        x: [B, L, D].
        lengths, targets: [B], valid frames of `x`, and frames wanted.
        size: Frames of the result, at least the largest target.

    Returns:
        [B, size, D]; frames beyond a clip's target are meaningless. Where lengths equal targets the valid frames are
        unchanged.
    """
    ratio = lengths / jnp.maximum(targets, 1)
    position = (jnp.arange(size) + 0.5) * ratio[:, None] - 0.5
    top = jnp.maximum(lengths - 1, 0)[:, None]
    position = jnp.clip(position, 0, top)
    low = jnp.floor(position).astype(jnp.int32)
    high = jnp.minimum(low + 1, top)
    part = (position - low).astype(x.dtype)[..., None]
    before, after = (jnp.take_along_axis(x, index[..., None], axis=1) for index in (low, high))
    return before * (1 - part) + after * part


class Fusion(nnx.Module):
    """[B, L, sum of widths] -> Linear -> LayerNorm -> [B, L, D]."""

    def __init__(self, widths: list[int], width: int, *, rngs: nnx.Rngs):
        self.project = linear(sum(widths), width, rngs=rngs)
        self.norm = layer_norm(width, rngs=rngs)

    def __call__(self, features: list[jax.Array], lengths: list[jax.Array]) -> tuple[jax.Array, jax.Array]:
        """Fuses [B, L_i, D_i] and their valid frames [B] of each encoder.

        Returns:
            [B, L, D] with L the largest L_i, and the length of each clip's longest features [B].
        """
        longest = lengths[0]
        if len(features) > 1:
            size = max(x.shape[1] for x in features)
            longest = jnp.stack(lengths).max(0)
            features = [resample_time(x, n, longest, size) for x, n in zip(features, lengths, strict=True)]
        return self.norm(self.project(jnp.concatenate(features, -1))), longest
