"""Speech encoders by the `model_type` of their config."""

import jax
from flax import nnx

from urgentmos_jax.encoders.compact import Compact
from urgentmos_jax.encoders.distill_mos import DistillMOS
from urgentmos_jax.encoders.encoder import Architecture, Encoder
from urgentmos_jax.encoders.qwen3_omni import Qwen3Omni
from urgentmos_jax.encoders.wav2vec2 import Wav2Vec2
from urgentmos_jax.encoders.whisper import Whisper

ENCODERS: dict[str, type[Encoder]] = {
    "wav2vec2": Wav2Vec2,
    "hubert": Wav2Vec2,
    "wavlm": Wav2Vec2,
    "whisper": Whisper,
    "qwen2_audio_encoder": Whisper,
    "qwen3_omni_moe_audio_encoder": Qwen3Omni,
    "compact": Compact,
    "distill_mos": DistillMOS,
}


def make_encoder(config: Architecture, dtype: str = "float32", *, rngs: nnx.Rngs) -> Encoder:
    """The encoder of a config, randomly initialised.

    The dtype is that of the weights, and with them of the computation; norms, softmax and log-mel stay float32.
    """
    encoder = ENCODERS[config.model_type](config, rngs=rngs)
    if dtype != "float32":
        nnx.update(encoder, jax.tree.map(lambda x: x.astype(dtype), nnx.state(encoder, nnx.Param)))
    return encoder
