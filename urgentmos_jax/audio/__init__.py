"""Audio files and arrays -> float32 mono waveforms at 16 kHz (`loading`), or `errors`; files opened (`opening`), what
their containers claim (`containers`)."""

from urgentmos_jax.lazy import public

__getattr__, __all__ = public(__name__, errors="AudioError", loading="Clip SAMPLE_RATE_HZ load_audio probe")
