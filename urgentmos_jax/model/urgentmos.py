"""The UrgentMOS model (arXiv 2601.18438): encoders, fusion, category encoders, absolute and CMOS heads."""

import dataclasses
from collections.abc import Mapping
from typing import Literal

import jax
import jax.numpy as jnp
from flax import nnx

from urgentmos_jax.encoders.encoder import Architecture, no_regularisation
from urgentmos_jax.encoders.registry import ENCODERS, make_encoder
from urgentmos_jax.metrics import Metric
from urgentmos_jax.model.fusion import Fusion
from urgentmos_jax.model.heads import AbsoluteHead, CMOSHead, HeadConfig, absolute_scores
from urgentmos_jax.model.transformer import TransformerConfig, transformer
from urgentmos_jax.nn.blocks import scale_gradient, split_key
from urgentmos_jax.nn.masking import length_mask
from urgentmos_jax.nn.stack import States


@dataclasses.dataclass(frozen=True)
class EncoderConfig:
    """One encoder and how the model takes its features.

    Args:
        architecture: Config of the encoder's family.
        layer_aggregation: Softmax-weighted sum of all hidden states, or the last layer.
        freeze: Whether training leaves its weights as they are.
        gradient_scale: Factor on the gradient into an encoder that is trained.
        dtype: Of its weights and computation; bfloat16 halves the memory of a frozen encoder.
        noise: Whether training computes it with its own regularisation (dropout, SpecAugment, LayerDrop), as the
            authors do even where it is frozen. One that is trained has what its architecture states in any case.
    """

    architecture: Architecture = dataclasses.field(
        metadata={"tag": "model_type", "variants": {name: one.config_class for name, one in ENCODERS.items()}}
    )
    layer_aggregation: bool = True
    freeze: bool = True
    gradient_scale: float = 0.1
    dtype: Literal["float32", "bfloat16"] = "float32"
    noise: bool = False

    def __post_init__(self) -> None:
        if self.noise and not self.architecture.has_regularisation:
            raise ValueError(no_regularisation(self.architecture.model_type))
        if self.dtype == "bfloat16" and not self.freeze:
            raise ValueError("an encoder in bfloat16 cannot be trained; freeze it, or take float32")


@dataclasses.dataclass(frozen=True)
class ModelConfig:
    """Architecture; defaults are the published sizes.

    Args:
        encoders: One or several.
        categories: {category: {metric: Metric}}; their order is the order of the metrics everywhere.
        width: Features D behind the fusion.
        shared: Transformer encoder before the categories, or None.
        category: Transformer encoder of each category, or None.
        absolute: Absolute heads.
        comparative: CMOS heads.
        fusion: Whether the encoders' features are projected and normed; without, the heads take those of the only
            encoder as they are, and `width` is its own.
    """

    encoders: tuple[EncoderConfig, ...]
    categories: dict[str, dict[str, Metric]]
    width: int = 768
    shared: TransformerConfig | None = None
    category: TransformerConfig | None = dataclasses.field(default_factory=TransformerConfig)
    absolute: HeadConfig = dataclasses.field(default_factory=HeadConfig)
    comparative: HeadConfig = dataclasses.field(default_factory=HeadConfig)
    fusion: bool = dataclasses.field(default=True, metadata={"later": True})

    def __post_init__(self) -> None:
        names = [name for metrics in self.categories.values() for name in metrics]
        if not self.encoders or not names or not all(self.categories.values()) or len(set(names)) < len(names):
            text = "a model has at least one encoder, each category a metric, and no metric is in two of them"
            raise ValueError(text)
        for name, metric in self.metrics.items():
            if not metric.minimum < metric.maximum:
                raise ValueError(f"the range of {name} is {metric.minimum} to {metric.maximum}")
        if not self.fusion and self.encoder_widths != [self.width]:
            raise ValueError(f"without fusion a model has one encoder, and width is its {self.encoder_widths}")
        if len(self.encoders) > 1 and any(one.architecture.segment_frames for one in self.encoders):
            raise ValueError("overlapping segments cannot be fused with another encoder's frames; take segments apart")

    @property
    def encoder_widths(self) -> list[int]:
        """Features of a frame of each encoder, as the fusion takes them."""
        return [
            encoder.architecture.hidden_size if encoder.layer_aggregation else encoder.architecture.output_width
            for encoder in self.encoders
        ]

    @property
    def metrics(self) -> dict[str, Metric]:
        """All metrics, in order."""
        return {name: metric for metrics in self.categories.values() for name, metric in metrics.items()}

    @property
    def comparative_metrics(self) -> tuple[str, ...]:
        """Names of the metrics with a CMOS head, in order."""
        return tuple(name for name, metric in self.metrics.items() if metric.comparative)

    @property
    def segment_frames(self) -> int | None:
        """Frames of a segment, where the features are those of overlapping segments, one after another; else None."""
        return self.encoders[0].architecture.segment_frames

    def category_of(self, metric: str) -> str:
        """Category of a metric."""
        return next(category for category, metrics in self.categories.items() if metric in metrics)


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class Features:
    """What the heads see: features [B, L, D] by category, and the mask of valid frames [B, L]."""

    by_category: dict[str, jax.Array]
    mask: jax.Array

    def take(self, rows: jax.Array) -> "Features":
        """Features of some clips, in the order of `rows` [P]."""
        return jax.tree.map(lambda x: x[rows], self)


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class Absolute:
    """Scores [B], frame scores [B, L] and weights of the frames [B, L] in one metric."""

    score: jax.Array
    frame_scores: jax.Array
    frame_weights: jax.Array


