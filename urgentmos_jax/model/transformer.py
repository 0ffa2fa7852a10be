"""Transformer encoder with the layers of `torch.nn.TransformerEncoderLayer` at its defaults: post-norm, ReLU."""

import dataclasses
import functools

import jax
from flax import nnx

from urgentmos_jax.nn.attention import Attention
from urgentmos_jax.nn.blocks import dropout, layer_norm, linear, split_key
from urgentmos_jax.nn.stack import LayerStack


@dataclasses.dataclass(frozen=True)
class TransformerConfig:
    """Sizes of a stack; the published category encoders have the defaults."""

    layers: int = 6
    heads: int = 8
    feedforward: int = 2048
    dropout: float = 0.1


def transformer(width: int, config: TransformerConfig, *, rngs: nnx.Rngs) -> LayerStack:
    """Stack of layers, called as `stack(h [B, L, D], mask [B, L], dropout_key=None)`."""
    return LayerStack(functools.partial(TransformerLayer, width, config), config.layers, rngs=rngs)


class TransformerLayer(nnx.Module):
    """Attention and feed-forward, each with dropout, residual and norm behind it."""

    def __init__(self, width: int, config: TransformerConfig, *, rngs: nnx.Rngs):
        self.rate = config.dropout
        self.attention = Attention(width, config.heads, rngs=rngs)
        self.attention_norm = layer_norm(width, rngs=rngs)
        self.feed_in = linear(width, config.feedforward, rngs=rngs)
        self.feed_out = linear(config.feedforward, width, rngs=rngs)
        self.feed_norm = layer_norm(width, rngs=rngs)

    def __call__(self, h: jax.Array, mask: jax.Array, *, dropout_key: jax.Array | None = None) -> jax.Array:
        """[B, L, D], mask [B, L] -> [B, L, D]."""
        keys = split_key(dropout_key, 4)
        attended, _ = self.attention(h, h, mask=mask, dropout_rate=self.rate, dropout_key=keys[0])
        h = self.attention_norm(h + dropout(attended, self.rate, keys[1]))
        inner = dropout(jax.nn.relu(self.feed_in(h)), self.rate, keys[2])
        return self.feed_norm(h + dropout(self.feed_out(inner), self.rate, keys[3]))
