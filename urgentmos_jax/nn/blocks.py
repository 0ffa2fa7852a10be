"""Building blocks shared by the encoders and the model.

The dtype of the weights decides the dtype of the computation; norms, softmax and means over time run in float32.
"""

import functools
from collections.abc import Callable
from typing import Any, Literal

import jax
import jax.numpy as jnp
from flax import nnx

# Which hidden states an encoder returns: the last, all, or a sum with given weights.
States = Literal["last", "all"] | jax.Array

__all__ = [
    "Attention",
    "Conv1d",
    "LayerStack",
    "PreNormLayer",
    "States",
    "dropout",
    "gelu",
    "layer_norm",
    "linear",
    "scale_gradient",
]


def _same(x: jax.Array) -> jax.Array:
    return x


def gelu(x: jax.Array) -> jax.Array:
    """Exact (erf) GELU, as all pretrained speech encoders use it."""
    return jax.nn.gelu(x, approximate=False)


def layer_norm(features: int, epsilon: float = 1e-5, *, rngs: nnx.Rngs) -> nnx.LayerNorm:
    """LayerNorm with torch's epsilon and two-pass variance."""
    return nnx.LayerNorm(features, epsilon=epsilon, use_fast_variance=False, rngs=rngs)


def linear(inputs: int, outputs: int, *, bias: bool = True, rngs: nnx.Rngs) -> nnx.Linear:
    """Linear layer with torch's default initialisation: weights and bias uniform in +-1/sqrt(inputs)."""

    def bias_init(key: jax.Array, shape: tuple[int, ...], dtype: Any) -> jax.Array:
        bound = inputs**-0.5
        return jax.random.uniform(key, shape, dtype, -bound, bound)

    kernel_init = nnx.initializers.variance_scaling(1 / 3, "fan_in", "uniform")
    return nnx.Linear(inputs, outputs, use_bias=bias, kernel_init=kernel_init, bias_init=bias_init, rngs=rngs)


def dropout(x: jax.Array, rate: float, key: jax.Array | None) -> jax.Array:
    """Dropout where a key is given, identity without one."""
    return x if key is None else nnx.Dropout(rate)(x, deterministic=False, rngs=key)


