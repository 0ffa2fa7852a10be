"""Speech encoders. `ENCODERS` maps the `model_type` of a config.json to the class that runs it."""

from urgentmos_jax.encoders.compact import Compact
from urgentmos_jax.encoders.wav2vec2 import Wav2Vec2

ENCODERS = {
    "wav2vec2": Wav2Vec2,
    "hubert": Wav2Vec2,
    "wavlm": Wav2Vec2,
    "compact": Compact,
}

__all__ = ["ENCODERS", "Compact", "Wav2Vec2"]
