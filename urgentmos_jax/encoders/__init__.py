"""Speech encoders: waveform to frames of features. They know nothing of files.

A new family is one module here (a frozen config and the encoder) and one line in `registry.py`. Where it has pretrained
weights, it also is one table in `weights/huggingface/` (settings of config.json, names of tensors) and one line in the
registry beside it.
"""

from urgentmos_jax.lazy import public

__getattr__, __all__ = public(
    __name__,
    compact="Compact CompactConfig",
    distill_mos="DistillMOS DistillMOSConfig",
    encoder="Architecture Encoder",
    qwen3_omni="Qwen3Omni Qwen3OmniConfig",
    registry="ENCODERS make_encoder",
    wav2vec2="Wav2Vec2 Wav2Vec2Config",
    whisper="Whisper WhisperConfig",
)
