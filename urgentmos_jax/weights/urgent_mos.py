"""The authors' PyTorch checkpoint -> our model: configuration, names and layouts. Nothing in the file is executed.

Theirs on the hub are `urgent-challenge/urgent-mos-f1c1m5dcorpus` and `urgent-challenge/urgent-mos-f1c1m5dref`; each
holds one file, `model.pt`.
"""

import dataclasses
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from flax import nnx

from urgentmos_jax.encoders.encoder import Architecture
from urgentmos_jax.files import file_hash
from urgentmos_jax.metrics import Metric
from urgentmos_jax.model.heads import HeadConfig
from urgentmos_jax.model.pooling import Pooling
from urgentmos_jax.model.transformer import TransformerConfig
from urgentmos_jax.model.urgentmos import EncoderConfig, ModelConfig, UrgentMOS
from urgentmos_jax.schema import find_faults
from urgentmos_jax.weights.distill_mos import ORIGIN as DISTILL_MOS_ORIGIN
from urgentmos_jax.weights.distill_mos import is_distill_mos, read_distill_mos
from urgentmos_jax.weights.encoder_folder import find_config
from urgentmos_jax.weights.huggingface.family import Family
from urgentmos_jax.weights.huggingface.registry import FAMILIES
from urgentmos_jax.weights.published import PUBLISHED_ENCODERS
from urgentmos_jax.weights.rules import (
    Rule,
    WeightsError,
    assemble,
    attention,
    dense,
    fill,
    flat_state,
    norm,
    transformer_layers,
)
from urgentmos_jax.weights.torch_zip import read_torch_file

# The sizes published for these were read from their own config.json, so that it need not be downloaded.
_EXACT = ("microsoft/wavlm-base-plus",)

_POOLINGS: dict[str, Pooling] = dict(
    MeanPooling="mean", AttentivePooling="attentive", MetricTokenPooling="metric_token"
)
_CRITERIA = {"mse": "squared", "huber": "huber"}


@dataclasses.dataclass(frozen=True)
class Checkpoint:
    """A converted checkpoint.

    The model with its weights (numpy arrays), the criterion it was trained with ("squared" or "huber"), and where it
    came from, for the model folder.
    """

    module: UrgentMOS
    criterion: str
    origin: dict[str, Any]


def read_checkpoint(path: str | Path, encoders: Sequence[str | Path] = ()) -> Checkpoint:
    """Reads the authors' `model.pt`.

    Args:
        path: The file.
        encoders: Folder or hub id of each encoder that the checkpoint's config names, in its order; only their
            config.json and preprocessor_config.json are read. May be left out where the names are those of folders
            beside the file, the architecture is known (microsoft/wavlm-base-plus), or the hub can be reached.

    Raises:
        UnsafeCheckpoint: the file is damaged or asks for more than tensors.
        ValueError: its config is not supported; names every fault.
        WeightsError: config and weights disagree; lists every key.
        ModelNotFound: an encoder's config cannot be found.
    """
    path = Path(path)
    content = read_torch_file(path)
    if is_distill_mos(content):
        module = read_distill_mos(content["model"], origin=str(path))
        return Checkpoint(module, "squared", {**DISTILL_MOS_ORIGIN, "sha256": file_hash(path)})
    if not isinstance(content, dict) or not all(isinstance(content.get(key), dict) for key in ("model", "config")):
        raise ValueError(f"{path}: no UrgentMOS checkpoint, it has no `model` (weights) and `config`")
    tensors = content["model"]
    if others := [key for key, value in tensors.items() if not isinstance(value, np.ndarray)]:
        raise ValueError(f"{path}: not tensors: {others}")
    config, criterion = _read_model_config(content["config"], list(encoders), path)
    module = nnx.eval_shape(lambda: UrgentMOS(config, rngs=nnx.Rngs(0)))
    shapes = {key: value.shape for key, value in flat_state(module).items()}
    tensors = _by_rule_key(tensors, module)
    ignored = [
        rf"feature_extractor\.feature_extractors\.{i}\.model\.{pattern}"
        for i, family in enumerate(_families(module))
        for pattern in family.ignored
    ]
    arrays = assemble(tensors, checkpoint_rules(module), shapes, ignored=ignored, origin=str(path))
    _check_ranges(tensors, config, str(path))
    fill(module, arrays, origin=str(path))
    origin = {"kind": "authors' checkpoint", "sha256": file_hash(path), "update": content.get("update")}
    return Checkpoint(module, criterion, origin | {"criterion": criterion})


