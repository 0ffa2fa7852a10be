"""Work of the model, counted from its config: two operations a multiply-add; softmax and norms are left out."""

import itertools
from typing import Any

from urgentmos_jax.encoders.log_mel import HOP_SAMPLES, WINDOW_SAMPLES
from urgentmos_jax.masking import conv_lengths
from urgentmos_jax.model.transformer import TransformerConfig
from urgentmos_jax.model.urgentmos import ModelConfig

__all__ = ["clip_flops", "encoder_flops"]


def clip_flops(config: ModelConfig, samples: int) -> float:
    """Operations for the scores of one clip, without padding.

    Args:
        config: Architecture.
        samples: Length of the clip at 16 kHz.
    """
    total = sum(encoder_flops(encoder.architecture, samples) for encoder in config.encoders)
    frames = max(encoder.architecture.frame_lengths(samples) for encoder in config.encoders)
    widths = sum(encoder.architecture.hidden_size for encoder in config.encoders)
    total += 2 * frames * widths * config.width
    stacks = [config.shared, *[config.category] * len(config.categories)]
    stacks += [config.absolute.transformer] * len(config.metrics)
    return total + sum(_stack_flops(stack, config.width, frames) for stack in stacks)


def encoder_flops(architecture: Any, samples: int) -> float:
    """Operations of one encoder for one clip."""
    frames = architecture.frame_lengths(samples)
    width, layers = architecture.hidden_size, architecture.num_hidden_layers
    stack = TransformerConfig(layers, architecture.num_attention_heads, architecture.intermediate_size)
    total = _stack_flops(stack, width, frames)
    if architecture.model_type == "compact":
        mel = conv_lengths(samples, [(WINDOW_SAMPLES, HOP_SAMPLES)])
        return total + 2 * 3 * width * (mel * architecture.mel_bins + frames * width)
    channels, length = (1, *architecture.conv_dim), samples
    geometry = zip(architecture.conv_kernel, architecture.conv_stride, strict=True)
    for (kernel, stride), (inputs, outputs) in zip(geometry, itertools.pairwise(channels), strict=True):
        length = conv_lengths(length, [(kernel, stride)])
        total += 2 * length * kernel * inputs * outputs
    position = architecture.num_conv_pos_embeddings * width**2 / architecture.num_conv_pos_embedding_groups
    return total + 2 * frames * (channels[-1] * width + position)


def _stack_flops(config: TransformerConfig | None, width: int, frames: int) -> float:
    if config is None:
        return 0.0
    layer = 4 * width**2 + 2 * width * config.feedforward + 2 * frames * width
    return 2.0 * config.layers * frames * layer
