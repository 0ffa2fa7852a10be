"""wav2vec2, HuBERT and WavLM: one skeleton, two layouts.

Base models normalise the first convolution over time (group norm) and have post-norm layers; most large models
normalise every convolution over channels (layer norm) and have pre-norm layers ("stable layer norm"). Numbers follow
transformers 5.23 on a clip alone. Unlike there, the statistics over time of the group norm cover valid frames only,
so padding changes nothing.

Training noise (dropout, SpecAugment, LayerDrop) has the rates of the config and acts where a random key is given. A
layer that LayerDrop skips hands on its input, which stays in the list of states, as in transformers 4.
"""

import dataclasses
import itertools
import math
from typing import Any, ClassVar, Literal

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from urgentmos_jax.encoders.encoder import Architecture, Encoder
from urgentmos_jax.encoders.spec_augment import draw_spans
from urgentmos_jax.nn.attention import Attention
from urgentmos_jax.nn.blocks import Conv1d, dropout, gelu, layer_norm, split_key
from urgentmos_jax.nn.masking import conv_lengths, length_mask, masked_mean
from urgentmos_jax.nn.stack import LayerStack, States, stack_flops
from urgentmos_jax.weights.rules import Rule, conv, dense, norm

__all__ = ["Wav2Vec2", "Wav2Vec2Config"]

_RATES = ("hidden_dropout", "attention_dropout", "activation_dropout", "feat_proj_dropout", "layerdrop")
_RATES += ("mask_time_prob", "mask_feature_prob")
_NOISE = {*_RATES, *(f"mask_{axis}_{name}" for axis in ("time", "feature") for name in ("length", "min_masks"))}


@dataclasses.dataclass(frozen=True)
class Wav2Vec2Config(Architecture):
    """Architecture and front end; names and meanings as in the Hugging Face config.json.

    By default there is no training noise, whatever transformers' defaults are.
    """

    needed_keys: ClassVar[tuple[str, ...]] = (
        *("hidden_size", "num_hidden_layers", "num_attention_heads", "intermediate_size"),
        *("feat_extract_norm", "do_stable_layer_norm"),
    )
    # Those whose default here is not transformers'.
    noise_keys: ClassVar[tuple[str, ...]] = (
        *("hidden_dropout", "attention_dropout", "activation_dropout", "layerdrop", "mask_time_prob"),
    )
    has_noise: ClassVar[bool] = True

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

    @classmethod
    def from_huggingface(
        cls, config: dict[str, Any], preprocessor: dict[str, Any], *, noise: bool = False
    ) -> "Wav2Vec2Config":
        """Reads config.json (defaults filled in) and preprocessor_config.json.

        Args:
            config, preprocessor: Contents of the files.
            noise: Whether the rates of training noise are read; without it they are 0.

        Raises:
            ValueError: naming every setting that is not supported.
        """
        wanted = {
            "hidden_act": "gelu",
            "feat_extract_activation": "gelu",
            "add_adapter": False,
            "adapter_attn_dim": None,
            "conv_pos_batch_norm": False,
        }
        faults = [
            f"{key} is {config[key]!r}, supported is {value!r}"
            for key, value in wanted.items()
            if config.get(key, value) != value
        ]
        rate = preprocessor.get("sampling_rate", 16000)
        if rate != 16000:
            faults.append(f"sampling_rate is {rate}, supported is 16000")
        names = {field.name for field in dataclasses.fields(cls)} - {"do_normalize"}
        needed = cls.needed_keys
        if noise:
            needed += cls.noise_keys
            if not config.get("apply_spec_augment", True):
                config = config | {"mask_time_prob": 0.0, "mask_feature_prob": 0.0}
        else:
            names -= _NOISE
        values = {
            name: tuple(value) if isinstance(value, list) else value for name, value in config.items() if name in names
        }
        faults += [f"{name} is missing" for name in needed if name not in values]
        if faults:
            raise ValueError("; ".join(faults))
        return cls(**values, do_normalize=preprocessor.get("do_normalize", True))

    def without_noise(self) -> "Wav2Vec2Config":
        """The same encoder with no training noise."""
        return dataclasses.replace(self, **{f.name: f.default for f in dataclasses.fields(self) if f.name in _NOISE})

    def frame_lengths(self, samples: Any) -> Any:
        """Frames of clips of so many samples (int or integer array)."""
        return conv_lengths(samples, zip(self.conv_kernel, self.conv_stride, strict=True))

    @property
    def samples_per_frame(self) -> int:
        """Hop of the frames in samples at 16 kHz."""
        return math.prod(self.conv_stride)

    def stem_values(self, samples: int) -> int:
        """Values that are alive at the widest place before the layers: in and out of the first norm."""
        return 2 * samples // self.conv_stride[0] * self.conv_dim[0]

    def flops(self, samples: int) -> float:
        """Operations for one clip."""
        channels, length, stem = (1, *self.conv_dim), samples, 0
        geometry = zip(self.conv_kernel, self.conv_stride, strict=True)
        for (kernel, stride), (inputs, outputs) in zip(geometry, itertools.pairwise(channels), strict=True):
            length = conv_lengths(length, [(kernel, stride)])
            stem += 2 * length * kernel * inputs * outputs
        width = self.hidden_size
        position = self.num_conv_pos_embeddings * width**2 / self.num_conv_pos_embedding_groups
        layers = stack_flops(self.num_hidden_layers, width, self.intermediate_size, length)
        return stem + 2 * length * (channels[-1] * width + position) + layers

    @classmethod
    def wavlm_base_plus(cls) -> "Wav2Vec2Config":
        """microsoft/wavlm-base-plus."""
        return cls(
            model_type="wavlm",
            hidden_size=768,
            num_hidden_layers=12,
            num_attention_heads=12,
            intermediate_size=3072,
            feat_extract_norm="group",
            do_stable_layer_norm=False,
            do_normalize=False,
        )

    @classmethod
    def wavlm_large(cls) -> "Wav2Vec2Config":
        """microsoft/wavlm-large."""
        return cls(
            model_type="wavlm",
            hidden_size=1024,
            num_hidden_layers=24,
            num_attention_heads=16,
            intermediate_size=4096,
            feat_extract_norm="layer",
            do_stable_layer_norm=True,
            do_normalize=True,
        )