def checkpoint_rules(module: UrgentMOS) -> list[Rule]:
    """How the tensors of an authors' checkpoint fill the model."""
    config, rules = module.config, []
    for i, (encoder, family) in enumerate(zip(module.encoders, _families(module), strict=True)):
        key = f"feature_extractor.feature_extractors.{i}."
        rules += [rule.under(f"{key}model.", f"encoders.{i}.") for rule in family.rules(encoder)]
        if config.encoders[i].layer_aggregation:
            rules.append(Rule(f"{key}weights", f"layer_weights.{i}"))
    rules += dense("feature_extractor.feat_proj.0", "fusion.project")
    rules += norm("feature_extractor.feat_proj.1", "fusion.norm")
    rules += _transformer("shared_encoder", "shared", config.shared)
    for category in config.categories:
        rules += _transformer(f"category2encoder.{category}", f"categories.{category}", config.category)
    for name in config.metrics:
        key, target = f"metric2absolute_score_predictor.{name}", f"absolute_heads.{name}"
        rules += _transformer(f"{key}.encoder", f"{target}.encoder", config.absolute.transformer)
        rules += _pooling(f"{key}.pooler", f"{target}.pool", config.absolute.pooling)
        rules += dense(f"{key}.prediction_head", f"{target}.score")
        rules += [Rule((f"{key}.activation.min_value", f"{key}.activation.max_value"), None)]
    for name in config.comparative_metrics:
        key, target = f"metric2comparative_score_predictor.{name}", f"cmos_heads.{name}"
        rules += _transformer(f"{key}.encoder", f"{target}.encoder", config.comparative.transformer)
        rules += attention(f"{key}.cross_attn", f"{target}.cross")
        rules += _pooling(f"{key}.pooler", f"{target}.pool", config.comparative.pooling)
        rules += dense(f"{key}.regression_head", f"{target}.regression")
        rules += dense(f"{key}.classification_head", f"{target}.classification")
    return rules


def _families(module: UrgentMOS) -> list[Family]:
    return [FAMILIES[encoder.config.model_type] for encoder in module.encoders]


def _transformer(key: str, target: str, config: TransformerConfig | None) -> list[Rule]:
    return transformer_layers(key, target, config.layers) if config else []


def _pooling(key: str, target: str, kind: str) -> list[Rule]:
    if kind == "attentive":
        scores = dense(f"{key}.score.3", f"{target}.score_out", bias=False)
        return dense(f"{key}.score.0", f"{target}.score_in") + scores
    if kind == "metric_token":
        norms = norm(f"{key}.norm_q", f"{target}.token_norm") + norm(f"{key}.norm_x", f"{target}.frame_norm")
        attended = attention(f"{key}.attn", f"{target}.attention")
        return [Rule(f"{key}.metric_token", f"{target}.token"), *norms, *attended]
    return []


def _by_rule_key(tensors: dict[str, np.ndarray], module: UrgentMOS) -> dict[str, np.ndarray]:
    """Encoder keys in the spelling of our rules, the rest as it is."""
    found = dict(tensors)
    for i, family in enumerate(_families(module)):
        prefix = f"feature_extractor.feature_extractors.{i}.model."
        part = {key.removeprefix(prefix): found.pop(key) for key in list(found) if key.startswith(prefix)}
        found |= {prefix + key: value for key, value in family.by_rule_key(part).items()}
    return found


def _check_ranges(tensors: dict[str, np.ndarray], config: ModelConfig, origin: str) -> None:
    faults = []
    for name, metric in config.metrics.items():
        for bound, wanted in (("min", metric.minimum), ("max", metric.maximum)):
            key = f"metric2absolute_score_predictor.{name}.activation.{bound}_value"
            if key in tensors and not np.allclose(float(tensors[key]), wanted):
                faults.append(f"{key} is {float(tensors[key])}, the config says {wanted}")
    if faults:
        raise WeightsError(f"{origin}: ranges disagree: " + "; ".join(faults))


