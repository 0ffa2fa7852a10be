"""Families of pretrained encoders by the `model_type` of their config.json."""

from urgentmos_jax.weights.huggingface.family import Family
from urgentmos_jax.weights.huggingface.qwen3_omni import QWEN3_OMNI
from urgentmos_jax.weights.huggingface.wav2vec2 import WAV2VEC2
from urgentmos_jax.weights.huggingface.whisper import WHISPER

FAMILIES: dict[str, Family] = {
    "wav2vec2": WAV2VEC2,
    "hubert": WAV2VEC2,
    "wavlm": WAV2VEC2,
    "whisper": WHISPER,
    "qwen2_audio_encoder": WHISPER,
    "qwen3_omni_moe_audio_encoder": QWEN3_OMNI,
}