class Wav2Vec2(Encoder):
    """wav2vec2, HuBERT or WavLM encoder.

    Args:
        config: Architecture.
        rngs: Stream `params` of the random initialisation.
    """

    config_class: ClassVar[type] = Wav2Vec2Config
    prefixes: ClassVar[tuple[str, ...]] = ("wavlm.", "wav2vec2.", "hubert.")
    # Heads of the pretraining and of recognition.
    ignored: ClassVar[tuple[str, ...]] = (r"quantizer\..*", r"project_(q|hid)\..*", r"lm_head\..*")

    def __init__(self, config: Wav2Vec2Config, *, rngs: nnx.Rngs):
        if not len(config.conv_dim) == len(config.conv_kernel) == len(config.conv_stride):
            raise ValueError("conv_dim, conv_kernel and conv_stride are not of one length")
        rates = {name: getattr(config, name) for name in _RATES}
        if wrong := {name: rate for name, rate in rates.items() if not 0 <= rate <= 1}:
            raise ValueError(f"rates are not from 0 to 1: {wrong}")
        self.config = config
        width = config.hidden_size
        channels = (1, *config.conv_dim)
        self.stem = nnx.List(
            StemLayer(
                channels[i],
                channels[i + 1],
                config.conv_kernel[i],
                config.conv_stride[i],
                bias=config.conv_bias,
                norm={"layer": "layer", "group": "group" if i == 0 else None}[config.feat_extract_norm],
                rngs=rngs,
            )
            for i in range(len(config.conv_dim))
        )
        self.projection_norm = (
            layer_norm(channels[-1], config.layer_norm_eps, rngs=rngs) if config.feat_proj_layer_norm else None
        )
        self.projection = nnx.Linear(channels[-1], width, rngs=rngs)
        taps = config.num_conv_pos_embeddings
        self.position = Conv1d(
            width,
            width,
            taps,
            # torch pads taps // 2 on both sides and, for an even number of taps, cuts the last frame.
            padding=(taps // 2, taps // 2 - (taps % 2 == 0)),
            groups=config.num_conv_pos_embedding_groups,
            rngs=rngs,
        )
        self.norm = layer_norm(width, config.layer_norm_eps, rngs=rngs)
        self.relative = (
            nnx.Param(nnx.initializers.normal(0.02)(rngs.params(), (config.num_buckets, config.num_attention_heads)))
            if config.model_type == "wavlm"
            else None
        )
        self.layers = LayerStack(lambda rngs: EncoderLayer(config, rngs=rngs), config.num_hidden_layers, rngs=rngs)
        masked = config.mask_time_prob > 0
        self.masked = nnx.Param(nnx.initializers.uniform(1.0)(rngs.params(), (width,))) if masked else None

    def __call__(
        self,
        waveform: jax.Array,
        lengths: jax.Array,
        *,
        states: States = "last",
        gradient_scale: float = 1.0,
        dropout_key: jax.Array | None = None,
    ) -> tuple[jax.Array, jax.Array]:
        """As `Encoder.__call__`."""
        config = self.config
        keys = split_key(dropout_key, 5)
        h = dropout(self._frames(waveform, lengths), config.feat_proj_dropout, keys[0])
        frames = config.frame_lengths(lengths)
        mask = length_mask(frames, h.shape[1])
        h = jnp.where(mask[..., None], self._augmented(h, frames, keys[1]), 0)
        h = h + gelu(self.position(h))
        if not config.do_stable_layer_norm:
            h = self.norm(h)
        h = dropout(h, config.hidden_dropout, keys[2])
        bias = None if self.relative is None else self._relative_bias(h.shape[1])
        final = {"final": self.norm} if config.do_stable_layer_norm else {}
        h = self.layers(
            h,
            mask,
            bias,
            states=states,
            gradient_scale=gradient_scale,
            skipped=self._skipped(keys[3]),
            dropout_key=keys[4],
            **final,
        )
        return h, frames

    def _augmented(self, h: jax.Array, frames: jax.Array, key: jax.Array | None) -> jax.Array:
        """SpecAugment: spans of frames become the learnt vector, spans of features 0."""
        config = self.config
        if key is None:
            return h
        time, feature = jax.random.split(key)
        if self.masked is not None:
            shape = (config.mask_time_prob, config.mask_time_length, config.mask_time_min_masks)
            h = jnp.where(draw_spans(time, frames, h.shape[1], *shape)[..., None], self.masked[...].astype(h.dtype), h)
        if config.mask_feature_prob > 0:
            shape = (config.mask_feature_prob, config.mask_feature_length, config.mask_feature_min_masks)
            width = h.shape[2]
            h = jnp.where(draw_spans(feature, jnp.full(len(h), width), width, *shape)[:, None], 0, h)
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

    def _relative_bias(self, frames: int) -> jax.Array:
        """WavLM's position bias before gating, [H, F, F]: entry (h, i, j) depends on j - i alone."""
        # One row of the bias for distances 0 .. F-1, one filler, -(F-1) .. -1; row i is this row rolled by i, which
        # a reshape with rows one element shorter than the period does without a gather over F x F.
        distance = np.concatenate([np.arange(frames), [0], np.arange(1 - frames, 0)])
        buckets = relative_buckets(distance, self.config.num_buckets, self.config.max_bucket_distance)
        row = self.relative[...][buckets].T.astype(jnp.float32)
        period = 2 * frames
        tiled = jnp.tile(row, (1, frames))[:, : frames * (period - 1)]
        return tiled.reshape(-1, frames, period - 1)[:, :, :frames]

    def rules(self) -> list[Rule]:
        """How the tensors of a Hugging Face checkpoint fill this module."""
        config = self.config
        rules = [Rule("masked_spec_embed", None if self.masked is None else "masked")]
        for i in range(len(config.conv_dim)):
            key, target = f"feature_extractor.conv_layers.{i}", f"stem.{i}"
            rules += conv(f"{key}.conv", f"{target}.conv", bias=config.conv_bias)
            if self.stem[i].norm is not None:
                rules += norm(f"{key}.layer_norm", f"{target}.norm")
        if config.feat_proj_layer_norm:
            rules += norm("feature_projection.layer_norm", "projection_norm")
        rules += dense("feature_projection.projection", "projection")
        rules += [
            Rule(
                (
                    "encoder.pos_conv_embed.conv.parametrizations.weight.original0",
                    "encoder.pos_conv_embed.conv.parametrizations.weight.original1",
                ),
                "position.kernel",
                fold_weight_norm,
            ),
            Rule("encoder.pos_conv_embed.conv.bias", "position.bias"),
        ]
        rules += norm("encoder.layer_norm", "norm")
        for i in range(config.num_hidden_layers):
            key, target = f"encoder.layers.{i}", "layers.stacked"
            for ours, theirs in (("query", "q"), ("key", "k"), ("value", "v"), ("out", "out")):
                rules += dense(f"{key}.attention.{theirs}_proj", f"{target}.attention.{ours}", layer=i)
            if config.model_type == "wavlm":
                rules += dense(f"{key}.attention.gru_rel_pos_linear", f"{target}.gate", layer=i)
                rules += [
                    Rule(
                        f"{key}.attention.gru_rel_pos_const",
                        f"{target}.gate_scale",
                        lambda c: c[0, :, 0, 0],
                        i,
                    )
                ]
            rules += norm(f"{key}.layer_norm", f"{target}.attention_norm", layer=i)
            rules += dense(f"{key}.feed_forward.intermediate_dense", f"{target}.feed_in", layer=i)
            rules += dense(f"{key}.feed_forward.output_dense", f"{target}.feed_out", layer=i)
            rules += norm(f"{key}.final_layer_norm", f"{target}.feed_norm", layer=i)
        if config.model_type == "wavlm":
            rules += [Rule("encoder.layers.0.attention.rel_attn_embed.weight", "relative")]
        return rules


class StemLayer(nnx.Module):
    """Convolution, norm (over time per channel, over channels, or none), GELU."""

    def __init__(
        self,
        inputs: int,
        outputs: int,
        kernel: int,
        stride: int,
        *,
        bias: bool,
        norm: Literal["group", "layer"] | None,
        rngs: nnx.Rngs,
    ):
        self.geometry = (kernel, stride)
        self.conv = Conv1d(inputs, outputs, kernel, stride=stride, bias=bias, rngs=rngs)
        # Epsilon 1e-5 in both norms, whatever the config says.
        norms = {"group": lambda: TimeNorm(outputs), "layer": lambda: layer_norm(outputs, rngs=rngs)}
        self.norm = norms[norm]() if norm else None

    def lengths(self, lengths: jax.Array) -> jax.Array:
        """Output lengths of input lengths."""
        return conv_lengths(lengths, [self.geometry])

    def __call__(self, x: jax.Array, lengths: jax.Array) -> jax.Array:
        """[B, L, C] and the *output* lengths [B] -> [B, L', C']."""
        x = self.conv(x)
        if isinstance(self.norm, TimeNorm):
            x = self.norm(x, lengths)
        elif self.norm is not None:
            x = self.norm(x)
        return gelu(x)


class TimeNorm(nnx.Module):
    """GroupNorm with one channel a group: each channel over time, here over a clip's valid frames only."""

    def __init__(self, features: int):
        self.scale = nnx.Param(jnp.ones(features))
        self.bias = nnx.Param(jnp.zeros(features))

    def __call__(self, x: jax.Array, lengths: jax.Array) -> jax.Array:
        """[B, L, C], lengths [B] -> [B, L, C]."""
        mask = length_mask(lengths, x.shape[1])
        mean = masked_mean(x, mask)[:, None]
        variance = masked_mean(jnp.square(x - mean), mask)[:, None]
        gain = jax.lax.rsqrt(variance + 1e-5) * self.scale[...]
        return ((x - mean) * gain + self.bias[...]).astype(x.dtype)


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
        bias = None if bias is None else self._gated(z, bias)
        noise = dict(dropout_rate=self.attention_dropout, dropout_key=keys[0])
        attended, _ = self.attention(z, z, mask=mask, bias=bias, **noise)
        h = h + dropout(attended, self.hidden_dropout, keys[1])
        if self.pre_norm:
            return h + self._feed(self.feed_norm(h), *keys[2:])
        h = self.attention_norm(h)
        return self.feed_norm(h + self._feed(h, *keys[2:]))

    def _feed(self, x: jax.Array, inner: jax.Array | None, outer: jax.Array | None) -> jax.Array:
        x = dropout(gelu(self.feed_in(x)), self.activation_dropout, inner)
        return dropout(self.feed_out(x), self.hidden_dropout, outer)

    def _gated(self, z: jax.Array, bias: jax.Array) -> jax.Array:
        """The gate belongs to the query: bias [H, F, F] -> [B, H, F, F]."""
        heads = self.attention.heads
        u = self.gate(z.reshape(*z.shape[:-1], heads, -1)).astype(jnp.float32)
        u = jax.nn.sigmoid(u.reshape(*u.shape[:-1], 2, 4).sum(-1))
        gate = u[..., 0] * (u[..., 1] * self.gate_scale[...] - 1) + 2
        return gate.transpose(0, 2, 1)[..., None] * bias


def relative_buckets(distance: np.ndarray, buckets: int, max_distance: int) -> np.ndarray:
    """WavLM's bucket of each distance key - query: exact near zero, logarithmic up to `max_distance`."""
    half, exact = buckets // 2, buckets // 4
    size = np.abs(distance)
    scale = np.log(np.maximum(size, 1) / exact) / np.log(max_distance / exact)
    far = np.minimum(half - 1, np.floor(exact + (half - exact) * scale)).astype(np.int64)
    return np.where(distance > 0, half, 0) + np.where(size < exact, size, far)


def fold_weight_norm(gain: np.ndarray, direction: np.ndarray) -> np.ndarray:
    """Gain [1, 1, K] and direction [O, I, K] of a weight-normed convolution -> kernel [K, I, O]."""
    size = np.sqrt(np.square(direction.astype(np.float64)).sum((0, 1), keepdims=True))
    return (gain.astype(np.float64) * direction / size).astype(np.float32).transpose(2, 1, 0)
