"""wav2vec2, HuBERT and WavLM: one skeleton, two layouts.

Base models normalise the first convolution over time (group norm) and have post-norm layers; most large models
normalise every convolution over channels (layer norm) and have pre-norm layers ("stable layer norm"). Numbers follow
transformers 5.23 on a clip alone. Unlike there, the statistics over time of the group norm cover valid frames only,
so padding changes nothing.

Train-time regularisation (dropout, SpecAugment, LayerDrop) has the rates of the config and acts where a random key is
given. A layer that LayerDrop skips hands on its input, which stays in the list of states, as in transformers 4.
"""

import dataclasses
import functools
import itertools
import math
from typing import Any, ClassVar, Literal, Unpack

import jax
import jax.numpy as jnp
from flax import nnx

from urgentmos_jax.encoders.conv_stem import StemLayer
from urgentmos_jax.encoders.encoder import Architecture, Encoder, Options
from urgentmos_jax.encoders.relative_positions import gated_bias, relative_bias
from urgentmos_jax.encoders.spec_augment import sample_spans
from urgentmos_jax.nn.attention import Attention
from urgentmos_jax.nn.blocks import Conv1d, dropout, gelu, layer_norm, split_key
from urgentmos_jax.nn.masking import conv_lengths, length_mask, masked_mean
from urgentmos_jax.nn.stack import LayerStack, stack_flops

_RATES = (
    *("hidden_dropout", "attention_dropout", "activation_dropout", "feat_proj_dropout", "layerdrop"),
    *("mask_time_prob", "mask_feature_prob"),
)
_REGULARISATION = {
    *_RATES,
    *(f"mask_{axis}_{name}" for axis in ("time", "feature") for name in ("length", "min_masks")),
}


@dataclasses.dataclass(frozen=True)
class Wav2Vec2Config(Architecture):
    """Architecture and front end; names and meanings as in the Hugging Face config.json.

    By default there is no train-time regularisation, whatever transformers' defaults are.
    """

    has_regularisation: ClassVar[bool] = True

    model_type: Literal["wav2vec2", "hubert", "wavlm"]
    hidden_size: int
    num_hidden_layers: int
    num_attention_heads: int
    intermediate_size: int
    feat_extract_norm: Literal["group", "layer"]
    do_stable_layer_norm: bool
    do_normalize: bool
    conv_bias: bool = False
    conv_dim: tuple[int, ...] = (512,) * 7
    conv_kernel: tuple[int, ...] = (10, 3, 3, 3, 3, 2, 2)
    conv_stride: tuple[int, ...] = (5, 2, 2, 2, 2, 2, 2)
    num_conv_pos_embeddings: int = 128
    num_conv_pos_embedding_groups: int = 16
    layer_norm_eps: float = 1e-5
    feat_proj_layer_norm: bool = True
    num_buckets: int = 320
    max_bucket_distance: int = 800
    hidden_dropout: float = 0.0
    attention_dropout: float = 0.0
    activation_dropout: float = 0.0
    feat_proj_dropout: float = 0.0
    layerdrop: float = 0.0
    mask_time_prob: float = 0.0
    mask_time_length: int = 10
    mask_time_min_masks: int = dataclasses.field(default=2, metadata={"min": 0})
    mask_feature_prob: float = 0.0
    mask_feature_length: int = 10
    mask_feature_min_masks: int = dataclasses.field(default=0, metadata={"min": 0})

    def without_regularisation(self) -> "Wav2Vec2Config":
        defaults: dict[str, Any] = {f.name: f.default for f in dataclasses.fields(self) if f.name in _REGULARISATION}
        return dataclasses.replace(self, **defaults)

    def frame_lengths(self, samples: Any) -> Any:
        return conv_lengths(samples, zip(self.conv_kernel, self.conv_stride, strict=True))

    @property
    def samples_per_frame(self) -> int:
        return math.prod(self.conv_stride)

    def stem_values(self, samples: int) -> int:
        return 2 * samples // self.conv_stride[0] * self.conv_dim[0]  # In and out of the first norm.

    def flops(self, samples: int) -> float:
        channels, length, stem = (1, *self.conv_dim), samples, 0
        geometry = zip(self.conv_kernel, self.conv_stride, strict=True)
        for (kernel, stride), (inputs, outputs) in zip(geometry, itertools.pairwise(channels), strict=True):
            length = conv_lengths(length, [(kernel, stride)])
            stem += 2 * length * kernel * inputs * outputs
        width = self.hidden_size
        position = self.num_conv_pos_embeddings * width**2 / self.num_conv_pos_embedding_groups
        layers = stack_flops(self.num_hidden_layers, width, self.intermediate_size, length)
        return stem + 2 * length * (channels[-1] * width + position) + layers


