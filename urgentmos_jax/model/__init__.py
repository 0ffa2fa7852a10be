"""The UrgentMOS model: encoders fused, a transformer a category, heads a metric; its losses and its cost."""

from urgentmos_jax.lazy import public

__getattr__, __all__ = public(
    __name__,
    cost="clip_flops format_sizes parts scoring_bytes training_bytes",
    heads="HeadConfig",
    losses="LossConfig absolute_loss comparative_loss metric_weights total_loss",
    transformer="TransformerConfig",
    urgentmos="Absolute EncoderConfig Features ModelConfig UrgentMOS",
)
