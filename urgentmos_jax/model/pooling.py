"""Pooling of frames to one vector a clip: mean, attentive, feed-forward, metric token (paper section 3)."""

from collections.abc import Callable
from typing import Literal

import jax
import jax.numpy as jnp
from flax import nnx

from urgentmos_jax.nn.attention import Attention
from urgentmos_jax.nn.blocks import layer_norm, linear
from urgentmos_jax.nn.masking import masked_mean

Pooling = Literal["mean", "attentive", "feed_forward", "metric_token"]


def pooling(kind: Pooling, width: int, *, rngs: nnx.Rngs) -> nnx.Module:
    """Pooling module of a kind.

    Called as `pool(x [B, L, D], mask [B, L])`, it returns the pooled vector [B, D], the frames as they entered the
    pool [B, L, D] and the weight of each frame [B, L] (float32, 0 on padding).
    """
    kinds: dict[str, Callable[..., nnx.Module]] = {
        "mean": MeanPooling,
        "attentive": AttentivePooling,
        "feed_forward": FeedForwardPooling,
        "metric_token": MetricTokenPooling,
    }
    return kinds[kind](width, rngs=rngs)


class MeanPooling(nnx.Module):
    """Equal weights."""

    def __init__(self, width: int, *, rngs: nnx.Rngs):
        del width, rngs

    def __call__(self, x: jax.Array, mask: jax.Array) -> tuple[jax.Array, jax.Array, jax.Array]:
        """See `pooling`."""
        weights = mask / jnp.maximum(mask.sum(1, keepdims=True), 1)
        return masked_mean(x, mask).astype(x.dtype), x, weights.astype(jnp.float32)


class AttentivePooling(nnx.Module):
    """Weights from the frame itself: Linear, tanh, Linear, softmax."""

    hidden = 128

    def __init__(self, width: int, *, rngs: nnx.Rngs):
        self.score_in = linear(width, self.hidden, rngs=rngs)
        self.score_out = linear(self.hidden, 1, bias=False, rngs=rngs)

    def __call__(self, x: jax.Array, mask: jax.Array) -> tuple[jax.Array, jax.Array, jax.Array]:
        """See `pooling`."""
        return weighted(x, self.score_out(jnp.tanh(self.score_in(x))), mask)


class FeedForwardPooling(nnx.Module):
    """Weights from the frame itself: Linear to twice the width, ReLU, Linear, softmax (of NISQA and Distill-MOS)."""

    def __init__(self, width: int, *, rngs: nnx.Rngs):
        self.score_in = linear(width, 2 * width, rngs=rngs)
        self.score_out = linear(2 * width, 1, rngs=rngs)

    def __call__(self, x: jax.Array, mask: jax.Array) -> tuple[jax.Array, jax.Array, jax.Array]:
        """See `pooling`."""
        return weighted(x, self.score_out(jax.nn.relu(self.score_in(x))), mask)


def weighted(x: jax.Array, scores: jax.Array, mask: jax.Array) -> tuple[jax.Array, jax.Array, jax.Array]:
    """What a pooling returns for frames [B, L, D] of these scores [B, L, 1], by a masked softmax."""
    scores = jnp.where(mask, scores[..., 0].astype(jnp.float32), jnp.finfo(jnp.float32).min)
    weights = jnp.where(mask, jax.nn.softmax(scores, axis=-1), 0)
    return jnp.einsum("bl,bld->bd", weights.astype(x.dtype), jnp.where(mask[..., None], x, 0)), x, weights


class MetricTokenPooling(nnx.Module):
    """A learned query attends to the normed frames; the weight of a frame is the mean over heads."""

    heads = 4

    def __init__(self, width: int, *, rngs: nnx.Rngs):
        self.token = nnx.Param(0.02 * jax.random.normal(rngs.params(), (width,)))
        self.token_norm = layer_norm(width, rngs=rngs)
        self.frame_norm = layer_norm(width, rngs=rngs)
        self.attention = Attention(width, self.heads, rngs=rngs)

    def __call__(self, x: jax.Array, mask: jax.Array) -> tuple[jax.Array, jax.Array, jax.Array]:
        """See `pooling`."""
        x = self.frame_norm(x)
        token = jnp.broadcast_to(self.token_norm(self.token[...]), (x.shape[0], 1, x.shape[2]))
        pooled, weights = self.attention(token, x, mask=mask)
        return pooled[:, 0], x, jnp.where(mask, weights[:, :, 0].mean(1), 0)