class UrgentMOS(nnx.Module):
    """Speech quality model, initialised from the stream `params` of `rngs`.

    `encode` once, then `absolute` and `compare` on its features. All three are pure; a clip's results do not depend
    on the other clips of the batch or on padding.
    """

    def __init__(self, config: ModelConfig, *, rngs: nnx.Rngs):
        self.config = config
        width = config.width
        self.encoders = nnx.List(make_encoder(one.architecture, one.dtype, rngs=rngs) for one in config.encoders)
        self.layer_weights = nnx.List(
            nnx.Param(jnp.zeros(one.architecture.state_count)) if one.layer_aggregation else None
            for one in config.encoders
        )
        self.fusion = Fusion(config.encoder_widths, width, rngs=rngs) if config.fusion else None
        self.shared = transformer(width, config.shared, rngs=rngs) if config.shared else None
        stack = config.category
        self.categories = nnx.Dict(
            {name: transformer(width, stack, rngs=rngs) if stack else None for name in config.categories}
        )
        self.absolute_heads = nnx.Dict(
            {
                name: AbsoluteHead(width, config.absolute, segment_frames=config.segment_frames, rngs=rngs)
                for name in config.metrics
            }
        )
        self.cmos_heads = nnx.Dict(
            {name: CMOSHead(width, config.comparative, rngs=rngs) for name in config.comparative_metrics}
        )

    def frozen_states(self, waveform: jax.Array, lengths: jax.Array) -> list[jax.Array]:
        """What the model takes of each frozen encoder, in evaluation: [B, L, D], or all hidden states [B, S, L, D]."""
        found = []
        for encoder, weights, setting in zip(self.encoders, self.layer_weights, self.config.encoders, strict=True):
            if setting.freeze:
                x, _ = encoder(waveform, lengths, states="last" if weights is None else "all")
                found.append(x if weights is None else x.swapaxes(0, 1))
        return found

    def encode(
        self,
        waveform: jax.Array | None,
        lengths: jax.Array,
        *,
        states: Mapping[int, jax.Array] | None = None,
        dropout_key: jax.Array | None = None,
    ) -> Features:
        """Features of a batch of clips.

        Args:
            waveform: [B, T] float32, 16 kHz; what lies beyond a clip's length has no influence. None where the states
                of every encoder are given.
            lengths: [B] samples; a clip shorter than the encoders' shortest input has no valid frame.
            states: Of frozen encoders by their index, as `frozen_states` gives them; these are not computed then.
            dropout_key: Random key of training, None in evaluation. Frozen encoders without `noise` compute as in
                evaluation.
        """
        keys = iter(split_key(dropout_key, len(self.encoders) + 1 + len(self.categories)))
        features, frames = [], []
        for index, (encoder, weights, setting) in enumerate(
            zip(self.encoders, self.layer_weights, self.config.encoders, strict=True)
        ):
            scale = 1.0 if setting.freeze else setting.gradient_scale
            key = None if setting.freeze and not setting.noise else next(keys)
            mix = None if weights is None else jax.nn.softmax(weights[...])
            if states is not None and index in states:
                n = setting.architecture.frame_lengths(lengths)
                x = states[index]
                x = x if self.fusion is None else x.astype(self.fusion.project.kernel[...].dtype)
                x = x if mix is None else jnp.einsum("s,bsld->bld", mix, x)
            else:
                if waveform is None:
                    raise ValueError(f"give a waveform, or the states of encoder {index} too")
                kind: States = "last" if mix is None else mix
                x, n = encoder(waveform, lengths, states=kind, gradient_scale=scale, dropout_key=key)
                x = x if mix is not None else scale_gradient(x, scale)
            features.append(x)
            frames.append(n)
        x, longest = (features[0], frames[0]) if self.fusion is None else self.fusion(features, frames)
        mask = length_mask(longest, x.shape[1])
        if self.shared is not None:
            x = self.shared(x, mask, dropout_key=next(keys))
        by_category = {
            category: x if encoder is None else encoder(x, mask, dropout_key=next(keys))
            for category, encoder in self.categories.items()
        }
        return Features(by_category, mask)

    def absolute(self, features: Features, *, dropout_key: jax.Array | None = None) -> dict[str, Absolute]:
        """Scores by metric, in the order of the config."""
        found: dict[str, Absolute] = {}
        keys = iter(split_key(dropout_key, len(self.config.metrics)))
        for category, metrics in self.config.categories.items():
            scores = absolute_scores(
                [self.absolute_heads[name] for name in metrics],
                list(metrics.values()),
                features.by_category[category],
                features.mask,
                dropout_keys=[next(keys) for _ in metrics],
            )
            found |= {name: Absolute(*one) for name, one in zip(metrics, scores, strict=True)}
        return found

    def compare(
        self, a: Features, b: Features, *, dropout_key: jax.Array | None = None
    ) -> dict[str, tuple[jax.Array, jax.Array]]:
        """One-sided comparisons f(A, B) of clips row by row: {metric: (cmos [P], logits [P, 3])}."""
        names = self.config.comparative_metrics
        found = {}
        for name, key in zip(names, split_key(dropout_key, len(names)), strict=True):
            sides = [x for one in (a, b) for x in (one.by_category[self.config.category_of(name)], one.mask)]
            found[name] = self.cmos_heads[name](*sides, dropout_key=key)
        return found
