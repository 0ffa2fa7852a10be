"""The compact encoder: its frames at each stride."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from tests.helpers.corpus import speech_like
from urgentmos_jax.encoders.compact import Compact, CompactConfig

SIZES = {"mel_bins": 16, "hidden_size": 8, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 8}


@pytest.mark.slow
@pytest.mark.parametrize("stride", [2, 4])
def test_lengths_and_padding(stride: int):
    """Frames are as many as are computed; those of a padded clip are the same as of the clip alone."""
    config = CompactConfig(**SIZES, stride=stride)
    encoder = Compact(config, rngs=nnx.Rngs(0))
    for samples in (400, 559, 560, 720, 4000):
        shapes = jax.ShapeDtypeStruct((1, samples), jnp.float32), jax.ShapeDtypeStruct((1,), jnp.int32)
        mel = (samples - 400) // 160 + 1
        assert jax.eval_shape(encoder, *shapes)[0].shape[1] == config.frame_lengths(samples) == -(-mel // stride)
    clip = speech_like(1, 4000)
    alone, _ = encoder(jnp.array(clip[None]), jnp.array([4000]))
    padded = np.concatenate([clip, np.ones(1600, np.float32)])[None]
    beside, frames = encoder(jnp.array(padded), jnp.array([samples]))
    np.testing.assert_allclose(beside[:, : int(frames[0])], alone, atol=1e-5)
    assert config.samples_per_frame == 160 * stride
