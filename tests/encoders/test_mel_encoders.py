"""Whisper, Qwen2-Audio and Qwen3-Omni: lengths and real sizes."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from urgentmos_jax.encoders.registry import ENCODERS, make_encoder
from urgentmos_jax.weights.published import PUBLISHED_ENCODERS
from urgentmos_jax.weights.rules import flat_state

FOLDERS = {"whisper": "whisper", "qwen2-audio": "qwen2_audio_encoder", "qwen3-omni": "qwen3_omni_moe_audio_encoder"}


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        # Frames by mel frames of 10 ms, from the length formulas of the three families.
        ("Atotti/Kimi-Audio-Whisper-Encoder", {1: 1, 2: 1, 3: 2, 100: 50, 301: 151, 2999: 1500, 3000: 1500}),
        ("Atotti/AFWhisper", {1: 0, 2: 0, 3: 1, 4: 1, 100: 25, 301: 75, 3000: 750}),
        (
            "giangndm/qwen3-30b-omni-audio-encoder",
            {1: 1, 8: 1, 9: 2, 50: 7, 97: 13, 100: 13, 101: 14, 200: 26, 3000: 390},
        ),
    ],
)
def test_lengths(name: str, expected: dict[int, int]):
    config = PUBLISHED_ENCODERS[name]
    for mel, frames in expected.items():
        assert config.frame_lengths(160 * mel) == frames
        assert config.frame_lengths(np.array([160 * mel]))[0] == frames
    assert len(jax.eval_shape(config.frame_lengths, jnp.zeros(3, jnp.int32)).shape) == 1


def test_parameters_of_the_real_sizes():
    millions = [637.0, 637.0, 647.9, 315.45, 94.38]
    names = ("Atotti/Kimi-Audio-Whisper-Encoder", "Atotti/AFWhisper", "giangndm/qwen3-30b-omni-audio-encoder")
    for name, wanted in zip((*names, "microsoft/wavlm-large", "microsoft/wavlm-base-plus"), millions, strict=True):
        encoder = nnx.eval_shape(lambda name=name: make_encoder(PUBLISHED_ENCODERS[name], rngs=nnx.Rngs(0)))
        assert sum(math.prod(v.shape) for v in flat_state(encoder).values()) / 1e6 == pytest.approx(wanted, rel=1e-3)


def test_every_family_is_one_line():
    assert {name for name in ENCODERS if name not in ("compact",)} >= {*FOLDERS.values(), "wavlm", "hubert", "wav2vec2"}
