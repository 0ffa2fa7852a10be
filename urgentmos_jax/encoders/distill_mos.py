"""Encoder of Distill-MOS: compressed complex spectrum, 3 x 3 convolutions, post-norm transformer layers.

B. Stahl and H. Gamper, "Distillation and Pruning for Scalable Self-Supervised Representation-Based Speech Quality
Assessment", arXiv 2502.05356; numbers follow the package `distillmos` 0.9.1. It hears segments of 7.68 s, each at a
peak of 1. A shorter clip is padded with zeros, and these are attended to, as in the pretraining; the convolutions
compute them once, since silence has the same features wherever it lies.
"""

import dataclasses
import functools
import itertools
from typing import Any, ClassVar, Literal, Unpack

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from urgentmos_jax.encoders.encoder import Architecture, Encoder, Options
from urgentmos_jax.nn.attention import PostNormLayer
from urgentmos_jax.nn.blocks import Conv2d, linear
from urgentmos_jax.nn.masking import length_mask
from urgentmos_jax.nn.stack import LayerStack, stack_flops

SEGMENT_SAMPLES = 122_880
SEGMENT_FRAMES = 384
HOP_SAMPLES, WINDOW_SAMPLES = 160, 320
# Of the last convolution, which takes every other column of the spectrum.
FRAME_SAMPLES = 2 * HOP_SAMPLES
_COLUMNS = SEGMENT_SAMPLES // HOP_SAMPLES
# Overlapping segments begin at most 1 s apart.
_MAX_STEP_SAMPLES = 16_000


