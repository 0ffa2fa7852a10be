"""Encoders that hear no more than a window: clips are cut, batches planned by its cost."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tests.helpers.corpus import speech_like
from tests.helpers.models import random_module
from urgentmos_jax.audio.loading import AudioBlocks
from urgentmos_jax.scoring.model import Model
from urgentmos_jax.scoring.windows import recording_flags


@pytest.mark.slow
def test_longer_clips_are_cut_into_windows_and_flagged():
    """A Whisper of 2 s: a clip of 5 s is three windows, and never cut without a word."""
    module = random_module("whisper")
    model = Model(module, devices=jax.devices()[:1], batch_seconds=2.0)
    model.engine.bucket_sizes = (32000,)
    assert model.engine.window_samples == 32000
    clip = speech_like(2, 80000)
    whole, *pieces = model.score([clip, clip[:32000], clip[32000:64000], clip[64000:]], sample_rate=16000)
    assert whole["windows"] == 3 and whole["flags"] == ["windowed"] and pieces[0]["flags"] == []
    for name, score in whole["scores"].items():
        parts = [row["scores"][name] for row in pieces]
        assert score == pytest.approx(np.average(parts, weights=[2, 2, 1]), abs=1e-4)
    with pytest.raises(ValueError, match="window_seconds is 3, an encoder takes 2"):
        Model(module, window_seconds=3.0)
    with pytest.raises(ValueError, match="takes 32000 at most"):
        model.apply(jnp.zeros((1, 32001)), jnp.array([32001]))


@pytest.mark.parametrize("seed", range(10))
def test_very_short(seed):
    """Ten lengths under half a second, and ten from there on, at the rates of files."""
    rate_hz, random = (8000, 16000, 22050, 44100, 48000)[seed % 5], np.random.default_rng(seed)
    half = -(-rate_hz // 2)
    for samples, short in (
        (half - 1 - random.integers(half - rate_hz // 20), True),
        (half + random.integers(half), False),
    ):
        clip = AudioBlocks(speech_like(seed, int(samples)), rate_hz)
        assert list(clip)
        flags = recording_flags(clip, longest=960000, shortest=400)
        assert flags == (["very_short"] if short else [])


def test_rows_are_as_few_as_the_padding_to_the_window_asks_for():
    model = Model(random_module("whisper"), devices=jax.devices()[:1], batch_seconds=8.0)
    assert {batch.rows for batch in model.engine.plan([8000] * 8)} == {4}
