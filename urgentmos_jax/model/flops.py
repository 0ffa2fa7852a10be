"""Work of the model, counted from its config."""

from urgentmos_jax.model.urgentmos import ModelConfig
from urgentmos_jax.nn.flops import stack_flops

__all__ = ["clip_flops"]


def clip_flops(config: ModelConfig, samples: int) -> float:
    """Operations for the scores of one clip, without padding: two a multiply-add; softmax and norms are left out.

    Args:
        config: Architecture.
        samples: Length of the clip at 16 kHz.
    """
    total = sum(encoder.architecture.flops(samples) for encoder in config.encoders)
    frames = max(encoder.architecture.frame_lengths(samples) for encoder in config.encoders)
    total += 2 * frames * sum(config.encoder_widths) * config.width
    stacks = [config.shared, *[config.category] * len(config.categories)]
    stacks += [config.absolute.transformer] * len(config.metrics)
    return total + sum(stack_flops(s.layers, config.width, s.feedforward, frames) for s in stacks if s is not None)
