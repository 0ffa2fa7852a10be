"""Audio files and arrays -> float32 mono waveforms at 16 kHz (`loading`); what containers claim (`containers`)."""

from urgentmos_jax.lazy import public

__getattr__, __all__ = public(__name__, loading="AudioError Clip SAMPLE_RATE_HZ load_audio probe")