def _read_model_config(config: dict[str, Any], folders: list[str | Path], origin: Path) -> tuple[ModelConfig, str]:
    """The checkpoint's own config -> ours, and the criterion of the absolute loss."""
    try:
        parsed, criterion = _parse_model_config(config, folders, origin.parent)
        if faults := find_faults(parsed):
            raise ValueError("the checkpoint's config: " + "; ".join(faults))
        return parsed, criterion
    except KeyError as error:
        raise ValueError(f"{origin}: the checkpoint's config has no {error}") from None
    except (AttributeError, IndexError, TypeError) as error:
        raise ValueError(f"{origin}: the checkpoint's config is not supported ({error})") from None
    except ValueError as error:
        raise ValueError(f"{origin}: {error}") from None


def _parse_model_config(config: dict[str, Any], folders: list[str | Path], beside: Path) -> tuple[ModelConfig, str]:
    model = config["model"]
    absolute = model["metric2absolute_score_predictor"]
    comparative = model["metric2comparative_score_predictor"]
    settings = model["feature_extractor"]["feature_extractors"]
    if folders and len(folders) != len(settings):
        names = [setting["model_name"] for setting in settings]
        raise ValueError(f"the checkpoint has {len(names)} encoders {names}, {len(folders)} given by --encoder")
    encoders = tuple(
        EncoderConfig(
            architecture=_encoder_config(setting["model_name"], folders[i] if folders else None, beside),
            layer_aggregation=setting.get("layer_aggregation", True),
            freeze=setting.get("freeze", True),
        )
        for i, setting in enumerate(settings)
    )
    categories = {
        category: {name: _metric(values) for name, values in metrics.items()}
        for category, metrics in model["category2metrics"].items()
    }
    criterion = absolute.get("criterion", "mse")
    if criterion not in _CRITERIA:
        raise ValueError(f"criterion is {criterion!r}, must be one of {sorted(_CRITERIA)}")
    encoder = model.get("category2encoder") or {}
    return ModelConfig(
        encoders=encoders,
        categories=categories,
        width=model["feature_extractor"]["output_dim"],
        shared=_transformer_config(model.get("shared_encoder")),
        category=_transformer_config(encoder.get("encoder_cfg")),
        absolute=_head_config(absolute),
        comparative=_head_config(comparative),
    ), _CRITERIA[criterion]


def _metric(values: dict[str, Any]) -> Metric:
    minimum, maximum = float(values.get("min", -math.inf)), float(values.get("max", math.inf))
    return Metric(minimum, maximum, bool(values.get("comparative_score", False)))


def _encoder_config(name: str, folder: str | Path | None, beside: Path) -> Architecture:
    if folder is None and name in _EXACT:
        return PUBLISHED_ENCODERS[name]
    if folder is None and (beside / name).is_dir():
        folder = beside / name
    if folder is None and name.count("/") != 1:
        raise ValueError(f"the config of its encoder {name!r} is needed: give the folder by --encoder")
    return find_config(name if folder is None else folder)[1]


def _transformer_config(config: dict[str, Any] | None) -> TransformerConfig | None:
    if config is None:
        return None
    layer = config["encoder_layer"]
    supported = {"activation": "relu", "norm_first": False, "layer_norm_eps": 1e-5, "bias": True}
    if other := {key: layer[key] for key, value in supported.items() if layer.get(key, value) != value}:
        raise ValueError(f"transformer layers with {other} are not supported")
    sizes = config["num_layers"], layer["nhead"], layer.get("dim_feedforward", 2048)
    return TransformerConfig(*sizes, dropout=layer.get("dropout", 0.1))


def _head_config(config: dict[str, Any]) -> HeadConfig:
    kind = config["pooler_cfg"]["_target_"].rpartition(".")[2]
    if kind not in _POOLINGS:
        raise ValueError(f"pooling is {kind!r}, must be one of {sorted(_POOLINGS)}")
    heads = config.get("num_heads", 4)
    if heads != 4:
        raise ValueError(f"CMOS heads have {heads} attention heads, must be 4")
    return HeadConfig(_POOLINGS[kind], _transformer_config(config.get("encoder_cfg")))
