"""Sizes of the encoders that the published models name, for what is asked before anything is downloaded.

That of microsoft/wavlm-base-plus is read from its config.json; the others are as their papers and model cards give
them. Whisper's small sizes are here to be trained from nothing, too (`configs/common.py`). Loading an encoder reads its
own config.json, never this table.
"""

from typing import Any

from urgentmos_jax.encoders.encoder import Architecture
from urgentmos_jax.encoders.qwen3_omni import Qwen3OmniConfig
from urgentmos_jax.encoders.wav2vec2 import Wav2Vec2Config
from urgentmos_jax.encoders.whisper import WhisperConfig

_LARGE: dict[str, Any] = dict(
    mel_bins=128, hidden_size=1280, num_hidden_layers=32, num_attention_heads=20, intermediate_size=5120
)
_WHISPER = {
    "tiny": WhisperConfig(
        "whisper", 80, hidden_size=384, num_hidden_layers=4, num_attention_heads=6, intermediate_size=1536
    ),
    "base": WhisperConfig(
        "whisper", 80, hidden_size=512, num_hidden_layers=6, num_attention_heads=8, intermediate_size=2048
    ),
}

PUBLISHED_ENCODERS: dict[str, Architecture] = {
    "microsoft/wavlm-base-plus": Wav2Vec2Config(
        model_type="wavlm",
        hidden_size=768,
        num_hidden_layers=12,
        num_attention_heads=12,
        intermediate_size=3072,
        feat_extract_norm="group",
        do_stable_layer_norm=False,
        do_normalize=False,
    ),
    "microsoft/wavlm-large": Wav2Vec2Config(
        model_type="wavlm",
        hidden_size=1024,
        num_hidden_layers=24,
        num_attention_heads=16,
        intermediate_size=4096,
        feat_extract_norm="layer",
        do_stable_layer_norm=True,
        do_normalize=True,
    ),
    **{f"openai/whisper-{size}{kind}": one for size, one in _WHISPER.items() for kind in ("", ".en")},
    "Atotti/Kimi-Audio-Whisper-Encoder": WhisperConfig("whisper", **_LARGE),
    "Atotti/AFWhisper": WhisperConfig("qwen2_audio_encoder", **_LARGE),
    "giangndm/qwen3-30b-omni-audio-encoder": Qwen3OmniConfig(
        **_LARGE, output_dim=2048, stem_channels=480, chunk=100, window=800
    ),
}
