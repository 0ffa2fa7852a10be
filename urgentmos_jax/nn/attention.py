"""Multi-head attention, and the transformer layers built on it: norms first, and norms last."""

import jax
import jax.numpy as jnp
from flax import nnx

from urgentmos_jax.nn.blocks import dropout, gelu, layer_norm, linear, split_key


class Attention(nnx.Module):
    """Multi-head attention with separate projections, as `torch.nn.MultiheadAttention` computes it.

    Args:
        width: Features of queries, keys, values and output.
        heads: Number of heads; divides `width`.
        key_bias: Whether the key projection has a bias (Whisper's has none).
    """

    def __init__(self, width: int, heads: int, *, key_bias: bool = True, rngs: nnx.Rngs):
        if width % heads:
            raise ValueError(f"attention: {heads} heads do not divide a width of {width}")
        self.heads = heads
        # torch draws the three input projections as one [3 width, width] matrix (Glorot).
        glorot = nnx.initializers.variance_scaling(0.5, "fan_avg", "uniform")

        def project(bias: bool = True) -> nnx.Linear:
            return nnx.Linear(width, width, use_bias=bias, kernel_init=glorot, rngs=rngs)

        self.query, self.key, self.value = project(), project(key_bias), project()
        self.out = linear(width, width, rngs=rngs)

    def __call__(
        self,
        queries: jax.Array,
        keys: jax.Array,
        *,
        mask: jax.Array | None = None,
        bias: jax.Array | None = None,
        dropout_rate: float = 0.0,
        dropout_key: jax.Array | None = None,
    ) -> tuple[jax.Array, jax.Array]:
        """Attends from `queries` to `keys`.

        Args:
            queries: [B, Q, D].
            keys: [B, L, D], projected to keys and to values.
            mask: [B, L] or any shape that broadcasts to [B, H, Q, L]; True = may be attended.
            bias: Added to the scaled scores, broadcasts to [B, H, Q, L].
            dropout_rate, dropout_key: Of the attention weights.

        Returns:
            The output [B, Q, D] and the weights [B, H, Q, L] (float32). A row without any valid key has finite,
            meaningless values.
        """

        def split(x: jax.Array, *axes: int) -> jax.Array:
            return x.reshape(*x.shape[:-1], self.heads, -1).transpose(0, *axes)

        # In this order of axes the batched matmuls and their gradients are fastest on CPUs.
        q, k, v = split(self.query(queries), 2, 1, 3), split(self.key(keys), 2, 3, 1), split(self.value(keys), 2, 1, 3)
        scores = jnp.einsum("bhqd,bhdk->bhqk", q * q.shape[-1] ** -0.5, k).astype(jnp.float32)
        if bias is not None:
            scores = scores + bias
        if mask is not None:
            mask = mask[:, None, None, :] if mask.ndim == 2 else mask
            scores = jnp.where(mask, scores, jnp.finfo(jnp.float32).min)
        # Softmax, its division left to the [B, H, Q, D / H] values: the gradient then takes no sum over the scores.
        powers = jnp.exp(scores - jax.lax.stop_gradient(scores.max(-1, keepdims=True)))
        total = powers.sum(-1, keepdims=True)
        dropped = dropout(powers, dropout_rate, dropout_key).astype(v.dtype)
        attended = (jnp.einsum("bhqk,bhkd->bhqd", dropped, v) / total).astype(v.dtype)
        attended = attended.transpose(0, 2, 1, 3).reshape(queries.shape)
        return self.out(attended), powers / total


class PreNormLayer(nnx.Module):
    """Attention and feed-forward (exact GELU), each behind its norm and added to its input; dropout behind both."""

    def __init__(
        self, width: int, heads: int, feedforward: int, *, dropout: float = 0.0, key_bias: bool = True, rngs: nnx.Rngs
    ):
        self.rate = dropout
        self.attention = Attention(width, heads, key_bias=key_bias, rngs=rngs)
        self.attention_norm = layer_norm(width, rngs=rngs)
        self.feed_in = linear(width, feedforward, rngs=rngs)
        self.feed_out = linear(feedforward, width, rngs=rngs)
        self.feed_norm = layer_norm(width, rngs=rngs)

    def __call__(self, h: jax.Array, mask: jax.Array | None, *, dropout_key: jax.Array | None = None) -> jax.Array:
        """[B, L, D], mask [B, L] (None: all frames are valid) -> [B, L, D]."""
        keys = split_key(dropout_key, 2)
        z = self.attention_norm(h)
        attended, _ = self.attention(z, z, mask=mask)
        h = h + dropout(attended, self.rate, keys[0])
        return h + dropout(self.feed_out(gelu(self.feed_in(self.feed_norm(h)))), self.rate, keys[1])


class PostNormLayer(nnx.Module):
    """`torch.nn.TransformerEncoderLayer` at its defaults: attention and feed-forward (ReLU), each with dropout,
    residual and norm behind it."""

    def __init__(self, width: int, heads: int, feedforward: int, *, dropout: float = 0.0, rngs: nnx.Rngs):
        self.rate = dropout
        self.attention = Attention(width, heads, rngs=rngs)
        self.attention_norm = layer_norm(width, rngs=rngs)
        self.feed_in = linear(width, feedforward, rngs=rngs)
        self.feed_out = linear(feedforward, width, rngs=rngs)
        self.feed_norm = layer_norm(width, rngs=rngs)

    def __call__(self, h: jax.Array, mask: jax.Array | None, *, dropout_key: jax.Array | None = None) -> jax.Array:
        """[B, L, D], mask [B, L] (None: all frames are valid) -> [B, L, D]."""
        keys = split_key(dropout_key, 4)
        attended, _ = self.attention(h, h, mask=mask, dropout_rate=self.rate, dropout_key=keys[0])
        h = self.attention_norm(h + dropout(attended, self.rate, keys[1]))
        inner = dropout(jax.nn.relu(self.feed_in(h)), self.rate, keys[2])
        return self.feed_norm(h + dropout(self.feed_out(inner), self.rate, keys[3]))