class Conv1d(nnx.Module):
    """Convolution over time, channels last, with torch's explicit padding.

    Args:
        inputs, outputs: Channels.
        width: Taps.
        stride: Step in frames.
        padding: Zero frames before and after.
        groups: Feature groups.
        bias: Whether a bias is added.
    """

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
        y = jax.lax.conv_general_dilated(
            x.astype(kernel.dtype),
            kernel,
            (self.stride,),
            (self.padding,),
            dimension_numbers=("NWC", "WIO", "NWC"),
            feature_group_count=self.groups,
        )
        return y if self.bias is None else y + self.bias[...]


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
            dropout_rate: Rate on the attention weights, where `dropout_key` is given.
            dropout_key: Random key, or None.

        Returns:
            The output [B, Q, D] and the weights [B, H, Q, L] (float32). A row without any valid key has finite,
            meaningless values.
        """

        def split(x: jax.Array) -> jax.Array:
            return x.reshape(*x.shape[:-1], self.heads, x.shape[-1] // self.heads)

        q, k, v = split(self.query(queries)), split(self.key(keys)), split(self.value(keys))
        scores = jnp.einsum("bqhd,bkhd->bhqk", q * q.shape[-1] ** -0.5, k)
        scores = scores.astype(jnp.float32)
        if bias is not None:
            scores = scores + bias
        if mask is not None:
            mask = mask[:, None, None, :] if mask.ndim == 2 else mask
            scores = jnp.where(mask, scores, jnp.finfo(jnp.float32).min)
        weights = jax.nn.softmax(scores, axis=-1)
        dropped = dropout(weights, dropout_rate, dropout_key).astype(v.dtype)
        attended = jnp.einsum("bhqk,bkhd->bqhd", dropped, v)
        return self.out(attended.reshape(queries.shape)), weights


class PreNormLayer(nnx.Module):
    """Attention and feed-forward (exact GELU), each behind its norm and added to its input.

    Args:
        width: Features.
        heads: Of the attention.
        feedforward: Inner features of the feed-forward.
        dropout: Rate behind attention and feed-forward, in training.
        key_bias: Whether the key projection has a bias.
    """

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
        keys = (None, None) if dropout_key is None else jax.random.split(dropout_key)
        z = self.attention_norm(h)
        attended, _ = self.attention(z, z, mask=mask)
        h = h + dropout(attended, self.rate, keys[0])
        return h + dropout(self.feed_out(gelu(self.feed_in(self.feed_norm(h)))), self.rate, keys[1])


class LayerStack(nnx.Module):
    """Equal layers with parameters stacked on a first axis, run by one `lax.scan`.

    Args:
        build: Makes one layer from its random streams. A layer is called as `layer(h, *context, dropout_key=key)`
            and returns the next h.
        count: Number of layers.
    """

    def __init__(self, build: Callable[[nnx.Rngs], nnx.Module], count: int, *, rngs: nnx.Rngs):
        self.count = count
        # Whether each layer is computed again in the backward pass instead of keeping its activations.
        self.remat = False
        self.stacked = nnx.vmap(build)(rngs.split(count))

    def __call__(
        self,
        h: jax.Array,
        *context: Any,
        states: States = "last",
        pool: Callable[[jax.Array], jax.Array] = _same,
        final: Callable[[jax.Array], jax.Array] = _same,
        final_is_a_state: bool = False,
        gradient_scale: float = 1.0,
        skipped: jax.Array | None = None,
        dropout_key: jax.Array | None = None,
    ) -> jax.Array:
        """Runs the layers.

        Args:
            h: [B, L, D], input of the first layer and state 0.
            context: Passed unchanged to every layer.
            states: "last": the last output, through `final`; "all": state 0 and all outputs; weights [count + 1]:
                their weighted sum, made on the way, so that no more than one state is held.
            pool: Linear map over time behind every state.
            final: Norm behind the last layer, after `pool`.
            final_is_a_state: Whether the last of the listed and summed states has passed `final` (Whisper) or not.
            gradient_scale: Factor on the gradient that flows from the weighted sum into the states.
            skipped: [count], layers that hand on their input, which is listed and summed as their state; None = none.
            dropout_key: Random key; None computes without dropout.

        Returns:
            [B, L, D], or [count + 1, B, L, D] for "all"; L as `pool` makes it.
        """
        graph, params = nnx.split(self.stacked)
        keys = None if dropout_key is None else jax.random.split(dropout_key, self.count)
        mix = None if isinstance(states, str) else states.astype(h.dtype)

        def step(carry: tuple, layer: tuple) -> tuple:
            h, total = carry
            params, key, skip, weight = layer
            after = nnx.merge(graph, params)(h, *context, dropout_key=key)
            h = after if skip is None else jnp.where(skip, h, after)
            if weight is not None:
                total = total + weight * scale_gradient(h, gradient_scale)
            return (h, total), h if isinstance(states, str) and states == "all" else None

        total = None if mix is None else mix[0] * scale_gradient(h, gradient_scale)
        # The last state is added behind the scan, since `final` may lie between.
        layers = (params, keys, skipped, None if mix is None else mix[1:].at[-1].set(0))
        (last, total), outputs = jax.lax.scan(jax.checkpoint(step) if self.remat else step, (h, total), layers)
        last = pool(last)
        last_state = final(last) if final_is_a_state else last
        if mix is not None:
            return pool(total) + mix[-1] * scale_gradient(last_state, gradient_scale)
        if states == "all":
            before = jnp.concatenate([h[None], outputs[:-1]])
            return jnp.concatenate([jax.vmap(pool)(before), last_state[None]])
        return final(last)


@functools.partial(jax.custom_vjp, nondiff_argnums=(1,))
def scale_gradient(x: jax.Array, factor: float) -> jax.Array:
    """Identity forward, gradient times `factor` backward."""
    return x


scale_gradient.defvjp(lambda x, factor: (x, None), lambda factor, _, g: (g * factor,))
