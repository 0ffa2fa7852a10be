"""What every encoder has in common: the questions that model, scoring and training ask it."""

from typing import Any, ClassVar, TypedDict, Unpack

import jax
import numpy as np
from flax import nnx

from urgentmos_jax.nn.stack import States


class Architecture:
    """Config of an encoder; a family's is a frozen dataclass with its `model_type`."""

    # Whether training computes the family with dropout and the like, where a random key is given.
    has_regularisation: ClassVar[bool] = False

    model_type: str
    hidden_size: int
    num_hidden_layers: int
    num_attention_heads: int
    intermediate_size: int

    def without_regularisation(self) -> "Architecture":
        """The same encoder without train-time regularisation."""
        return self

    def with_own_length(self, own_length: bool | None) -> "Architecture":
        """The same encoder with the key `own_length` of Whisper's; None leaves it as it is.

        Raises:
            ValueError: the family has no such key.
        """
        if own_length is None:
            return self
        raise ValueError(f"own_length is a key of Whisper's encoders, {self.model_type} has no such; leave it out")

    @property
    def output_width(self) -> int:
        """Features of a frame of the last layer; those of a hidden state are `hidden_size`."""
        return self.hidden_size

    @property
    def state_count(self) -> int:
        """Hidden states: the input of the first layer and the output of each."""
        return self.num_hidden_layers + 1

    @property
    def samples_per_frame(self) -> float:
        """Hop of the frames in samples at 16 kHz, on average."""
        raise NotImplementedError

    @property
    def max_samples(self) -> int | None:
        """Samples at 16 kHz of the longest clip, None where there is no limit."""
        return None

    @property
    def segment_frames(self) -> int | None:
        """Frames of a segment, where the frames are those of overlapping segments, one after another; else None."""
        return None

    def computed_samples(self, samples: int) -> int:
        """Samples that a row of so many costs."""
        return samples

    def frame_lengths(self, samples: Any) -> Any:
        """Frames of clips of so many samples (int or integer array)."""
        raise NotImplementedError

    def frame_places(self, samples: int) -> np.ndarray | None:
        """Place in time [L] of each frame of a clip, -1 for frames of padding, where the frames are those of
        overlapping segments; None where they are in order of time and the clip's alone."""
        del samples
        return None

    def stem_values(self, samples: int) -> int:
        """Values that are alive at the peak before the layers, for a clip."""
        raise NotImplementedError

    def flops(self, samples: int) -> float:
        """Operations for one clip, two a multiply-add; softmax and norms are left out."""
        raise NotImplementedError


def no_regularisation(model_type: str) -> str:
    """What is said where train-time regularisation is asked of an encoder that has none."""
    return f"{model_type} has no train-time regularisation (dropout, SpecAugment, LayerDrop); set noise=False for it"


class Options(TypedDict, total=False):
    """What is asked of an encoder, which its stack of layers takes.

    Attributes:
        states: "last", the default: the last layer; "all": every hidden state; weights [L + 1]: their weighted sum.
        gradient_scale: Factor on the gradient from a weighted sum into the encoder.
        dropout_key: Random key of train-time regularisation, for architectures that have it; None = evaluation.
    """

    states: States
    gradient_scale: float
    dropout_key: jax.Array | None


class Encoder(nnx.Module):
    """Waveform to frames of features.

    Args:
        config: Of the family.
        rngs: Stream `params` of the random initialisation.
    """

    config_class: ClassVar[type[Architecture]]

    config: Architecture

    def __init__(self, config: Any, *, rngs: nnx.Rngs):
        raise NotImplementedError

    def __call__(
        self, waveform: jax.Array, lengths: jax.Array, **options: Unpack[Options]
    ) -> tuple[jax.Array, jax.Array]:
        """Encodes a batch.

        Args:
            waveform: [B, T] float32, 16 kHz; what lies beyond a clip's length has no influence.
            lengths: [B] samples.
            options: See `Options`.

        Returns:
            Features [B, F, D] ([L + 1, B, F, D] for "all") and their lengths [B] in frames.
        """
        raise NotImplementedError
