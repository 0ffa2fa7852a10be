"""SpecAugment (Park et al. 2019, arXiv 1904.08779) as transformers applies it to wav2vec2: what is masked."""

import jax
import jax.numpy as jnp


def sample_spans(
    key: jax.Array, lengths: jax.Array, size: int, probability: float, span: int, min_spans: int
) -> jax.Array:
    """Random spans, which may overlap, as transformers samples them for each row alone.

    Args:
        key: Random key.
        lengths, size: [B], positions of each row that spans may cover, and all of its positions.
        probability: Part of the positions that the spans would cover if none overlapped.
        span: Positions of a span.
        min_spans: Spans at least, where they fit side by side.

    Returns:
        [B, size], True in a span. A row shorter than a span has none.
    """
    rounding, starts = jax.random.split(key)
    wanted = probability * lengths / span + jax.random.uniform(rounding, lengths.shape)
    count = jnp.minimum(jnp.maximum(wanted.astype(jnp.int32), min_spans), lengths // span)
    allowed = jnp.arange(size) <= lengths[:, None] - span
    order = jnp.where(allowed, jax.random.uniform(starts, allowed.shape), jnp.inf).argsort(1).argsort(1)
    begun = (allowed & (order < count[:, None])).astype(jnp.int32).cumsum(1)
    ended = jnp.pad(begun, ((0, 0), (span, 0)))[:, :size]
    return begun > ended
