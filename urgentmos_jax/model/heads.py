"""Heads: absolute scores of one recording, and comparisons (CMOS) of two."""

import dataclasses
import math

import jax
import jax.numpy as jnp
from flax import nnx

from urgentmos_jax.metrics import Metric
from urgentmos_jax.model.pooling import Pooling, pooling
from urgentmos_jax.model.transformer import TransformerConfig, transformer
from urgentmos_jax.nn.attention import Attention
from urgentmos_jax.nn.blocks import linear, split_key


@dataclasses.dataclass(frozen=True)
class HeadConfig:
    """Pooling and, optionally, a transformer encoder of each metric's own."""

    pooling: Pooling = "mean"
    transformer: TransformerConfig | None = None


def range_activation(x: jax.Array, minimum: float, maximum: float) -> jax.Array:
    """Maps a real number into the range of a metric: sigmoid between two bounds, softplus from one, else identity."""
    if math.isfinite(minimum) and math.isfinite(maximum):
        return minimum + (maximum - minimum) * jax.nn.sigmoid(x)
    if math.isfinite(minimum):
        return minimum + jax.nn.softplus(x - minimum)
    if math.isfinite(maximum):
        return maximum - jax.nn.softplus(maximum - x)
    return x


class AbsoluteHead(nnx.Module):
    """Score of a clip and of each of its frames, in one metric.

    Where the frames are those of segments, one after another, each segment is pooled and scored by itself, and the
    score of the clip is the mean over its segments.
    """

    def __init__(
        self, width: int, metric: Metric, config: HeadConfig, *, segment_frames: int | None = None, rngs: nnx.Rngs
    ):
        if not metric.minimum < metric.maximum:
            raise ValueError(f"the range of a metric is {metric.minimum} to {metric.maximum}")
        self.metric = metric
        self.segment_frames = segment_frames
        self.encoder = transformer(width, config.transformer, rngs=rngs) if config.transformer else None
        self.pool = pooling(config.pooling, width, rngs=rngs)
        self.score = linear(width, 1, rngs=rngs)

    def __call__(
        self, x: jax.Array, mask: jax.Array, *, dropout_key: jax.Array | None = None
    ) -> tuple[jax.Array, jax.Array, jax.Array]:
        """Scores [B], frame scores [B, L] and weights of the frames [B, L], float32, of features [B, L, D]."""
        if self.encoder is not None:
            x = self.encoder(x, mask, dropout_key=dropout_key)
        if self.segment_frames is None:
            pooled, frames, weights = self.pool(x, mask)
            return self._activate(pooled), self._activate(frames), weights
        rows, size = mask.shape
        segments = mask.reshape(-1, self.segment_frames)
        pooled, frames, weights = self.pool(x.reshape(*segments.shape, -1), segments)
        part = segments.any(1).reshape(rows, -1)
        part = part / jnp.maximum(part.sum(1, keepdims=True), 1)
        score = (part * self._activate(pooled).reshape(part.shape)).sum(1)
        weights = weights.reshape(*part.shape, -1) * part[..., None]
        return score, self._activate(frames).reshape(rows, size), weights.reshape(rows, size)

    def _activate(self, x: jax.Array) -> jax.Array:
        y = self.score(x)[..., 0].astype(jnp.float32)
        return range_activation(y, self.metric.minimum, self.metric.maximum)


class CMOSHead(nnx.Module):
    """How much better A is than B, one-sided: query A, keys and values B."""

    heads = 4

    def __init__(self, width: int, config: HeadConfig, *, rngs: nnx.Rngs):
        self.encoder = transformer(width, config.transformer, rngs=rngs) if config.transformer else None
        self.cross = Attention(width, self.heads, rngs=rngs)
        self.pool = pooling(config.pooling, width, rngs=rngs)
        self.regression = linear(width, 1, rngs=rngs)
        self.classification = linear(width, 3, rngs=rngs)

    def __call__(
        self, a: jax.Array, mask_a: jax.Array, b: jax.Array, mask_b: jax.Array, *, dropout_key: jax.Array | None = None
    ) -> tuple[jax.Array, jax.Array]:
        """Compares features [P, L_a, D] and [P, L_b, D] of the metric's category.

        Returns:
            CMOS [P] (positive: A better) and logits [P, 3] (A better, B better, tie), float32.
        """
        if self.encoder is not None:
            keys = split_key(dropout_key, 2)
            a = self.encoder(a, mask_a, dropout_key=keys[0])
            b = self.encoder(b, mask_b, dropout_key=keys[1])
        crossed, _ = self.cross(a, b, mask=mask_b)
        pooled, _, _ = self.pool(crossed, mask_a)
        cmos = self.regression(pooled)[..., 0]
        return cmos.astype(jnp.float32), self.classification(pooled).astype(jnp.float32)
