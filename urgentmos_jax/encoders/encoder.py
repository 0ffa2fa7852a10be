"""What every encoder has in common: the questions that model, scoring and training ask it."""

from typing import Any, ClassVar

import jax
from flax import nnx

from urgentmos_jax.nn.stack import States
from urgentmos_jax.weights.rules import Rule

__all__ = ["Architecture", "Encoder", "no_noise"]


class Architecture:
    """Config of an encoder; a family's is a frozen dataclass with its `model_type`.

    Where there are pretrained weights it has `from_huggingface(config, preprocessor)`, which makes it of the contents
    of config.json and preprocessor_config.json, or raises a ValueError that names every fault. With `has_noise`
    it takes `noise` too: whether the rates of dropout and the like are read.
    """

    # Keys of config.json that have no default here; where one is left out, transformers' default is taken.
    needed_keys: ClassVar[tuple[str, ...]] = ()
    # Whether training computes the family with dropout and the like, where a random key is given.
    has_noise: ClassVar[bool] = False
    # Keys of config.json that are needed besides where its rates are asked for.
    noise_keys: ClassVar[tuple[str, ...]] = ()

    model_type: str
    hidden_size: int
    num_hidden_layers: int
    num_attention_heads: int
    intermediate_size: int

    def without_noise(self) -> "Architecture":
        """The same encoder as it is read without its rates of training noise."""
        return self

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

    def computed_samples(self, samples: int) -> int:
        """Samples that a row of so many costs."""
        return samples

    def frame_lengths(self, samples: Any) -> Any:
        """Frames of clips of so many samples (int or integer array)."""
        raise NotImplementedError

    def stem_values(self, samples: int) -> int:
        """Values that are alive at the widest place before the layers, for a clip."""
        raise NotImplementedError

    def flops(self, samples: int) -> float:
        """Operations for one clip, two a multiply-add; softmax and norms are left out."""
        raise NotImplementedError


def no_noise(model_type: str) -> str:
    """What is said where training noise is asked of an encoder that is always computed without."""
    return f"{model_type} is computed without training noise; set noise=False for this encoder"


class Encoder(nnx.Module):
    """Waveform to frames of features."""

    config_class: ClassVar[type[Architecture]]
    # Names that may stand before the keys of a checkpoint, in their order.
    prefixes: ClassVar[tuple[str, ...]] = ()
    # Regular expressions of keys that may be in a checkpoint and are not needed.
    ignored: ClassVar[tuple[str, ...]] = ()

    config: Architecture

    def rules(self) -> list[Rule]:
        """How the tensors of a Hugging Face checkpoint fill this module."""
        raise NotImplementedError

    def __call__(
        self,
        waveform: jax.Array,
        lengths: jax.Array,
        *,
        states: States = "last",
        gradient_scale: float = 1.0,
        dropout_key: jax.Array | None = None,
    ) -> tuple[jax.Array, jax.Array]:
        """Encodes a batch.

        Args:
            waveform: [B, T] float32, 16 kHz; what lies beyond a clip's length has no influence.
            lengths: [B] samples.
            states: "last": the last layer; "all": every hidden state; weights [L + 1]: their weighted sum.
            gradient_scale: Factor on the gradient from a weighted sum into the encoder.
            dropout_key: Random key of training, for the noise of architectures that have it; None = evaluation.

        Returns:
            Features [B, F, D] ([L + 1, B, F, D] for "all") and their lengths [B] in frames.
        """
        raise NotImplementedError
