"""Whisper, Qwen2-Audio and Qwen3-Omni: lengths and real sizes."""

import dataclasses
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from tests.helpers.corpus import speech_like
from tests.helpers.models import OWN_LENGTH, architecture, model_config
from urgentmos_jax.encoders.registry import ENCODERS, make_encoder
from urgentmos_jax.model.cost import scoring_bytes
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
    millions = [637.0, 637.0, 647.9, 315.45, 94.38, 8.208, 20.59]
    names = ["Atotti/Kimi-Audio-Whisper-Encoder", "Atotti/AFWhisper", "giangndm/qwen3-30b-omni-audio-encoder"]
    names += ["microsoft/wavlm-large", "microsoft/wavlm-base-plus", "openai/whisper-tiny.en", "openai/whisper-base"]
    for name, wanted in zip(names, millions, strict=True):
        encoder = nnx.eval_shape(lambda name=name: make_encoder(PUBLISHED_ENCODERS[name], rngs=nnx.Rngs(0)))
        assert sum(math.prod(v.shape) for v in flat_state(encoder).values()) / 1e6 == pytest.approx(wanted, rel=1e-3)


def test_every_family_is_one_line():
    assert {name for name in ENCODERS if name not in ("compact",)} >= {*FOLDERS.values(), "wavlm", "hubert", "wav2vec2"}


@pytest.mark.parametrize("kind", ["whisper", pytest.param("qwen2_audio_encoder", marks=pytest.mark.slow)])
def test_own_length(kind: str):
    """What enters the layers is as in the window; in them only a clip that fills it is heard as there."""
    window, own = (dataclasses.replace(architecture(kind), max_frames=40, own_length=x) for x in (False, True))
    graph, params = nnx.split(nnx.eval_shape(lambda: make_encoder(window, rngs=nnx.Rngs(0))))
    rng = np.random.default_rng(0)
    params = jax.tree.map(lambda x: 0.3 * rng.standard_normal(x.shape, np.float32), params)

    @jax.jit
    def states(params, waveform, lengths):
        encoder, found = nnx.merge(graph, params), []
        for encoder.config in (window, own):
            found.append(encoder(waveform, lengths, states="all"))
        return found

    lengths = np.array([401, 640, 641, 800, 4001, 12481, 12799, 12800])
    waveform = np.full((len(lengths), 12800), np.nan, np.float32)
    for row, samples in enumerate(lengths):
        waveform[row, :samples] = speech_like(row, samples)
    (wanted, frames), (found, same) = jax.tree.map(np.asarray, states(params, waveform, lengths))
    assert (frames == same).all() and found.shape == wanted.shape
    for row, count in enumerate(frames):
        np.testing.assert_allclose(found[0, row, :count], wanted[0, row, :count], atol=1e-5)
        if 0 < count < frames[-1] - 1:
            assert np.abs(found[1:, row, :count] - wanted[1:, row, :count]).max() > 0.01
    np.testing.assert_allclose(found[:, -2:], wanted[:, -2:], atol=1e-4)
    with pytest.raises(ValueError, match="takes 12800 at most"):
        states(params, np.zeros((1, 12801), np.float32), lengths[:1])


def test_a_clip_costs_its_own_length():
    tiny = PUBLISHED_ENCODERS["openai/whisper-tiny"]
    own = tiny.with_own_length(True)
    assert not tiny.own_length and own.own_length and own == own.with_own_length(None)
    # Two convolutions and four layers of 200 frames, by hand.
    layers = 2 * 4 * 200 * (4 * 384**2 + 2 * 384 * 1536 + 2 * 200 * 384)
    assert own.flops(64000) == layers + 2 * 3 * 384 * (400 * 80 + 200 * 384)
    assert own.flops(480000) == tiny.flops(480000) == tiny.flops(64000)
    assert [one.computed_samples(64000) for one in (own, tiny)] == [64000, 480000]
    assert own.stem_values(64000) * 7.5 == tiny.stem_values(64000) == tiny.stem_values(480000)
    short, long = (scoring_bytes(model_config(f"whisper{ending}"), 8, 8000) for ending in (OWN_LENGTH, ""))
    assert short < 0.5 * long
    with pytest.raises(ValueError, match="own_length is a key of Whisper's encoders, wavlm has no such"):
        architecture("layer").with_own_length(True)
