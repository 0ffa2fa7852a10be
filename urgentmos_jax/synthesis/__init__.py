"""Synthetic speech: eSpeak, degradations, generated corpora."""

from urgentmos_jax.lazy import public

__getattr__, __all__ = public(
    __name__,
    catalogue="ALL_DEGRADATIONS ALL_KINDS",
    degradations="DEGRADATIONS Degradation",
    espeak="synthesize",
    generated="generate",
    plans="Plan System all_systems default_splits",
    speech_level="active_speech_level",
)
