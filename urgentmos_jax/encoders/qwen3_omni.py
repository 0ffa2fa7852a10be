"""Qwen3-Omni's audio encoder: a convolution stem on chunks of a second, attention in windows of several chunks.

Numbers follow transformers 5.23 on a clip alone. There a clip under one chunk is heard otherwise beside a longer one,
since it is padded to the longest chunk of the batch; here it is always heard as alone.
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
from urgentmos_jax.nn.blocks import Conv2d, gelu, layer_norm, linear, sinusoids
from urgentmos_jax.nn.masking import length_mask
from urgentmos_jax.nn.stack import LayerStack, stack_flops

# Frames of a full chunk behind the stem, fixed in the length formula of transformers.
CHUNK_FRAMES = 13


@dataclasses.dataclass(frozen=True)
class Qwen3OmniConfig(Architecture):
    """Architecture and front end.

    Args:
        mel_bins: Bins of the log-mel front end.
        hidden_size, num_hidden_layers, num_attention_heads, intermediate_size: Of the layers.
        output_dim: Features behind the final projection.
        stem_channels: Of the convolutions (`downsample_hidden_size`).
        chunk: Mel frames of a chunk (twice `n_window`).
        window: Mel frames of an attention window (`n_window_infer`).
    """

    mel_bins: int
    hidden_size: int
    num_hidden_layers: int
    num_attention_heads: int
    intermediate_size: int
    output_dim: int
    stem_channels: int
    chunk: int
    window: int
    model_type: Literal["qwen3_omni_moe_audio_encoder"] = "qwen3_omni_moe_audio_encoder"

    @property
    def output_width(self) -> int:
        return self.output_dim

    @property
    def samples_per_frame(self) -> float:
        return self.chunk * HOP_SAMPLES / CHUNK_FRAMES

    @property
    def attended(self) -> int:
        """Frames of an attention window."""
        return self.window // self.chunk * CHUNK_FRAMES

    def mel_lengths(self, samples: Any) -> Any:
        return samples // HOP_SAMPLES

    def frame_lengths(self, samples: Any) -> Any:
        mel = self.mel_lengths(samples)
        return mel // self.chunk * CHUNK_FRAMES + halved(mel % self.chunk)

    def stem_values(self, samples: int) -> int:
        # In and out of the first GELU.
        return 2 * self.mel_lengths(samples) // 2 * self.mel_bins // 2 * self.stem_channels

    def flops(self, samples: int) -> float:
        chunks, frames = self.mel_lengths(samples) / self.chunk, self.frame_lengths(samples)
        time, bins, channels, stem = self.chunk, self.mel_bins, (1, *[self.stem_channels] * 2), 0
        for inputs in channels:
            time, bins = (time + 1) // 2, (bins + 1) // 2
            stem += 2 * 9 * time * bins * inputs * self.stem_channels
        width, attended = self.hidden_size, min(frames, self.attended)
        projections = self.stem_channels * bins + width + self.output_dim
        layers = stack_flops(self.num_hidden_layers, width, self.intermediate_size, frames, attended=attended)
        return chunks * stem + 2 * frames * width * projections + layers


class Qwen3Omni(Encoder):
    """Qwen3-Omni audio encoder."""

    config_class: ClassVar[type] = Qwen3OmniConfig
    config: Qwen3OmniConfig

    def __init__(self, config: Qwen3OmniConfig, *, rngs: nnx.Rngs):
        self.config = config
        width, channels, bins = config.hidden_size, config.stem_channels, config.mel_bins
        halving: dict[str, Any] = {"stride": (2, 2), "padding": ((1, 1), (1, 1))}
        self.stem = nnx.List(Conv2d(inputs, channels, **halving, rngs=rngs) for inputs in (1, channels, channels))
        self.stem_out = linear(channels * halved(bins), width, bias=False, rngs=rngs)
        build = functools.partial(PreNormLayer, width, config.num_attention_heads, config.intermediate_size)
        self.layers = LayerStack(build, config.num_hidden_layers, rngs=rngs)
        self.norm = layer_norm(width, rngs=rngs)
        self.project_in = linear(width, width, rngs=rngs)
        self.project_out = linear(width, config.output_dim, rngs=rngs)

    def __call__(
        self, waveform: jax.Array, lengths: jax.Array, **options: Unpack[Options]
    ) -> tuple[jax.Array, jax.Array]:
        """As `Encoder.__call__`; the states have `hidden_size` features and have passed no norm."""
        options["dropout_key"] = None
        config = self.config
        h = self._stem(waveform, lengths)
        rows, frames, width = h.shape
        mask = length_mask(config.frame_lengths(lengths), frames)
        # Each window of each clip is a row of its own.
        windows = -(-frames // config.attended)
        size = min(frames, config.attended)
        missing = [(0, 0), (0, windows * size - frames)]
        h = jnp.pad(h, [*missing, (0, 0)]).reshape(rows * windows, size, width)
        mask = jnp.pad(mask, missing).reshape(rows * windows, size)
        h = self.layers(h, mask, final=self._final, **options)
        h = h.reshape(*h.shape[:-3], rows, windows * size, h.shape[-1])
        return h[..., : config.frame_lengths(waveform.shape[1]), :], config.frame_lengths(lengths)

    def _stem(self, waveform: jax.Array, lengths: jax.Array) -> jax.Array:
        """[B, T] -> [B, 13 a chunk, D]: the valid frames of a clip lie together, since only its last chunk is short."""
        config = self.config
        chunk, valid = config.chunk, config.mel_lengths(lengths)
        heard = jnp.where(length_mask(lengths, waveform.shape[1]), waveform, 0)
        mel = whisper_log_mel(heard, jnp.maximum(lengths, 1), config.mel_bins)
        mel = jnp.where(length_mask(valid, mel.shape[1])[..., None], mel, 0)
        rows, frames, bins = mel.shape
        chunks = -(-frames // chunk)
        x = jnp.pad(mel, [(0, 0), (0, chunks * chunk - frames), (0, 0)]).reshape(rows * chunks, chunk, bins, 1)
        # A clip under one chunk ends where it ends: what the biases make of the zeros behind it is not heard.
        end = jnp.repeat(jnp.minimum(valid, chunk), chunks)
        for layer in self.stem:
            end = (end + 1) // 2
            x = gelu(layer(x))
            x = jnp.where(length_mask(end, x.shape[1])[..., None, None], x, 0)
        # The checkpoint's features run over the bins within each channel.
        x = self.stem_out(x.swapaxes(2, 3).reshape(*x.shape[:2], -1))
        x = x + sinusoids(x.shape[1], x.shape[2]).astype(x.dtype)
        return x.reshape(rows, chunks * x.shape[1], -1)

    def _final(self, h: jax.Array) -> jax.Array:
        return self.project_out(gelu(self.project_in(self.norm(h))))


def halved(length: Any) -> Any:
    """Length behind three convolutions of stride 2 with one zero on each side."""
    for _ in range(3):
        length = (length + 1) // 2
    return length
