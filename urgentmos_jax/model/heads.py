"""Heads: absolute scores of one recording, and comparisons (CMOS) of two."""

import dataclasses
import math
from collections.abc import Sequence

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

    def __init__(self, width: int, config: HeadConfig, *, segment_frames: int | None = None, rngs: nnx.Rngs):
        self.segment_frames = segment_frames
        self.encoder = transformer(width, config.transformer, rngs=rngs) if config.transformer else None
        self.pool = pooling(config.pooling, width, rngs=rngs)
        self.score = linear(width, 1, rngs=rngs)
        self.is_small = (
            config.transformer is None and config.pooling in ("mean", "attentive") and segment_frames is None
        )

    def __call__(
        self, x: jax.Array, mask: jax.Array, metric: Metric, *, dropout_key: jax.Array | None = None
    ) -> tuple[jax.Array, jax.Array, jax.Array]:
        """Scores [B], frame scores [B, L] and weights of the frames [B, L], float32, of features [B, L, D]."""
        if self.encoder is not None:
            x = self.encoder(x, mask, dropout_key=dropout_key)
        if self.segment_frames is None:
            return in_range(metric, *self.outputs(x, mask))
        rows, size = mask.shape
        segments = mask.reshape(-1, self.segment_frames)
        pooled, frames, weights = in_range(metric, *self.outputs(x.reshape(*segments.shape, -1), segments))
        part = segments.any(1).reshape(rows, -1)
        part = part / jnp.maximum(part.sum(1, keepdims=True), 1)
        score = (part * pooled.reshape(part.shape)).sum(1)
        weights = weights.reshape(*part.shape, -1) * part[..., None]
        return score, frames.reshape(rows, size), weights.reshape(rows, size)

    def outputs(self, x: jax.Array, mask: jax.Array) -> tuple[jax.Array, jax.Array, jax.Array]:
        """As `__call__`, the scores as real numbers, which `in_range` brings into the range of the metric."""
        pooled, frames, weights = self.pool(x, mask)
        return self._number(pooled), self._number(frames), weights

    def _number(self, x: jax.Array) -> jax.Array:
        return self.score(x)[..., 0].astype(jnp.float32)


def in_range(
    metric: Metric, pooled: jax.Array, frames: jax.Array, weights: jax.Array
) -> tuple[jax.Array, jax.Array, jax.Array]:
    """Real numbers of `AbsoluteHead.outputs` as scores of a metric, of a clip and of its frames."""
    bounds = metric.minimum, metric.maximum
    return range_activation(pooled, *bounds), range_activation(frames, *bounds), weights


def absolute_scores(
    heads: Sequence[AbsoluteHead],
    metrics: Sequence[Metric],
    x: jax.Array,
    mask: jax.Array,
    *,
    dropout_keys: Sequence[jax.Array | None],
) -> list[tuple[jax.Array, jax.Array, jax.Array]]:
    """What each head of one category gives, see `AbsoluteHead.__call__`.

    Heads that hold next to nothing are computed as one, which compiles as one in place of as many as there are metrics.
    """
    if len(heads) == 1 or not all(head.is_small for head in heads):
        each = zip(heads, metrics, dropout_keys, strict=True)
        return [head(x, mask, metric, dropout_key=key) for head, metric, key in each]
    graphs, states = zip(*map(nnx.split, heads), strict=True)
    stacked = jax.tree.map(lambda *leaves: jnp.stack(leaves), *states)
    outputs = jax.vmap(lambda state: nnx.merge(graphs[0], state).outputs(x, mask))(stacked)
    return [in_range(metric, *(part[i] for part in outputs)) for i, metric in enumerate(metrics)]


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
