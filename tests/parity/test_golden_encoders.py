"""Encoders against the numbers of transformers (golden files)."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from tests.helpers.corpus import GOLDEN
from urgentmos_jax.encoders.log_mel import whisper_log_mel
from urgentmos_jax.weights.encoder_folder import load_encoder, read_config

MEL_FAMILIES = ("whisper", "qwen2-audio", "qwen3-omni")
FAMILIES = (
    *("wavlm-base", "wavlm-large", "wav2vec2-base", "wav2vec2-large-lv60", "hubert-base", "hubert-large"),
    *MEL_FAMILIES,
)
TOLERANCE = 1e-5  # relative L2, float32


def relative(found: np.ndarray, wanted: np.ndarray) -> float:
    assert found.shape == wanted.shape
    return np.linalg.norm(found - wanted) / np.linalg.norm(wanted)


@pytest.mark.parametrize("family", FAMILIES)
def test_golden_encoder(family: str):
    folder = GOLDEN / "encoders" / family
    expected = np.load(folder / "expected.npz")
    encoder = load_encoder(folder)
    graph, params = nnx.split(encoder)
    mix = jnp.full(encoder.config.state_count, 1 / encoder.config.state_count)

    @jax.jit
    def run(params, waveform, lengths):
        module = nnx.merge(graph, params)
        every, frames = module(waveform, lengths, states="all")
        return every, module(waveform, lengths)[0], module(waveform, lengths, states=mix)[0], frames

    clips = sorted(key for key in expected if key.startswith("wav"))
    assert clips
    states = 0
    # Every clip padded, the first also as it is: each length takes seconds to compile.
    for name, size in [*((name, 24000) for name in clips), (clips[0], 0)]:
        clip, number = expected[name], name.removeprefix("wav")
        length = int(expected[f"length/{number}"])
        # What lies beyond the clip is loud, and must not be heard.
        waveform = np.concatenate([clip, np.ones(max(0, size - len(clip)), np.float32)])[None]
        every, last, mixed, frames = run(params, waveform, np.array([len(clip)]))
        assert int(frames[0]) == length == encoder.config.frame_lengths(len(clip))
        assert relative(last[0, :length], expected[f"last_layer/{number}"]) < TOLERANCE
        if f"uniform_mix/{number}" in expected:
            assert relative(mixed[0, :length], expected[f"uniform_mix/{number}"]) < TOLERANCE
        for layer in range(encoder.config.state_count):
            if f"hidden/{number}/{layer}" not in expected:
                continue
            wanted = expected[f"hidden/{number}/{layer}"]
            if family == "qwen2-audio" and layer < encoder.config.num_hidden_layers:
                wanted = wanted.reshape(-1, 2, wanted.shape[1]).mean(1)  # Ours are pooled as the last layer is.
            assert relative(every[layer, 0, : min(length, len(wanted))], wanted[:length]) < TOLERANCE, (name, layer)
            states += 1
    assert states


@pytest.mark.parametrize("family", MEL_FAMILIES)
def test_golden_features(family: str):
    folder = GOLDEN / "encoders" / family
    expected = np.load(folder / "expected.npz")
    bins, window = read_config(folder).mel_bins, read_config(folder).max_samples
    wanted, clip = expected["features/0"], expected["wav0"]
    waveform = np.pad(clip, (0, (window or len(clip)) - len(clip)))
    # In a longer row: what lies beyond is loud.
    row = np.concatenate([waveform, np.ones(700, np.float32)])[None]
    found = jax.jit(whisper_log_mel, static_argnums=2)(row, jnp.array([len(waveform)]), bins)
    assert relative(found[0].T[:, : wanted.shape[1]], wanted) < TOLERANCE


@pytest.mark.parametrize("family", FAMILIES)
def test_golden_numbers_are_compared(family: str):
    """A changed number is seen: the tolerance is far below the size of the numbers."""
    expected = np.load(GOLDEN / "encoders" / family / "expected.npz")
    states = expected["last_layer/0"]
    changed = states.copy()
    changed[3, 5] += 1e-2 * np.abs(states).max()
    assert relative(changed, states) > TOLERANCE
