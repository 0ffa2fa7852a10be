"""Building blocks that encoders and model share.

The dtype of the weights decides the dtype of the computation; norms, softmax and means over time run in float32.
"""

import functools
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx


def gelu(x: jax.Array) -> jax.Array:
    """Exact (erf) GELU, as all pretrained speech encoders use it."""
    return jax.nn.gelu(x, approximate=False)


def layer_norm(features: int, epsilon: float = 1e-5, *, rngs: nnx.Rngs) -> nnx.LayerNorm:
    """LayerNorm with torch's epsilon and two-pass variance."""
    return nnx.LayerNorm(features, epsilon=epsilon, use_fast_variance=False, rngs=rngs)


def linear(inputs: int, outputs: int, *, bias: bool = True, rngs: nnx.Rngs) -> nnx.Linear:
    """Linear layer with torch's default initialisation: weights and bias uniform in +-1/sqrt(inputs)."""

    def bias_init(key: jax.Array, shape: tuple[int, ...], dtype: Any) -> jax.Array:
        return jax.random.uniform(key, shape, dtype, -(inputs**-0.5), inputs**-0.5)

    kernel_init = nnx.initializers.variance_scaling(1 / 3, "fan_in", "uniform")
    return nnx.Linear(inputs, outputs, use_bias=bias, kernel_init=kernel_init, bias_init=bias_init, rngs=rngs)


def dropout(x: jax.Array, rate: float, key: jax.Array | None) -> jax.Array:
    """Dropout where a key is given, identity without one.

    The bits are a hash of each value's place and of the key (the integer finalizer `lowbias32` of C. Wellons, 2018): on
    a CPU the generators of `jax.random` take forty times as long for them, more than all else in a small model. They
    do not depend on how the array is laid out over devices.
    """
    if key is None or rate == 0:
        return x
    first, second = jax.random.bits(key, (2,))
    bits = jax.lax.iota(jnp.uint32, x.size).reshape(x.shape) + first
    bits = (bits ^ (bits >> 16)) * np.uint32(0x7FEB352D)
    bits = (bits ^ (bits >> 15) ^ second) * np.uint32(0x846CA68B)
    bits = bits ^ (bits >> 16)
    return jnp.where(bits < np.uint32(round((1 - rate) * 2**32)), x / (1 - rate), 0)


def split_key(key: jax.Array | None, count: int) -> Sequence[jax.Array | None]:
    """Random keys of dropout for the parts of a module; without a key they are None, which is evaluation."""
    return [None] * count if key is None else list(jax.random.split(key, count))


@functools.partial(jax.custom_vjp, nondiff_argnums=(1,))
def scale_gradient(x: jax.Array, factor: float) -> jax.Array:
    """Identity forward, gradient times `factor` backward."""
    return x


scale_gradient.defvjp(lambda x, factor: (x, None), lambda factor, _, g: (g * factor,))


def sinusoids(frames: int, width: int) -> np.ndarray | jax.Array:
    """Sine and cosine positions [frames, width], wavelengths 2 pi to 20000 pi frames.

    A number of frames that is known only when a program runs, as in an exported one, is 6,000 at most.
    """
    if not isinstance(frames, int):
        return jnp.asarray(sinusoids(6000, width))[:frames]
    rate = np.exp(-np.log(10000) * np.arange(width // 2) / (width // 2 - 1))
    angle = np.arange(frames)[:, None] * rate
    return np.concatenate([np.sin(angle), np.cos(angle)], -1).astype(np.float32)


class Conv1d(nnx.Module):
    """Convolution over time, channels last, with torch's explicit padding: zero frames before and after."""

    def __init__(
        self,
        inputs: int,
        outputs: int,
        width: int,
        *,
        stride: int = 1,
        padding: tuple[int, int] = (0, 0),
        groups: int = 1,
        bias: bool = True,
        rngs: nnx.Rngs,
    ):
        self.stride, self.padding, self.groups = stride, padding, groups
        init = nnx.initializers.he_normal()
        self.kernel = nnx.Param(init(rngs.params(), (width, inputs // groups, outputs)))
        self.bias = nnx.Param(jnp.zeros(outputs)) if bias else None

    def __call__(self, x: jax.Array) -> jax.Array:
        """[B, L, inputs] -> [B, L', outputs], L' = (L + padding - width) // stride + 1."""
        kernel = self.kernel[...]
        shapes: dict[str, Any] = {"dimension_numbers": ("NWC", "WIO", "NWC"), "feature_group_count": self.groups}
        y = jax.lax.conv_general_dilated(x.astype(kernel.dtype), kernel, (self.stride,), (self.padding,), **shapes)
        return y if self.bias is None else y + self.bias[...]


class Conv2d(nnx.Module):
    """3 x 3 convolution over [B, time, frequency, channels], with torch's explicit padding."""

    def __init__(
        self,
        inputs: int,
        outputs: int,
        *,
        stride: tuple[int, int],
        padding: tuple[tuple[int, int], tuple[int, int]],
        rngs: nnx.Rngs,
    ):
        self.stride, self.padding = stride, padding
        self.kernel = nnx.Param(nnx.initializers.he_normal()(rngs.params(), (3, 3, inputs, outputs)))
        self.bias = nnx.Param(jnp.zeros(outputs))

    def __call__(self, x: jax.Array) -> jax.Array:
        """[B, T, F, inputs] -> [B, T', F', outputs], each size (size + padding - 3) // stride + 1."""
        kernel = self.kernel[...]
        y = jax.lax.conv_general_dilated(
            x.astype(kernel.dtype), kernel, self.stride, self.padding, dimension_numbers=("NHWC", "HWIO", "NHWC")
        )
        return y + self.bias[...]
