"""Building blocks that encoders and model share."""

from urgentmos_jax.lazy import public

__getattr__, __all__ = public(
    __name__,
    attention="Attention PostNormLayer PreNormLayer",
    blocks="Conv1d Conv2d dropout gelu layer_norm linear scale_gradient sinusoids split_key",
    masking="conv_lengths length_mask masked_mean",
    stack="LayerStack States stack_flops",
)
