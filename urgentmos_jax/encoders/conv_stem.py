"""Convolutions from samples to frames of wav2vec2, HuBERT and WavLM, their norms over valid frames only."""

import jax
import jax.numpy as jnp
from flax import nnx

from urgentmos_jax.nn.blocks import Conv1d, gelu, layer_norm
from urgentmos_jax.nn.masking import conv_lengths, length_mask, masked_mean


class StemLayer(nnx.Module):
    """Convolution, norm (over time per channel, over channels, or none), GELU."""

    def __init__(
        self, inputs: int, outputs: int, kernel: int, stride: int, norm: str | None, *, bias: bool, rngs: nnx.Rngs
    ):
        self.geometry = (kernel, stride)
        self.conv = Conv1d(inputs, outputs, kernel, stride=stride, bias=bias, rngs=rngs)
        # Epsilon 1e-5 in both norms, whatever the config says.
        norms = {"group": lambda: TimeNorm(outputs), "layer": lambda: layer_norm(outputs, rngs=rngs)}
        self.norm = norms[norm]() if norm else None

    def lengths(self, lengths: jax.Array) -> jax.Array:
        """Output lengths of input lengths."""
        return conv_lengths(lengths, [self.geometry])

    def __call__(self, x: jax.Array, lengths: jax.Array) -> jax.Array:
        """[B, L, C] and the *output* lengths [B] -> [B, L', C']."""
        x = self.conv(x)
        if isinstance(self.norm, TimeNorm):
            x = self.norm(x, lengths)
        elif self.norm is not None:
            x = self.norm(x)
        return gelu(x)


class TimeNorm(nnx.Module):
    """GroupNorm with one channel a group: each channel over time, here over a clip's valid frames only."""

    def __init__(self, features: int):
        self.scale = nnx.Param(jnp.ones(features))
        self.bias = nnx.Param(jnp.zeros(features))

    def __call__(self, x: jax.Array, lengths: jax.Array) -> jax.Array:
        """[B, L, C], lengths [B] -> [B, L, C]."""
        mask = length_mask(lengths, x.shape[1])
        mean = masked_mean(x, mask)[:, None]
        variance = masked_mean(jnp.square(x - mean), mask)[:, None]
        gain = jax.lax.rsqrt(variance + 1e-5) * self.scale[...]
        return ((x - mean) * gain + self.bias[...]).astype(x.dtype)
