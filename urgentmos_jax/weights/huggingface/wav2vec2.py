"""wav2vec2, HuBERT and WavLM as transformers stores them."""

import dataclasses
from typing import Any

import numpy as np

from urgentmos_jax.encoders.wav2vec2 import Wav2Vec2, Wav2Vec2Config
from urgentmos_jax.weights.huggingface.family import Family
from urgentmos_jax.weights.rules import Rule, conv, dense, norm

# Settings that the encoder has in one way only.
_SUPPORTED = {
    "hidden_act": "gelu",
    "feat_extract_activation": "gelu",
    "add_adapter": False,
    "adapter_attn_dim": None,
    "conv_pos_batch_norm": False,
    "sampling_rate": 16000,
}


def _config(config: dict[str, Any], preprocessor: dict[str, Any]) -> Wav2Vec2Config:
    found = config | {"sampling_rate": preprocessor.get("sampling_rate", 16000)}
    odd = {key: value for key, value in _SUPPORTED.items() if found.get(key, value) != value}
    if faults := [f"{key} is {found[key]!r}, must be {value!r}" for key, value in odd.items()]:
        raise ValueError("; ".join(faults))
    if not config.get("apply_spec_augment", True):
        config = config | {"mask_time_prob": 0.0, "mask_feature_prob": 0.0}
    # Ours are named as theirs.
    names = {field.name for field in dataclasses.fields(Wav2Vec2Config)} & config.keys() - {"do_normalize"}
    values: dict[str, Any] = {
        name: tuple(config[name]) if isinstance(config[name], list) else config[name] for name in names
    }
    return Wav2Vec2Config(**values, do_normalize=preprocessor.get("do_normalize", True))


def _rules(encoder: Wav2Vec2) -> list[Rule]:
    config = encoder.config
    rules = [Rule("masked_spec_embed", None if encoder.masked is None else "masked")]
    for i in range(len(config.conv_dim)):
        key, target = f"feature_extractor.conv_layers.{i}", f"stem.{i}"
        rules += conv(f"{key}.conv", f"{target}.conv", bias=config.conv_bias)
        if encoder.stem[i].norm is not None:
            rules += norm(f"{key}.layer_norm", f"{target}.norm")
    if config.feat_proj_layer_norm:
        rules += norm("feature_projection.layer_norm", "projection_norm")
    rules += dense("feature_projection.projection", "projection")
    key = "encoder.pos_conv_embed.conv"
    folded = tuple(f"{key}.parametrizations.weight.original{part}" for part in (0, 1))
    rules += [Rule(folded, "position.kernel", _fold_weight_norm), Rule(f"{key}.bias", "position.bias")]
    rules += norm("encoder.layer_norm", "norm")
    for i in range(config.num_hidden_layers):
        key, target = f"encoder.layers.{i}", "layers.stacked"
        for ours, theirs in (("query", "q"), ("key", "k"), ("value", "v"), ("out", "out")):
            rules += dense(f"{key}.attention.{theirs}_proj", f"{target}.attention.{ours}", layer=i)
        if config.model_type == "wavlm":
            rules += dense(f"{key}.attention.gru_rel_pos_linear", f"{target}.gate", layer=i)
            rules += [Rule(f"{key}.attention.gru_rel_pos_const", f"{target}.gate_scale", lambda c: c[0, :, 0, 0], i)]
        rules += norm(f"{key}.layer_norm", f"{target}.attention_norm", layer=i)
        rules += dense(f"{key}.feed_forward.intermediate_dense", f"{target}.feed_in", layer=i)
        rules += dense(f"{key}.feed_forward.output_dense", f"{target}.feed_out", layer=i)
        rules += norm(f"{key}.final_layer_norm", f"{target}.feed_norm", layer=i)
    if config.model_type == "wavlm":
        rules += [Rule("encoder.layers.0.attention.rel_attn_embed.weight", "relative")]
    return rules


def _fold_weight_norm(gain: np.ndarray, direction: np.ndarray) -> np.ndarray:
    """Gain [1, 1, K] and direction [O, I, K] of a weight-normed convolution -> kernel [K, I, O]."""
    size = np.sqrt(np.square(direction.astype(np.float64)).sum((0, 1), keepdims=True))
    return (gain.astype(np.float64) * direction / size).astype(np.float32).transpose(2, 1, 0)


WAV2VEC2 = Family(
    config=_config,
    rules=_rules,
    needed_keys=(
        *("hidden_size", "num_hidden_layers", "num_attention_heads", "intermediate_size"),
        *("feat_extract_norm", "do_stable_layer_norm"),
    ),
    # Those whose default here is not transformers'.
    regularisation_keys=("hidden_dropout", "attention_dropout", "activation_dropout", "layerdrop", "mask_time_prob"),
    prefixes=("wavlm.", "wav2vec2.", "hubert."),
    # Heads of the pretraining and of recognition.
    ignored=(r"quantizer\..*", r"project_(q|hid)\..*", r"lm_head\..*"),
)
