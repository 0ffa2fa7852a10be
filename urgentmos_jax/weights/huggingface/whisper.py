"""Whisper's encoder and Qwen2-Audio's as transformers stores them, alone or within the whole model."""

from typing import Any

from urgentmos_jax.encoders.log_mel import HOP_SAMPLES
from urgentmos_jax.encoders.whisper import Whisper, WhisperConfig
from urgentmos_jax.weights.huggingface.family import Family
from urgentmos_jax.weights.huggingface.mel_tower import TOWER_KEYS, mel_preprocessor_faults, pre_norm_rules, tower_sizes
from urgentmos_jax.weights.rules import Rule, conv, norm

_KEYS = TOWER_KEYS | {"max_frames": "max_source_positions"}


def _config(config: dict[str, Any], preprocessor: dict[str, Any]) -> WhisperConfig:
    sizes, faults = tower_sizes(config, _KEYS)
    faults += mel_preprocessor_faults(preprocessor, sizes["mel_bins"])
    seconds, window = preprocessor.get("chunk_length", 30), sizes["max_frames"] * 2 * HOP_SAMPLES
    if not faults and seconds * 16000 != window:
        faults.append(f"chunk_length is {seconds} s, max_source_positions asks for {window / 16000:g} s")
    if faults:
        raise ValueError("; ".join(faults))
    return WhisperConfig(model_type=config["model_type"], **sizes)


def _rules(encoder: Whisper) -> list[Rule]:
    rules = [*conv("conv1", "conv_in"), *conv("conv2", "conv_down")]
    rules += [Rule("embed_positions.weight", "positions"), *norm("layer_norm", "norm")]
    for i in range(encoder.config.num_hidden_layers):
        rules += pre_norm_rules(f"layers.{i}", "layers.stacked", i, key_bias=False)
    return rules


WHISPER = Family(
    config=_config,
    rules=_rules,
    needed_keys=tuple(_KEYS.values()),
    prefixes=("model.", "audio_tower.", "encoder."),
    # The decoder of a full Whisper model; the language model behind an audio tower.
    ignored=(r"decoder\..*", r"proj_out\..*", r"lm_head\..*", r"language_model\..*", r"multi_modal_projector\..*"),
)
