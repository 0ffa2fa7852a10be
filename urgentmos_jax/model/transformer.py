"""Transformer encoder with the layers of `torch.nn.TransformerEncoderLayer` at its defaults: post-norm, ReLU."""

import dataclasses
import functools

from flax import nnx

from urgentmos_jax.nn.attention import PostNormLayer
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
    build = functools.partial(PostNormLayer, width, config.heads, config.feedforward, dropout=config.dropout)
    return LayerStack(build, config.layers, rngs=rngs)
