"""What a model costs, from its config alone: parameters by part, operations, and an estimate of memory."""

import dataclasses
import math

import jax.numpy as jnp
from flax import nnx

from urgentmos_jax.audio.loading import SAMPLE_RATE_HZ
from urgentmos_jax.model.transformer import TransformerConfig
from urgentmos_jax.model.urgentmos import EncoderConfig, ModelConfig, UrgentMOS
from urgentmos_jax.nn.stack import stack_flops


@dataclasses.dataclass(frozen=True)
class Part:
    """Parameters of a part of a model (`encoders.0`, `fusion`, `categories`, ...): numbers, and bytes of them all."""

    name: str
    trained: int
    frozen: int
    bytes: int


def parts(config: ModelConfig) -> list[Part]:
    """Parameters by part, the encoders one by one."""
    abstract = nnx.eval_shape(lambda: UrgentMOS(config, rngs=nnx.Rngs(0)))
    found: dict[str, list[int]] = {}
    for path, value in nnx.to_flat_state(nnx.state(abstract, nnx.Param)):
        one = found.setdefault(".".join(map(str, path[:2])) if path[0] == "encoders" else str(path[0]), [0, 0, 0])
        frozen = path[0] == "encoders" and config.encoders[int(str(path[1]))].freeze
        one[frozen] += math.prod(value.shape)
        one[2] += math.prod(value.shape) * value.dtype.itemsize
    return [Part(name, *counts) for name, counts in found.items()]


def scoring_bytes(config: ModelConfig, rows: int, samples: int) -> float:
    """Estimate of the memory of a device that scores `rows` of `samples` at 16 kHz: parameters, and the peak."""
    return sum(part.bytes for part in parts(config)) + _features(config, rows, samples) + _peak(config, rows, samples)


def training_bytes(config: ModelConfig, rows: float, samples: int, *, shards: int = 1) -> float:
    """Estimate of the memory of a device that trains with two-sided rows.

    Parameters; gradient, sum of gradients and the two moments of Adam for each trained one; the activations that the
    backward pass needs; and the peak of the frozen part, or of one layer.

    Args:
        config: Architecture.
        rows, samples: Of a batch on the device, at 16 kHz.
        shards: Devices that parameters, gradients and moments are spread over.
    """
    found = parts(config)
    total = (sum(part.bytes for part in found) + 4 * 4 * sum(part.trained for part in found)) / shards
    return total + activation_bytes(config, rows, samples)


def activation_bytes(config: ModelConfig, rows: float, samples: int) -> float:
    """What a batch adds to parameters, gradients and moments in `training_bytes`."""
    clips = 2 * rows
    kept: float = sum(_encoder(one, clips, samples, kept=True) for one in config.encoders if not one.freeze)
    frames = _frames(config, samples)
    for stack in _stacks(config):
        kept += stack.layers * _layer(clips, frames, config.width, stack.feedforward, stack.heads, 4, kept=True)
    # A CMOS head attends both ways, with four heads.
    kept += len(config.comparative_metrics) * 2 * rows * (4 * 2 * 4 * frames**2 + 8 * 4 * frames * config.width)
    return kept + _features(config, clips, samples) + _peak(config, clips, samples)


def clip_flops(config: ModelConfig, samples: int) -> float:
    """Operations for the scores of a clip at 16 kHz, unpadded: two a multiply-add; softmax and norms are left out."""
    total = sum(encoder.architecture.flops(samples) for encoder in config.encoders)
    frames = _frames(config, samples)
    if config.fusion:
        total += 2 * frames * sum(config.encoder_widths) * config.width
    return total + sum(stack_flops(one.layers, config.width, one.feedforward, frames) for one in _stacks(config))


def format_sizes(config: ModelConfig) -> list[str]:
    """Lines for people: parameters by part, and operations for a second of audio in clips of 10 s."""
    lines = [f"{'part':<20}{'trained, M':>12}{'frozen, M':>12}{'MB':>10}"]
    found = parts(config)
    total = Part("all", *(sum(getattr(p, name) for p in found) for name in ("trained", "frozen", "bytes")))
    for part in (*found, total):
        lines.append(f"{part.name:<20}{part.trained / 1e6:>12.3f}{part.frozen / 1e6:>12.3f}{part.bytes / 1e6:>10.1f}")
    flops = clip_flops(config, 10 * SAMPLE_RATE_HZ) / 10
    return [*lines, f"operations for a second of audio, in clips of 10 s: {flops / 1e9:.1f} GFLOP"]


def _frames(config: ModelConfig, samples: int) -> int:
    return max(one.architecture.frame_lengths(samples) for one in config.encoders)


def _stacks(config: ModelConfig) -> list[TransformerConfig]:
    """Of one clip's scores."""
    every = [config.shared, *[config.category] * len(config.categories)]
    return [one for one in [*every, *[config.absolute.transformer] * len(config.metrics)] if one is not None]


def _features(config: ModelConfig, clips: float, samples: int) -> float:
    """The encoders' features side by side, and fused."""
    return 4.0 * clips * _frames(config, samples) * (sum(config.encoder_widths) + 2 * config.width)


def _peak(config: ModelConfig, clips: float, samples: int) -> float:
    """The largest passing need: of an encoder, or of a layer behind them."""
    needs = [_encoder(one, clips, samples, kept=False) for one in config.encoders]
    frames = _frames(config, samples)
    for stack in filter(None, (config.shared, config.category, config.absolute.transformer)):
        needs.append(_layer(clips, frames, config.width, stack.feedforward, stack.heads, 4, kept=False))
    return max(needs)


def _encoder(encoder: EncoderConfig, clips: float, samples: int, *, kept: bool) -> float:
    """Activations of an encoder: those of all layers, or those alive at the peak."""
    one, size = encoder.architecture, jnp.dtype(encoder.dtype).itemsize
    computed = one.computed_samples(samples)
    frames = round(computed / one.samples_per_frame)
    attended = getattr(one, "attended", frames)
    shape = (one.hidden_size, one.intermediate_size, one.num_attention_heads, size)
    layer = _layer(clips, frames, *shape, kept=kept, attended=min(attended, frames))
    stem = clips * size * one.stem_values(computed)
    states = clips * size * frames * one.hidden_size
    return one.num_hidden_layers * layer + stem if kept else max(layer, stem) + 2 * states


def _layer(
    clips: float, frames: int, width: int, feedforward: int, heads: int, size: int, *, kept: bool, attended: int = 0
) -> float:
    """Bytes of a transformer layer: what the backward pass needs, or what is alive at its peak."""
    # Scores and weights are float32 whatever the rest is.
    attention = clips * heads * frames * (attended or frames) * 4 * 2
    if kept:
        return attention + clips * frames * size * (10 * width + 2 * feedforward)
    return max(attention + clips * frames * size * 4 * width, clips * frames * size * (2 * width + 2 * feedforward))