@dataclasses.dataclass(frozen=True)
class DistillMOSConfig(Architecture):
    """Sizes; the defaults are the published ones.

    Args:
        channels: Of the convolutions; six is what the segment's frames are made for.
        hidden_size, num_hidden_layers, num_attention_heads, intermediate_size: Of the layers.
        segments: How a clip is cut. "apart": segments end to end, and frames of the clip alone, in order of time.
            "overlapping", as the released model does: segments at most 1 s apart from the first sample to the last,
            and all frames of each, those of the padding too, one segment after another; the heads score each segment.
    """

    model_type: Literal["distill_mos"] = "distill_mos"
    channels: tuple[int, ...] = (64, 64, 128, 256, 256, 256)
    hidden_size: int = 200
    num_hidden_layers: int = 7
    num_attention_heads: int = 8
    intermediate_size: int = 400
    segments: Literal["apart", "overlapping"] = "apart"

    def __post_init__(self) -> None:
        if not 2 <= len(self.channels) <= 7 or self.hidden_size % 2:
            raise ValueError("distill_mos has two to seven convolutions and an even hidden_size")

    @property
    def attended(self) -> int:
        """Frames that a frame attends to."""
        return SEGMENT_FRAMES

    @property
    def segment_frames(self) -> int | None:
        return SEGMENT_FRAMES if self.segments == "overlapping" else None

    @property
    def samples_per_frame(self) -> int:
        return FRAME_SAMPLES

    def segment_counts(self, samples: Any) -> Any:
        """Segments of clips of so many samples (int or integer array)."""
        step = _MAX_STEP_SAMPLES if self.segments == "overlapping" else SEGMENT_SAMPLES
        beyond = (samples > SEGMENT_SAMPLES) * (samples - SEGMENT_SAMPLES)
        return (samples > 0) * (1 - (-beyond // step))

    def segment_starts(self, samples: Any, index: Any) -> Any:
        """First sample of segment `index` of clips of so many samples, each a number or an integer array."""
        if self.segments == "apart":
            return index * SEGMENT_SAMPLES + 0 * samples
        beyond = (samples > SEGMENT_SAMPLES) * (samples - SEGMENT_SAMPLES)
        steps = self.segment_counts(samples) - 1
        steps = steps + (steps < 1)
        # Evenly, rounded down: index * beyond // steps without a product that leaves 32 bits.
        return index * (beyond // steps) + index * (beyond % steps) // steps

    def frame_lengths(self, samples: Any) -> Any:
        if self.segments == "overlapping":
            return SEGMENT_FRAMES * self.segment_counts(samples)
        return -(-samples // FRAME_SAMPLES)

    def frame_places(self, samples: int) -> np.ndarray | None:
        """As `Architecture.frame_places`: a frame is at the multiple of 20 ms that its middle lies behind."""
        if self.segments == "apart":
            return None
        starts = self.segment_starts(samples, np.arange(self.segment_counts(samples)))
        middles = starts[:, None] + FRAME_SAMPLES * np.arange(SEGMENT_FRAMES) + FRAME_SAMPLES // 2
        return np.where(middles < samples, middles // FRAME_SAMPLES, -1).ravel()

    def computed_samples(self, samples: int) -> int:
        if samples > SEGMENT_SAMPLES:
            return SEGMENT_SAMPLES * self.segment_counts(samples)
        return HOP_SAMPLES * self.computed_columns(samples)

    def computed_columns(self, samples: int) -> int:
        """Columns of the spectrum that the convolutions take of a segment with so many samples before its zeros.

        Enough that the last but a few see zeros alone, as all columns that are left out do.
        """
        heard = -(-(samples + HOP_SAMPLES // 2) // HOP_SAMPLES)
        reach = len(self.channels)
        columns = heard + reach + 2 * (reach // 2) + 2
        return min(columns + columns % 2, _COLUMNS)

    def stem_values(self, samples: int) -> int:
        columns = min(samples, SEGMENT_SAMPLES) // HOP_SAMPLES
        sizes = [bins * channels for bins, channels in zip(self._bins, self.channels, strict=True)]
        return columns * max(map(sum, itertools.pairwise(sizes)))  # In and out of a convolution.

    def flops(self, samples: int) -> float:
        whole, rest = divmod(self.computed_samples(samples), SEGMENT_SAMPLES)
        columns = whole * _COLUMNS + rest // HOP_SAMPLES
        segments = self.segment_counts(samples)
        total, inputs, last = 0.0, 2, len(self.channels) - 1
        for i, (bins, channels) in enumerate(zip(self._bins, self.channels, strict=True)):
            total += 2 * 9 * inputs * channels * bins * columns / (2 if i == last else 1)
            inputs = channels
        total += 2 * columns / 2 * self._bins[-1] * inputs * self.hidden_size
        sizes = self.num_hidden_layers, self.hidden_size, self.intermediate_size
        return total + segments * stack_flops(*sizes, SEGMENT_FRAMES)

    @property
    def _bins(self) -> list[int]:
        """Frequencies behind each convolution."""
        bins = [WINDOW_SAMPLES // 2 - 1]
        while len(bins) < len(self.channels):
            bins.append((bins[-1] - 3) // 2 + 1)
        return bins

    @property
    def stem_width(self) -> int:
        """Features of a frame behind the convolutions."""
        return self._bins[-1] * self.channels[-1]


class DistillMOS(Encoder):
    """Distill-MOS's encoder."""

    config_class: ClassVar[type] = DistillMOSConfig
    config: DistillMOSConfig

    def __init__(self, config: DistillMOSConfig, *, rngs: nnx.Rngs):
        self.config = config
        inputs, width, last = (2, *config.channels), config.hidden_size, len(config.channels) - 1
        self.convolutions = nnx.List(
            # Time, frequency.
            Conv2d(*sizes, stride=(1 + (i == last), 1 + (i > 0)), padding=((1, 1), (0, 0)), rngs=rngs)
            for i, sizes in enumerate(itertools.pairwise(inputs))
        )
        self.project = linear(config.stem_width, width, rngs=rngs)
        build = functools.partial(PostNormLayer, width, config.num_attention_heads, config.intermediate_size)
        self.layers = LayerStack(build, config.num_hidden_layers, rngs=rngs)

    def __call__(
        self, waveform: jax.Array, lengths: jax.Array, **options: Unpack[Options]
    ) -> tuple[jax.Array, jax.Array]:
        """As `Encoder.__call__`."""
        options["dropout_key"] = None
        config = self.config
        samples = waveform.shape[1]
        heard = jnp.where(length_mask(lengths, samples), waveform, 0)
        h = self._segment(heard, **options) if samples <= SEGMENT_SAMPLES else self._segments(heard, lengths, **options)
        return h[..., : config.frame_lengths(samples), :], config.frame_lengths(lengths)

    def _segments(self, heard: jax.Array, lengths: jax.Array, **options: Unpack[Options]) -> jax.Array:
        """[B, T], T more than a segment -> [..., B, 384 N, D], the frames of segment after segment."""
        count = self.config.segment_counts(heard.shape[1])
        counts = self.config.segment_counts(lengths)
        heard = jnp.pad(heard, [(0, 0), (0, max(0, count * SEGMENT_SAMPLES - heard.shape[1]))])

        def compute(index: jax.Array) -> jax.Array:
            cut = jax.vmap(lambda row, start: jax.lax.dynamic_slice(row, (start,), (SEGMENT_SAMPLES,)))
            return self._segment(cut(heard, self.config.segment_starts(lengths, index)), **options)

        def skip(index: jax.Array) -> jax.Array:
            shape = jax.eval_shape(compute, index)
            return jnp.zeros(shape.shape, shape.dtype)

        # One after another, so that memory does not grow with the clip; what no clip of the batch has is not computed.
        h = jax.lax.map(lambda i: jax.lax.cond(jnp.any(counts > i), compute, skip, i), jnp.arange(count))
        h = jnp.moveaxis(h, 0, -3)
        return h.reshape(*h.shape[:-3], count * SEGMENT_FRAMES, h.shape[-1])

    def _segment(self, x: jax.Array, **options: Unpack[Options]) -> jax.Array:
        """[B, T], a segment as far as it may be other than zero -> [..., B, 384, D]."""
        x = x / (jnp.abs(x).max(1, keepdims=True) + 1e-8)
        columns = self.config.computed_columns(x.shape[1])
        x = compressed_spectrum(x, columns)
        for layer in self.convolutions:
            x = jax.nn.leaky_relu(layer(x), 0.1)
        h = self.project(x.reshape(*x.shape[:2], -1))
        # All that is left out sees zeros alone, as this frame does; behind it are those that see the segment's end.
        silent = h.shape[1] - 1 - len(self.config.channels) // 2
        left_out = jnp.repeat(h[:, silent : silent + 1], SEGMENT_FRAMES - h.shape[1], 1)
        h = jnp.concatenate([h[:, : silent + 1], left_out, h[:, silent + 1 :]], 1)
        h = h + positions(h.shape[2]).astype(h.dtype)
        return self.layers(h, None, **options)


def compressed_spectrum(x: jax.Array, columns: int) -> jax.Array:
    """Complex spectrum with the magnitude to the power of 0.3.

    Windows of 20 ms (Hann), 10 ms apart, the first and last mirrored at the ends of the segment.

    Args:
        x: [B, T] float32, 16 kHz; zeros follow.
        columns: To compute, at least all of `x`.

    Returns:
        [B, columns, 161, 2], real and imaginary part.
    """
    x = jnp.pad(x, [(0, 0), (0, columns * HOP_SAMPLES - x.shape[1])])
    x = jnp.pad(x, [(0, 0), (HOP_SAMPLES // 2, HOP_SAMPLES // 2)], mode="reflect")
    blocks = x.reshape(x.shape[0], columns + 1, HOP_SAMPLES)
    # In float32 step by step, as torch makes its windows. At frequencies where a recording has nothing, the rounding
    # errors of the window are what is heard, raised by the power of 0.3: an exact window moves scores by up to 3e-4.
    angle = np.arange(WINDOW_SAMPLES, dtype=np.float32) * np.float32(2 * np.pi / WINDOW_SAMPLES)
    window = np.float32(0.5) - np.float32(0.5) * np.cos(angle)
    spectrum = jnp.fft.rfft(jnp.concatenate([blocks[:, :-1], blocks[:, 1:]], -1) * window, axis=-1)
    parts = jnp.stack([spectrum.real, spectrum.imag], -1)
    power = jnp.square(parts).sum(-1, keepdims=True)
    return parts * jnp.maximum(power, 1e-24) ** -0.35


def positions(width: int) -> np.ndarray:
    """Sine and cosine by turns [384, width], wavelengths 2 pi to nearly 2 pi times 768 frames."""
    rate = np.exp(np.arange(0, width, 2) * (-np.log(2 * SEGMENT_FRAMES) / width))
    angle = np.arange(SEGMENT_FRAMES)[:, None] * rate
    return np.stack([np.sin(angle), np.cos(angle)], -1).reshape(SEGMENT_FRAMES, width).astype(np.float32)
