"""Whisper's encoder, and Qwen2-Audio's (AF-Whisper), which pools its frames by two.

Both hear a window of 30 s: a shorter clip is padded with zeros, and these are attended to, as in the pretraining. So a
clip's features never depend on its batch, and a short clip costs as much as a long one. Numbers follow transformers
5.23.

With `own_length` the layers attend to the frames of the clip alone, which then costs what it is long. What enters them
is what enters them in the window: the convolutions of the last frame reach into the silence behind the clip.
"""

import dataclasses
import functools
from typing import Any, ClassVar, Literal, Unpack

import jax
import jax.numpy as jnp
from flax import nnx

from urgentmos_jax.encoders.encoder import Architecture, Encoder, Options
from urgentmos_jax.encoders.log_mel import HOP_SAMPLES, whisper_log_mel
from urgentmos_jax.nn.attention import PreNormLayer
from urgentmos_jax.nn.blocks import Conv1d, gelu, layer_norm
from urgentmos_jax.nn.masking import length_mask
from urgentmos_jax.nn.stack import LayerStack, stack_flops


@dataclasses.dataclass(frozen=True)
class WhisperConfig(Architecture):
    """Architecture and front end.

    Args:
        model_type: "whisper", or "qwen2_audio_encoder" with frames pooled by two.
        mel_bins: Bins of the log-mel front end, 80 or 128.
        hidden_size, num_hidden_layers, num_attention_heads, intermediate_size: Of the layers.
        max_frames: Frames of the window before pooling, 20 ms each (`max_source_positions`).
        own_length: Whether the layers attend to the clip alone, or to the whole window.
    """

    model_type: Literal["whisper", "qwen2_audio_encoder"]
    mel_bins: int
    hidden_size: int
    num_hidden_layers: int
    num_attention_heads: int
    intermediate_size: int
    max_frames: int = 1500
    own_length: bool = dataclasses.field(default=False, metadata={"later": True})

    def with_own_length(self, own_length: bool | None) -> "WhisperConfig":
        return self if own_length is None else dataclasses.replace(self, own_length=own_length)

    @property
    def pooled(self) -> bool:
        """Whether two frames make one."""
        return self.model_type == "qwen2_audio_encoder"

    @property
    def samples_per_frame(self) -> int:
        return HOP_SAMPLES * (4 if self.pooled else 2)

    @property
    def max_samples(self) -> int:
        return 2 * HOP_SAMPLES * self.max_frames

    def computed_samples(self, samples: int) -> int:
        return samples if self.own_length else self.max_samples

    def layer_lengths(self, samples: Any) -> Any:
        """Frames of clips of so many samples in the layers, before pooling."""
        # ceil(samples / 160) mel frames; the second convolution takes every other one.
        return (-(-samples // HOP_SAMPLES) - 1) // 2 + 1

    def frame_lengths(self, samples: Any) -> Any:
        frames = self.layer_lengths(samples)
        return frames // 2 if self.pooled else frames

    def computed_frames(self, samples: int) -> int:
        """Frames that the layers compute for a row of so many samples."""
        return self.layer_lengths(samples) if self.own_length else self.max_frames

    def stem_values(self, samples: int) -> int:
        return 2 * 2 * self.computed_frames(samples) * self.hidden_size  # In and out of the first GELU.

    def flops(self, samples: int) -> float:
        width, frames = self.hidden_size, self.computed_frames(samples)
        convolutions = 2 * 3 * width * (2 * frames * self.mel_bins + frames * width)
        return convolutions + stack_flops(self.num_hidden_layers, width, self.intermediate_size, frames)


class Whisper(Encoder):
    """Whisper or Qwen2-Audio encoder."""

    config_class: ClassVar[type] = WhisperConfig
    config: WhisperConfig

    def __init__(self, config: WhisperConfig, *, rngs: nnx.Rngs):
        self.config = config
        width = config.hidden_size
        self.conv_in = Conv1d(config.mel_bins, width, 3, padding=(1, 1), rngs=rngs)
        self.conv_down = Conv1d(width, width, 3, stride=2, padding=(1, 1), rngs=rngs)
        self.positions = nnx.Param(nnx.initializers.normal(0.02)(rngs.params(), (config.max_frames, width)))
        sizes = width, config.num_attention_heads, config.intermediate_size
        build = functools.partial(PreNormLayer, *sizes, key_bias=False)
        self.layers = LayerStack(build, config.num_hidden_layers, rngs=rngs)
        self.norm = layer_norm(width, rngs=rngs)

    def __call__(
        self, waveform: jax.Array, lengths: jax.Array, **options: Unpack[Options]
    ) -> tuple[jax.Array, jax.Array]:
        """As `Encoder.__call__`; the last layer and the last of the states have passed the final norm.

        Raises:
            ValueError: rows longer than the window.
        """
        options["dropout_key"] = None
        config, window = self.config, self.config.max_samples
        batch, samples = waveform.shape
        if samples > window:
            raise ValueError(f"rows of {samples} samples: a Whisper encoder takes {window} at most; cut into windows")
        frames = config.computed_frames(samples)
        # A frame more than is needed: the convolutions of the last one reach into it.
        span = jax.core.min_dim(2 * HOP_SAMPLES * (frames + 1), window)
        heard = jnp.where(length_mask(lengths, samples), waveform, 0)
        heard = jnp.pad(heard, [(0, 0), (0, span - samples)])
        mel = whisper_log_mel(heard, jnp.full(batch, span), config.mel_bins)
        h = gelu(self.conv_down(gelu(self.conv_in(mel))))[:, :frames] + self.positions[:frames]
        mask = length_mask(config.layer_lengths(lengths), frames) if config.own_length else None
        pool = mean_of_pairs if config.pooled else None
        h = self.layers(h, mask, pool=pool, final=self.norm, final_is_a_state=True, **options)
        return h[..., : config.frame_lengths(samples), :], config.frame_lengths(lengths)


def mean_of_pairs(h: jax.Array) -> jax.Array:
    """[B, L, D] -> [B, L // 2, D]; a last single frame is left out."""
    batch, frames, width = h.shape
    return h[:, : frames // 2 * 2].reshape(batch, frames // 2, 2, width).mean(2)