class Wav2Vec2(Encoder):
    """wav2vec2, HuBERT or WavLM encoder."""

    config_class: ClassVar[type] = Wav2Vec2Config
    config: Wav2Vec2Config

    def __init__(self, config: Wav2Vec2Config, *, rngs: nnx.Rngs):
        if not len(config.conv_dim) == len(config.conv_kernel) == len(config.conv_stride):
            raise ValueError("conv_dim, conv_kernel and conv_stride are not of one length")
        rates = {name: getattr(config, name) for name in _RATES}
        if wrong := {name: rate for name, rate in rates.items() if not 0 <= rate <= 1}:
            raise ValueError(f"rates are not from 0 to 1: {wrong}")
        self.config = config
        width = config.hidden_size
        channels, epsilon = (1, *config.conv_dim), config.layer_norm_eps
        rest = None if config.feat_extract_norm == "group" else "layer"
        norms = [config.feat_extract_norm, *[rest] * (len(config.conv_dim) - 1)]
        sizes = zip(channels[:-1], config.conv_dim, config.conv_kernel, config.conv_stride, norms, strict=True)
        self.stem = nnx.List(StemLayer(*size, bias=config.conv_bias, rngs=rngs) for size in sizes)
        self.projection_norm = layer_norm(channels[-1], epsilon, rngs=rngs) if config.feat_proj_layer_norm else None
        self.projection = nnx.Linear(channels[-1], width, rngs=rngs)
        taps, groups = config.num_conv_pos_embeddings, config.num_conv_pos_embedding_groups
        # torch pads taps // 2 on both sides and, for an even number of taps, cuts the last frame.
        padding = (taps // 2, taps // 2 - (taps % 2 == 0))
        self.position = Conv1d(width, width, taps, padding=padding, groups=groups, rngs=rngs)
        self.norm = layer_norm(width, epsilon, rngs=rngs)
        table, init = (config.num_buckets, config.num_attention_heads), nnx.initializers.normal(0.02)
        self.relative = nnx.Param(init(rngs.params(), table)) if config.model_type == "wavlm" else None
        self.layers = LayerStack(functools.partial(EncoderLayer, config), config.num_hidden_layers, rngs=rngs)
        masked = config.mask_time_prob > 0
        self.masked = nnx.Param(nnx.initializers.uniform(1.0)(rngs.params(), (width,))) if masked else None

    def __call__(
        self, waveform: jax.Array, lengths: jax.Array, **options: Unpack[Options]
    ) -> tuple[jax.Array, jax.Array]:
        """As `Encoder.__call__`."""
        config = self.config
        *keys, options["dropout_key"] = split_key(options.get("dropout_key"), 5)
        h = dropout(self._frames(waveform, lengths), config.feat_proj_dropout, keys[0])
        frames = config.frame_lengths(lengths)
        mask = length_mask(frames, h.shape[1])
        h = jnp.where(mask[..., None], self._augmented(h, frames, keys[1]), 0)
        h = h + gelu(self.position(h))
        if not config.do_stable_layer_norm:
            h = self.norm(h)
        h = dropout(h, config.hidden_dropout, keys[2])
        bias = None
        if self.relative is not None:
            bias = relative_bias(self.relative[...], h.shape[1], max_distance=config.max_bucket_distance)
        final = self.norm if config.do_stable_layer_norm else None
        return self.layers(h, mask, bias, final=final, skipped=self._skipped(keys[3]), **options), frames

    def _augmented(self, h: jax.Array, frames: jax.Array, key: jax.Array | None) -> jax.Array:
        """SpecAugment: spans of frames become the learnt vector, spans of features 0."""
        config = self.config
        if key is None:
            return h
        time, feature = jax.random.split(key)
        if self.masked is not None:
            shape = (config.mask_time_prob, config.mask_time_length, config.mask_time_min_masks)
            spans = sample_spans(time, frames, h.shape[1], *shape)
            h = jnp.where(spans[..., None], self.masked[...].astype(h.dtype), h)
        if config.mask_feature_prob > 0:
            shape = (config.mask_feature_prob, config.mask_feature_length, config.mask_feature_min_masks)
            spans = sample_spans(feature, jnp.full(len(h), h.shape[2]), h.shape[2], *shape)
            h = jnp.where(spans[:, None], 0, h)
        return h

    def _skipped(self, key: jax.Array | None) -> jax.Array | None:
        """LayerDrop: which layers a batch skips."""
        config = self.config
        if key is None or config.layerdrop == 0:
            return None
        skipped = jax.random.bernoulli(key, config.layerdrop, (config.num_hidden_layers,))
        # There, the first layer of WavLM makes the position bias of all.
        return skipped.at[0].set(False) if config.model_type == "wavlm" else skipped

    def _frames(self, waveform: jax.Array, lengths: jax.Array) -> jax.Array:
        """[B, T] -> projected frames [B, F, D]."""
        valid = length_mask(lengths, waveform.shape[1])
        x = jnp.where(valid, waveform, 0)
        if self.config.do_normalize:
            mean = masked_mean(x[..., None], valid)
            centred = jnp.where(valid, x - mean, 0)
            variance = masked_mean(jnp.square(centred)[..., None], valid)
            x = centred / jnp.sqrt(variance + 1e-7)
        x = x[..., None]
        for layer in self.stem:
            lengths = layer.lengths(lengths)
            x = layer(x, lengths)
        if self.projection_norm is not None:
            x = self.projection_norm(x)
        return self.projection(x)


class EncoderLayer(nnx.Module):
    """Attention and feed-forward, post-norm or pre-norm, with WavLM's gate on the relative position bias."""

    def __init__(self, config: Wav2Vec2Config, *, rngs: nnx.Rngs):
        width, heads = config.hidden_size, config.num_attention_heads
        self.pre_norm = config.do_stable_layer_norm
        self.hidden_dropout, self.activation_dropout = config.hidden_dropout, config.activation_dropout
        self.attention_dropout = config.attention_dropout
        self.attention = Attention(width, heads, rngs=rngs)
        self.attention_norm = layer_norm(width, config.layer_norm_eps, rngs=rngs)
        init = nnx.initializers.normal(0.02)
        self.feed_in = nnx.Linear(width, config.intermediate_size, kernel_init=init, rngs=rngs)
        self.feed_out = nnx.Linear(config.intermediate_size, width, kernel_init=init, rngs=rngs)
        self.feed_norm = layer_norm(width, config.layer_norm_eps, rngs=rngs)
        gated = config.model_type == "wavlm"
        self.gate = nnx.Linear(width // heads, 8, rngs=rngs) if gated else None
        self.gate_scale = nnx.Param(jnp.ones(heads)) if gated else None

    def __call__(
        self, h: jax.Array, mask: jax.Array, bias: jax.Array | None, *, dropout_key: jax.Array | None = None
    ) -> jax.Array:
        """[B, F, D], mask [B, F], bias [H, F, F] -> [B, F, D]."""
        keys = split_key(dropout_key, 4)
        z = self.attention_norm(h) if self.pre_norm else h
        if bias is not None and self.gate is not None and self.gate_scale is not None:
            bias = gated_bias(self.gate, self.gate_scale[...], z, bias)
        rate = self.attention_dropout
        attended, _ = self.attention(z, z, mask=mask, bias=bias, dropout_rate=rate, dropout_key=keys[0])
        h = h + dropout(attended, self.hidden_dropout, keys[1])
        if self.pre_norm:
            return h + self._feed(self.feed_norm(h), *keys[2:])
        h = self.attention_norm(h)
        return self.feed_norm(h + self._feed(h, *keys[2:]))

    def _feed(self, x: jax.Array, inner: jax.Array | None, outer: jax.Array | None) -> jax.Array:
        x = dropout(gelu(self.feed_in(x)), self.activation_dropout, inner)
        return dropout(self.feed_out(x), self.hidden_dropout, outer)
