"""Qwen3-Omni's audio encoder as transformers stores it, alone or within the whole model."""

from typing import Any

from urgentmos_jax.encoders.qwen3_omni import CHUNK_FRAMES, Qwen3Omni, Qwen3OmniConfig, halved
from urgentmos_jax.weights.huggingface.family import Family
from urgentmos_jax.weights.huggingface.mel_tower import TOWER_KEYS, mel_preprocessor_faults, pre_norm_rules, tower_sizes
from urgentmos_jax.weights.rules import Rule, dense, norm

_KEYS = TOWER_KEYS | {
    "output_dim": "output_dim",
    "stem_channels": "downsample_hidden_size",
    "chunk": "n_window",
    "window": "n_window_infer",
}


def _config(config: dict[str, Any], preprocessor: dict[str, Any]) -> Qwen3OmniConfig:
    sizes, faults = tower_sizes(config, _KEYS)
    faults += mel_preprocessor_faults(preprocessor, sizes["mel_bins"])
    sizes["chunk"] *= 2
    if not faults and halved(sizes["chunk"]) != CHUNK_FRAMES:
        faults.append(f"n_window is {config['n_window']}, must be 50 (chunks of {CHUNK_FRAMES} frames)")
    elif not faults and sizes["window"] < sizes["chunk"]:
        faults.append(f"n_window_infer is {sizes['window']}, shorter than a chunk ({sizes['chunk']})")
    if faults:
        raise ValueError("; ".join(faults))
    return Qwen3OmniConfig(**sizes)


def _rules(encoder: Qwen3Omni) -> list[Rule]:
    rules = []
    for i in range(3):
        # Theirs are [out, in, bins, time].
        rules.append(Rule(f"conv2d{i + 1}.weight", f"stem.{i}.kernel", lambda w: w.transpose(3, 2, 1, 0)))
        rules.append(Rule(f"conv2d{i + 1}.bias", f"stem.{i}.bias"))
    rules += dense("conv_out", "stem_out", bias=False)
    for i in range(encoder.config.num_hidden_layers):
        rules += pre_norm_rules(f"layers.{i}", "layers.stacked", i, key_bias=True)
    return rules + norm("ln_post", "norm") + dense("proj1", "project_in") + dense("proj2", "project_out")


QWEN3_OMNI = Family(
    config=_config,
    rules=_rules,
    needed_keys=tuple(_KEYS.values()),
    prefixes=("thinker.", "audio_tower."),
    # The rest of a full Qwen3-Omni model.
    ignored=(r"(model|visual|lm_head)\..*", r"(talker|code2wav)\..*"),
)
