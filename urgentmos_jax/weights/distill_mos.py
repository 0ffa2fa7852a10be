"""Distill-MOS's own file, `distill_mos_v7.pt` of the PyPI package `distillmos`, -> our model.

The network is an encoder, an attention pooling and a linear layer behind a sigmoid from 1 to 5, so it is an `UrgentMOS`
without fusion and category encoder, with one head. Its three batch norms are affine once trained; they go into the
linear layer and the layer norm beside them.
"""

import re
from typing import Any

import numpy as np
from flax import nnx

from urgentmos_jax.encoders.distill_mos import DistillMOSConfig, positions
from urgentmos_jax.metrics import Metric
from urgentmos_jax.model.heads import HeadConfig
from urgentmos_jax.model.urgentmos import EncoderConfig, ModelConfig, UrgentMOS
from urgentmos_jax.weights.rules import Rule, WeightsError, assemble, dense, fill, flat_state, transformer_layers

ORIGIN = {
    "kind": "Distill-MOS",
    "licence": "MIT",
    "authors": "Microsoft: Benjamin Stahl, Hannes Gamper",
    "source": "distill_mos_v7.pt of the PyPI package distillmos",
}

_TRUNK = "transformer_pool_attn"
_PROJECTION = f"{_TRUNK}.transformer.linear_proj"
_POSITIONS = f"{_TRUNK}.transformer.position_encoding.pe"
_LAYERS = f"{_TRUNK}.transformer.transformer_encoder"
# Not to be read from the tensors.
_HEADS = 8
_BATCH_NORM_EPSILON = 1e-5


def is_distill_mos(content: Any) -> bool:
    """Whether what a torch file holds is Distill-MOS."""
    tensors = content.get("model") if isinstance(content, dict) else None
    return isinstance(tensors, dict) and {"cnn.cnn.0.weight", f"{_PROJECTION}.weight"} <= tensors.keys()


def read_distill_mos(tensors: dict[str, np.ndarray], *, origin: str) -> UrgentMOS:
    """The model of the file's tensors; sizes are read from their shapes.

    Args:
        tensors: By the package's names.
        origin: Name of the file, for messages.

    Raises:
        WeightsError: tensors are missing, unexpected or do not fit; every one is named.
    """
    try:
        architecture = _architecture(tensors)
    except (AttributeError, IndexError, KeyError, ValueError) as error:
        raise WeightsError(f"{origin}: not the sizes of a Distill-MOS ({error})") from None
    config = ModelConfig(
        encoders=(EncoderConfig(architecture, layer_aggregation=False),),
        categories={"naturalness": {"distill_mos": Metric(1, 5)}},
        width=architecture.hidden_size,
        category=None,
        absolute=HeadConfig("feed_forward"),
        fusion=False,
    )
    module = nnx.eval_shape(lambda: UrgentMOS(config, rngs=nnx.Rngs(0)))
    shapes = {path: value.shape for path, value in flat_state(module).items()}
    ignored = [r".*\.num_batches_tracked", re.escape(_POSITIONS)]
    arrays = assemble(tensors, _rules(architecture), shapes, ignored=ignored, origin=origin)
    wanted = positions(architecture.hidden_size)
    if _POSITIONS in tensors and not np.allclose(np.squeeze(tensors[_POSITIONS]), wanted, atol=1e-4):
        raise WeightsError(f"{origin}: {_POSITIONS} are other than sines and cosines of 384 frames")
    fill(module, arrays, origin=origin)
    return module


def _architecture(tensors: dict[str, np.ndarray]) -> DistillMOSConfig:
    count = len({key for key in tensors if re.fullmatch(r"cnn\.cnn\.\d+\.weight", key)})
    layers = {match[1] for key in tensors if (match := re.match(rf"{re.escape(_LAYERS)}\.layers\.(\d+)\.", key))}
    return DistillMOSConfig(
        channels=tuple(tensors[f"cnn.cnn.{2 * i}.weight"].shape[0] for i in range(count)),
        hidden_size=tensors[f"{_PROJECTION}.weight"].shape[0],
        num_hidden_layers=len(layers),
        num_attention_heads=_HEADS,
        intermediate_size=tensors[f"{_LAYERS}.layers.0.linear1.weight"].shape[0],
        segments="overlapping",
    )


