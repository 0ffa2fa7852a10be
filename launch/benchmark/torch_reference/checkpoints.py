"""Models from checkpoints or of random weights, and files of both in the published format."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from transformers import AutoConfig, PretrainedConfig

from launch.benchmark.torch_reference.encoders import build_encoder
from launch.benchmark.torch_reference.model import TorchUrgentMOS

SAMPLE_RATE_HZ = 16_000


def from_checkpoint(path: Path, encoder_dirs: list[Path]) -> TorchUrgentMOS:
    """Loads a checkpoint in the published format, encoder weights included.

    Args:
        path: the torch file.
        encoder_dirs: for each encoder the folder of its `config.json` and `preprocessor_config.json`.

    Returns:
        The model in evaluation mode, float32, on the CPU.
    """
    checkpoint = torch.load(path, map_location="cpu", weights_only=True)
    encoders = [build_encoder(AutoConfig.from_pretrained(folder)) for folder in encoder_dirs]
    do_normalize = [
        json.loads((Path(folder) / "preprocessor_config.json").read_text())["do_normalize"] for folder in encoder_dirs
    ]
    model = TorchUrgentMOS(checkpoint["config"]["model"], encoders, do_normalize)
    model.load_state_dict(checkpoint["model"], strict=True)
    return model.eval()


def random_model(
    encoder_config: PretrainedConfig, do_normalize: bool, model_config: dict[str, Any], seed: int
) -> TorchUrgentMOS:
    """Builds a model with one encoder and random weights, none left at 0 or 1 or equal between layers.

    Args:
        encoder_config: architecture of the encoder.
        do_normalize: whether the encoder takes normalised waveforms.
        model_config: architecture of the rest, as `published_config` gives it.
        seed: settles every weight.

    Returns:
        The model in evaluation mode, float32, on the CPU.
    """
    with torch.random.fork_rng(devices=[]), torch.no_grad():
        torch.manual_seed(seed)
        model = TorchUrgentMOS(model_config, [build_encoder(encoder_config)], [do_normalize])
        for parameter in model.parameters():
            parameter.add_(0.02 * torch.randn_like(parameter))
        for encoder in model.feature_extractor.feature_extractors:
            if encoder.layer_aggregation:
                encoder.weights.normal_()
    return model.eval()


def save_checkpoint(model: TorchUrgentMOS, path: Path) -> None:
    """Writes the model in the published format, without optimiser state."""
    torch.save(
        {
            "model": model.state_dict(),
            "optimizer": {"state": {}, "param_groups": []},
            "scheduler": {},
            "update": 0,
            "config": {
                "model": model.config,
                "category2metrics": model.category2metrics,
                "dataloader": {"sample_rate": SAMPLE_RATE_HZ},
            },
        },
        path,
    )


def save_encoder_configs(model: TorchUrgentMOS, parent: Path) -> list[Path]:
    """Writes the encoders' settings, as `from_checkpoint` wants them, into the folders that the config names.

    Args:
        model: gives encoders and names.
        parent: where those folders are made.

    Returns:
        The folders in the order of the encoders.
    """
    folders = []
    fusion = model.config["feature_extractor"]
    for encoder, entry in zip(model.feature_extractor.feature_extractors, fusion["feature_extractors"], strict=True):
        folder = Path(parent) / entry["model_name"]
        encoder.model.config.save_pretrained(folder)
        settings = {
            "feature_extractor_type": "Wav2Vec2FeatureExtractor",
            "do_normalize": encoder.do_normalize,
            "feature_size": 1,
            "padding_side": "right",
            "padding_value": 0.0,
            "return_attention_mask": True,
            "sampling_rate": SAMPLE_RATE_HZ,
        }
        (folder / "preprocessor_config.json").write_text(json.dumps(settings, indent=2) + "\n")
        folders.append(folder)
    return folders


def published_config(
    width: int = 768,
    metrics: Sequence[str] = ("mos_overall", "scoreq", "utmos", "nisqa_mos", "distill_mos"),
    layers: int = 6,
    heads: int = 8,
    feedforward: int = 2048,
) -> dict[str, Any]:
    """Returns the published F1C1M5 architecture: one frozen encoder, one category, mean pooling.

    Args:
        width: D.
        metrics: all of them from 1 to 5; the first is comparative too.
        layers: Transformer layers of the category encoder.
        heads: attention heads of these.
        feedforward: feed-forward width of these.
    """
    entries = {name: {"min": 1.0, "max": 5.0} for name in metrics}
    entries[metrics[0]]["comparative_score"] = True
    category2metrics = {"mos": entries}
    module = "urgent_mos.model"
    head = {
        "_recursive_": False,
        "category2metrics": category2metrics,
        "pooler_cfg": {"_target_": f"{module}.pooling.MeanPooling"},
        "encoder_cfg": None,
        "input_dim": width,
    }
    return {
        "_target_": f"{module}.urgent_mos.UrgentMOS",
        "feature_extractor": {
            "_target_": f"{module}.audio_encoder.FusedAudioEncoder",
            "feature_extractors": [
                {"_target_": f"{module}.audio_encoder.AudioEncoder", "model_name": "encoder", "freeze": True}
            ],
            "output_dim": width,
        },
        "category2metrics": category2metrics,
        "category2encoder": {
            "_target_": f"{module}.urgent_mos.build_category_encoders",
            "_recursive_": False,
            "category2metrics": category2metrics,
            "encoder_cfg": {
                "_target_": "torch.nn.TransformerEncoder",
                "encoder_layer": {
                    "_target_": "torch.nn.TransformerEncoderLayer",
                    "d_model": width,
                    "nhead": heads,
                    "dim_feedforward": feedforward,
                    "batch_first": True,
                },
                "num_layers": layers,
            },
        },
        "metric2absolute_score_predictor": {"_target_": f"{module}.urgent_mos.build_absolute_score_predictors", **head},
        "metric2comparative_score_predictor": {
            "_target_": f"{module}.urgent_mos.build_comparative_score_predictors",
            **head,
            "num_heads": 4,
            "min_cmos_for_tie": 0.5,
            "regression_weight": 0.5,
            "classification_weight": 0.5,
        },
        "shared_encoder": None,
        "use_symmetric_preference": True,
    }
