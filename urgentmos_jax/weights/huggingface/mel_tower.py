"""What the encoders behind Whisper's log-mel have in common in their files."""

from collections.abc import Mapping
from typing import Any

from urgentmos_jax.encoders.log_mel import HOP_SAMPLES, WINDOW_SAMPLES
from urgentmos_jax.weights.rules import Rule, dense, norm

# Our names of the sizes, and those of config.json.
TOWER_KEYS = {
    "mel_bins": "num_mel_bins",
    "hidden_size": "d_model",
    "num_hidden_layers": "encoder_layers",
    "num_attention_heads": "encoder_attention_heads",
    "intermediate_size": "encoder_ffn_dim",
}


def tower_sizes(config: dict[str, Any], names: Mapping[str, str]) -> tuple[dict[str, Any], list[str]]:
    """Sizes of config.json by our names, given {ours: theirs}, and the faults of the config."""
    activation = config.get("activation_function", "gelu")
    faults = [f"activation_function is {activation!r}, must be 'gelu'"] if activation != "gelu" else []
    return {ours: config[theirs] for ours, theirs in names.items()}, faults


def mel_preprocessor_faults(preprocessor: dict[str, Any], mel_bins: int) -> list[str]:
    """Faults of preprocessor_config.json."""
    wanted: dict[str, float] = {"sampling_rate": 16000, "n_fft": WINDOW_SAMPLES, "hop_length": HOP_SAMPLES}
    wanted |= {"padding_value": 0.0, "dither": 0.0, "feature_size": mel_bins}
    preprocessor = {"feature_size": 80} | preprocessor
    return [
        f"{name} of the preprocessor is {preprocessor[name]}, must be {value}"
        for name, value in wanted.items()
        if preprocessor.get(name, value) != value
    ]


def pre_norm_rules(key: str, target: str, layer: int, *, key_bias: bool) -> list[Rule]:
    """A layer of Whisper and its descendants -> `PreNormLayer`."""
    rules = []
    for ours, theirs in (("query", "q_proj"), ("key", "k_proj"), ("value", "v_proj"), ("out", "out_proj")):
        bias = ours != "key" or key_bias
        rules += dense(f"{key}.self_attn.{theirs}", f"{target}.attention.{ours}", bias=bias, layer=layer)
    rules += norm(f"{key}.self_attn_layer_norm", f"{target}.attention_norm", layer=layer)
    rules += dense(f"{key}.fc1", f"{target}.feed_in", layer=layer)
    rules += dense(f"{key}.fc2", f"{target}.feed_out", layer=layer)
    return rules + norm(f"{key}.final_layer_norm", f"{target}.feed_norm", layer=layer)
