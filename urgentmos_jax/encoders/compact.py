"""Compact encoder: power of 1, log-mel, two convolutions, a few pre-norm transformer layers.

Ours, small enough to be trained from nothing on a laptop (0.3 to 5 M parameters). Every frame of every clip is
masked, so a clip's features do not depend on its batch.
"""

import dataclasses
import functools
from typing import Any, ClassVar, Literal, Unpack

import jax
import jax.numpy as jnp
from flax import nnx

from urgentmos_jax.encoders.encoder import Architecture, Encoder, Options
from urgentmos_jax.encoders.log_mel import HOP_SAMPLES, WINDOW_SAMPLES, log_mel
from urgentmos_jax.nn.attention import PreNormLayer
from urgentmos_jax.nn.blocks import Conv1d, gelu, layer_norm, sinusoids
from urgentmos_jax.nn.masking import conv_lengths, length_mask, masked_mean
from urgentmos_jax.nn.stack import LayerStack, stack_flops

# Keeps silence silent; 1 LSB of 16 bits has ten times as much.
_MIN_POWER = 1e-10


@dataclasses.dataclass(frozen=True)
class CompactConfig(Architecture):
    """Sizes; the defaults have 0.4 M parameters.

    Args:
        mel_bins: Of the log-mel frames, 100 a second.
        hidden_size: Features of a frame.
        num_hidden_layers, num_attention_heads, intermediate_size: Of the transformer layers.
        dropout: In training.
        stride: Log-mel frames from one frame of the output to the next; of 4, training takes half the time of 2.
    """

    has_regularisation: ClassVar[bool] = True

    model_type: Literal["compact"] = "compact"
    mel_bins: int = 80
    hidden_size: int = 96
    num_hidden_layers: int = 3
    num_attention_heads: int = 4
    intermediate_size: int = 384
    dropout: float = 0.1
    stride: int = dataclasses.field(default=2, metadata={"later": True})

    def frame_lengths(self, samples: Any) -> Any:
        # The second convolution has 2 s - 1 taps and pads s - 1 frames on each side.
        return -(-conv_lengths(samples, [(WINDOW_SAMPLES, HOP_SAMPLES)]) // self.stride)

    @property
    def samples_per_frame(self) -> int:
        return self.stride * HOP_SAMPLES

    def stem_values(self, samples: int) -> int:
        return 2 * samples // HOP_SAMPLES * WINDOW_SAMPLES  # The windows and their spectrum.

    def flops(self, samples: int) -> float:
        mel, frames = conv_lengths(samples, [(WINDOW_SAMPLES, HOP_SAMPLES)]), self.frame_lengths(samples)
        width = self.hidden_size
        convolutions = 2 * width * (3 * mel * self.mel_bins + (2 * self.stride - 1) * frames * width)
        return convolutions + stack_flops(self.num_hidden_layers, width, self.intermediate_size, frames)


class Compact(Encoder):
    """Log-mel encoder trained from scratch."""

    config_class: ClassVar[type] = CompactConfig
    config: CompactConfig

    def __init__(self, config: CompactConfig, *, rngs: nnx.Rngs):
        self.config = config
        width = config.hidden_size
        self.conv_in = Conv1d(config.mel_bins, width, 3, padding=(1, 1), rngs=rngs)
        taps, edge = 2 * config.stride - 1, config.stride - 1
        self.conv_down = Conv1d(width, width, taps, stride=config.stride, padding=(edge, edge), rngs=rngs)
        heads, feedforward, rate = config.num_attention_heads, config.intermediate_size, config.dropout
        build = functools.partial(PreNormLayer, width, heads, feedforward, dropout=rate)
        self.layers = LayerStack(build, config.num_hidden_layers, rngs=rngs)
        self.norm = layer_norm(width, rngs=rngs)

    def __call__(
        self, waveform: jax.Array, lengths: jax.Array, **options: Unpack[Options]
    ) -> tuple[jax.Array, jax.Array]:
        """As `Encoder.__call__`; the last layer has passed the final norm, the states have not."""
        # Level is no matter of quality here; a clip's own mean power is 1.
        mask = length_mask(lengths, waveform.shape[1])
        power = masked_mean(jnp.square(waveform)[..., None], mask)
        x = log_mel(waveform * jax.lax.rsqrt(power + _MIN_POWER), self.config.mel_bins)
        mel_mask = length_mask(conv_lengths(lengths, [(WINDOW_SAMPLES, HOP_SAMPLES)]), x.shape[1])[..., None]
        x = gelu(self.conv_in(jnp.where(mel_mask, x, 0)))
        h = gelu(self.conv_down(jnp.where(mel_mask, x, 0)))
        frames = self.config.frame_lengths(lengths)
        h = h + sinusoids(h.shape[1], h.shape[2]).astype(h.dtype)
        return self.layers(h, length_mask(frames, h.shape[1]), final=self.norm, **options), frames
