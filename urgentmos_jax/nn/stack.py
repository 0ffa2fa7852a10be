"""Equal layers as one scan, and the operations that they take."""

from collections.abc import Callable
from typing import Any, Literal

import jax
import jax.numpy as jnp
from flax import nnx
from jax.ad_checkpoint import checkpoint_name

from urgentmos_jax.nn.blocks import scale_gradient

# Which hidden states an encoder returns: the last, all, or a sum with given weights.
States = Literal["last", "all"] | jax.Array

_GATHERED = "gathered"


class LayerStack(nnx.Module):
    """Equal layers with parameters stacked on a first axis, run by one `lax.scan`.

    Args:
        build: Makes one layer, called as `build(rngs=rngs)`. A layer is called as `layer(h, *context,
            dropout_key=key)` and returns the next h.
        count: Number of layers.
    """

    def __init__(self, build: Callable[..., nnx.Module], count: int, *, rngs: nnx.Rngs):
        self.count = count
        # Whether each layer is computed again in the backward pass instead of keeping its activations.
        self.remat = False
        # Gathers a layer's parameters where they are spread over devices, just before they are used; None = nothing.
        self.gather: Callable[[Any], Any] | None = None
        self.stacked = nnx.vmap(lambda rngs: build(rngs=rngs))(rngs.split(count))

    def __call__(
        self,
        h: jax.Array,
        *context: Any,
        states: States = "last",
        pool: Callable[[jax.Array], jax.Array] | None = None,
        final: Callable[[jax.Array], jax.Array] | None = None,
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
            pool: Linear map over time behind every state, or None.
            final: Norm behind the last layer, after `pool`, or None.
            final_is_a_state: Whether the last of the listed and summed states has passed `final` (Whisper) or not.
            gradient_scale: Factor on the gradient that flows from the weighted sum into the states.
            skipped: [count], layers that hand on their input, which is listed and summed as their state; None = none.
            dropout_key: Random key; None computes without dropout.

        Returns:
            [B, L, D], or [count + 1, B, L, D] for "all"; L as `pool` makes it.
        """
        graph, params = nnx.split(self.stacked)
        pool, final = pool or (lambda x: x), final or (lambda x: x)
        keys = None if dropout_key is None else jax.random.split(dropout_key, self.count)
        mix = None if isinstance(states, str) else states.astype(h.dtype)

        def step(carry: tuple, layer: tuple) -> tuple:
            h, total = carry
            params, key, skip, weight = layer
            if self.gather is not None:
                params = jax.tree.map(lambda x: checkpoint_name(x, _GATHERED), self.gather(params))
            after = nnx.merge(graph, params)(h, *context, dropout_key=key)
            h = after if skip is None else jnp.where(skip, h, after)
            if weight is not None:
                total = total + weight * scale_gradient(h, gradient_scale)
            return (h, total), h if isinstance(states, str) and states == "all" else None

        total: Any = None if mix is None else mix[0] * scale_gradient(h, gradient_scale)
        # The last state is added behind the scan, since `final` may lie between.
        layers = (params, keys, skipped, None if mix is None else mix[1:].at[-1].set(0))
        body: Callable[..., Any] = step
        if self.remat:
            body = jax.checkpoint(step)
        elif self.gather is not None:
            # Else the backward pass would keep every layer's gathered parameters.
            policy = jax.checkpoint_policies.save_anything_except_these_names(_GATHERED)
            body = jax.checkpoint(step, policy=policy, prevent_cse=False)
        (last, total), outputs = jax.lax.scan(body, (h, total), layers)
        last = pool(last)
        last_state = final(last) if final_is_a_state else last
        if mix is not None:
            return pool(total) + mix[-1] * scale_gradient(last_state, gradient_scale)
        if states == "all":
            before = jnp.concatenate([h[None], outputs[:-1]])
            return jnp.concatenate([jax.vmap(pool)(before), last_state[None]])
        return final(last)


def stack_flops(layers: int, width: int, feedforward: int, frames: int, *, attended: int | None = None) -> float:
    """Operations of transformer layers for one clip, two a multiply-add; softmax, norms and biases are left out.

    Each frame attends to `attended` frames, or to all.
    """
    attended = frames if attended is None else attended
    return 2.0 * layers * frames * (4 * width**2 + 2 * width * feedforward + 2 * attended * width)
