"""Lengths, masks and masked statistics over time. A mask is True where a value is valid, everywhere."""

from collections.abc import Iterable
from typing import Any

import jax
import jax.numpy as jnp


def conv_lengths(lengths: Any, layers: Iterable[tuple[int, int]]) -> Any:
    """Output lengths of unpadded convolutions, layer by layer: floor((length - kernel) / stride) + 1, at least 0.

    Args:
        lengths: int, or an integer array of numpy or jax.
        layers: (kernel, stride) of each layer.
    """
    for kernel, stride in layers:
        lengths = (lengths - kernel) // stride + 1
        # (x > 0) * x is max(x, 0) for Python, numpy and jax integers alike.
        lengths = (lengths > 0) * lengths
    return lengths


def length_mask(lengths: jax.Array, size: int) -> jax.Array:
    """[B] lengths -> [B, size] mask of the first `lengths` positions."""
    return jnp.arange(size) < lengths[:, None]


def masked_mean(x: jax.Array, mask: jax.Array) -> jax.Array:
    """Mean [B, D] over time of the valid frames of [B, L, D], in float32; 0 where there is none."""
    valid = jnp.where(mask[..., None], x, 0).astype(jnp.float32)
    return valid.sum(1) / jnp.maximum(mask.sum(1), 1)[:, None]
