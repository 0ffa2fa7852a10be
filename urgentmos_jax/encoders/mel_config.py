"""config.json and preprocessor_config.json of the encoders behind Whisper's log-mel front end."""

from collections.abc import Mapping
from typing import Any

from urgentmos_jax.encoders.log_mel import HOP_SAMPLES, WINDOW_SAMPLES

__all__ = ["TOWER_KEYS", "check_mel_preprocessor", "tower_config"]

# Our names of the sizes, and those of config.json.
TOWER_KEYS = {
    "mel_bins": "num_mel_bins",
    "hidden_size": "d_model",
    "num_hidden_layers": "encoder_layers",
    "num_attention_heads": "encoder_attention_heads",
    "intermediate_size": "encoder_ffn_dim",
}


def tower_config(config: dict[str, Any], *, extra: Mapping[str, str]) -> tuple[dict[str, Any], list[str]]:
    """Sizes by our names, and the faults of the config.

    Args:
        config: Content of config.json.
        extra: Further settings, ours to theirs.
    """
    names = TOWER_KEYS | dict(extra)
    faults = [f"{theirs} is missing" for theirs in names.values() if theirs not in config]
    if (activation := config.get("activation_function", "gelu")) != "gelu":
        faults.append(f"activation_function is {activation!r}, supported is 'gelu'")
    return {ours: config[theirs] for ours, theirs in names.items() if theirs in config}, faults


def check_mel_preprocessor(preprocessor: dict[str, Any], mel_bins: int | None) -> list[str]:
    """Faults of preprocessor_config.json."""
    wanted = {
        "sampling_rate": 16000,
        "n_fft": WINDOW_SAMPLES,
        "hop_length": HOP_SAMPLES,
        "padding_value": 0.0,
        "dither": 0.0,
        "feature_size": mel_bins,
    }
    preprocessor = {"feature_size": 80} | preprocessor
    return [
        f"{name} of the preprocessor is {preprocessor[name]}, supported is {value}"
        for name, value in wanted.items()
        if preprocessor.get(name, value) != value
    ]