def _rules(config: DistillMOSConfig) -> list[Rule]:
    rules: list[Rule] = []
    for i in range(len(config.channels)):
        key, target = f"cnn.cnn.{2 * i}", f"encoders.0.convolutions.{i}"
        # Theirs run over frequency and time, ours over time and frequency, channels last.
        rules.append(Rule(f"{key}.weight", f"{target}.kernel", np.transpose))
        rules.append(Rule(f"{key}.bias", f"{target}.bias"))
    norms = *_batch_norm(f"{_TRUNK}.norm_input"), *_batch_norm(f"{_TRUNK}.transformer.norm")
    channels = config.channels[-1]

    def kernel(weight: np.ndarray, *norms: np.ndarray) -> np.ndarray:
        scale = _affine(*norms[:4])[0] * _affine(*norms[4:])[0]
        # Their features run over the frequencies within each channel, ours the other way.
        scaled = (weight * scale).reshape(len(weight), channels, -1)
        return scaled.swapaxes(1, 2).reshape(len(weight), -1).T.astype(np.float32)

    def bias(bias: np.ndarray, weight: np.ndarray, *norms: np.ndarray) -> np.ndarray:
        (_, first), (scale, second) = _affine(*norms[:4]), _affine(*norms[4:])
        return (bias + weight @ (first * scale + second)).astype(np.float32)

    rules.append(Rule((f"{_PROJECTION}.weight", *norms), "encoders.0.project.kernel", kernel))
    rules.append(Rule((f"{_PROJECTION}.bias", f"{_PROJECTION}.weight", *norms), "encoders.0.project.bias", bias))
    rules += _layers(config.num_hidden_layers)
    head = "absolute_heads.distill_mos"
    rules += dense(f"{_TRUNK}.pool.linear1", f"{head}.pool.score_in")
    rules += dense(f"{_TRUNK}.pool.linear2", f"{head}.pool.score_out")
    return rules + dense(f"{_TRUNK}.pool.linear3", f"{head}.score")


def _layers(count: int) -> list[Rule]:
    """The transformer layers, the batch norm behind them within the last layer's norm."""
    last = f"{_LAYERS}.layers.{count - 1}.norm2"
    rules = transformer_layers(_LAYERS, "encoders.0.layers", count)
    rules = [rule for rule in rules if not rule.keys[0].startswith(last)]
    behind = _batch_norm(f"{_TRUNK}.norm_trans")
    target = "encoders.0.layers.stacked.feed_norm"

    def scale(scale: np.ndarray, *norm: np.ndarray) -> np.ndarray:
        return (scale * _affine(*norm)[0]).astype(np.float32)

    def bias(bias: np.ndarray, *norm: np.ndarray) -> np.ndarray:
        factor, shift = _affine(*norm)
        return (bias * factor + shift).astype(np.float32)

    rules.append(Rule((f"{last}.weight", *behind), f"{target}.scale", scale, count - 1))
    return [*rules, Rule((f"{last}.bias", *behind), f"{target}.bias", bias, count - 1)]


def _batch_norm(key: str) -> tuple[str, ...]:
    return tuple(f"{key}.{name}" for name in ("weight", "bias", "running_mean", "running_var"))


def _affine(weight: np.ndarray, bias: np.ndarray, mean: np.ndarray, variance: np.ndarray) -> tuple[np.ndarray, ...]:
    """Factor and shift of a trained batch norm, float64."""
    factor = weight / np.sqrt(variance.astype(np.float64) + _BATCH_NORM_EPSILON)
    return factor, bias - mean * factor
