"""Small models with random weights, of each family of encoders."""

import jax
import numpy as np
from flax import nnx

from urgentmos_jax.encoders.compact import CompactConfig
from urgentmos_jax.encoders.distill_mos import DistillMOSConfig
from urgentmos_jax.encoders.encoder import Architecture
from urgentmos_jax.encoders.qwen3_omni import Qwen3OmniConfig
from urgentmos_jax.encoders.wav2vec2 import Wav2Vec2Config
from urgentmos_jax.encoders.whisper import WhisperConfig
from urgentmos_jax.metrics import Metric
from urgentmos_jax.model.transformer import TransformerConfig
from urgentmos_jax.model.urgentmos import EncoderConfig, ModelConfig, UrgentMOS
from urgentmos_jax.scoring.model import Model
from urgentmos_jax.weights.rules import fill, flat_state

# Ending of the kinds of Whisper's that attend to the clip alone.
OWN_LENGTH = "-own-length"
SAMPLES = (18001, 9601, 401, 5200, 18001, 9601, 5200, 719)


def architecture(kind: str) -> Architecture:
    layers = dict(hidden_size=24, num_hidden_layers=2, num_attention_heads=3, intermediate_size=40)
    if kind == "compact":
        return CompactConfig(**layers)
    if kind == "distill_mos":
        return DistillMOSConfig(channels=(6, 6, 8, 8, 8, 8), **layers)
    if kind.startswith(("whisper", "qwen2_audio_encoder")):
        name = kind.removesuffix(OWN_LENGTH)
        return WhisperConfig(name, mel_bins=80, max_frames=100, own_length=kind != name, **layers)
    if kind == "qwen3_omni":
        # The longest clips have several chunks and as many windows.
        return Qwen3OmniConfig(mel_bins=24, output_dim=20, stem_channels=6, chunk=100, window=100, **layers)
    return Wav2Vec2Config(
        model_type="wavlm",
        hidden_size=24,
        num_hidden_layers=2,
        num_attention_heads=3,
        intermediate_size=40,
        feat_extract_norm=kind,
        do_stable_layer_norm=kind == "layer",
        do_normalize=kind == "layer",
        conv_dim=(16,) * 7,
        num_conv_pos_embeddings=16,
        num_conv_pos_embedding_groups=3,
    )


FUSED = ("layer", "whisper", "qwen3_omni", "qwen2_audio_encoder")


def model_config(kind: str) -> ModelConfig:
    kinds = FUSED if kind == "fused" else (kind,)
    return ModelConfig(
        encoders=tuple(EncoderConfig(architecture(one), layer_aggregation="qwen" not in one) for one in kinds),
        categories={
            "naturalness": {"mos_overall": Metric(1, 5, True), "pesq": Metric(1, 4.5)},
            "fidelity": {"sdr": Metric(), "estoi": Metric(0, 1)},
        },
        width=20,
        category=TransformerConfig(layers=2, heads=4, feedforward=28),
    )


def random_module(config: str | ModelConfig, seed: int = 0) -> UrgentMOS:
    """Random weights, large enough that the scores of unlike clips differ."""
    config = model_config(config) if isinstance(config, str) else config
    module = nnx.eval_shape(lambda: UrgentMOS(config, rngs=nnx.Rngs(0)))
    rng = np.random.default_rng(seed)

    def draw(path: str, shape: tuple[int, ...]) -> np.ndarray:
        noise = rng.standard_normal(shape)
        if path.endswith(("scale", "gate_scale")):
            return (1 + 0.1 * noise).astype(np.float32)
        fan_in = np.prod(shape[-3 if "conv" in path or "position" in path else -2 : -1], initial=1)
        return (noise * (0.1 if path.endswith("bias") else 1.5 / np.sqrt(fan_in))).astype(np.float32)

    arrays = {path: draw(path, value.shape) for path, value in flat_state(module).items()}
    fill(module, arrays, origin="random")
    return module


def on_one_device(module: UrgentMOS) -> Model:
    """Few buckets, as every shape takes seconds to compile."""
    model = Model(module, devices=jax.devices()[:1], batch_seconds=2.0)
    model.engine.bucket_sizes = (8000, 20000)
    return model
