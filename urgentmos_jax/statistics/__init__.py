"""Statistics of numbers alone: agreement, preference, bootstrap intervals, strengths and significant differences."""

from urgentmos_jax.lazy import public

__getattr__, __all__ = public(
    __name__,
    bootstrap="Difference Estimates Interval average estimates paired_differences",
    correlation="agreement agreement_with_intervals system_means",
    grouping="compact_letters significantly_different",
    preference="paper_accuracy preference_with_intervals sign_accuracy",
)
