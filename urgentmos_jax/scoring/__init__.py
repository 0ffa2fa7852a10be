"""The engine: recordings are decoded, cut into windows, batched by length and encoded once; results become rows."""

from urgentmos_jax.lazy import public

__getattr__, __all__ = public(
    __name__, loading="load_model", model="Model", rows="Compared Comparison ComparisonRow ScoreRow Scored"
)
