"""Sizes of the encoders that the published models name, for what is asked before anything is downloaded.

That of microsoft/wavlm-base-plus is read from its config.json; the others are as their papers and model cards give
them. Loading an encoder reads its own config.json, never this table.
"""

from urgentmos_jax.encoders.encoder import Architecture
from urgentmos_jax.encoders.qwen3_omni import Qwen3OmniConfig
from urgentmos_jax.encoders.wav2vec2 import Wav2Vec2Config
from urgentmos_jax.encoders.whisper import WhisperConfig

__all__ = ["KNOWN_ENCODERS"]

_LARGE = dict(mel_bins=128, hidden_size=1280, num_hidden_layers=32, num_attention_heads=20, intermediate_size=5120)

KNOWN_ENCODERS: dict[str, Architecture] = {
    "microsoft/wavlm-base-plus": Wav2Vec2Config.wavlm_base_plus(),
    "microsoft/wavlm-large": Wav2Vec2Config.wavlm_large(),
    "Atotti/Kimi-Audio-Whisper-Encoder": WhisperConfig("whisper", **_LARGE),
    "Atotti/AFWhisper": WhisperConfig("qwen2_audio_encoder", **_LARGE),
    "giangndm/qwen3-30b-omni-audio-encoder": Qwen3OmniConfig(
        **_LARGE, output_dim=2048, stem_channels=480, chunk=100, window=800
    ),
}
