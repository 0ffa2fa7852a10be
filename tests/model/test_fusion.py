"""Fusion of encoders: resampling in time, and a model of two encoders that does not hear its batch."""

import dataclasses

import jax
import numpy as np
import pytest

from tests.helpers.corpus import speech_like
from tests.helpers.models import SAMPLES, architecture, model_config, random_module
from urgentmos_jax.model.fusion import resample_time
from urgentmos_jax.model.urgentmos import EncoderConfig
from urgentmos_jax.scoring.model import Model


@pytest.mark.parametrize(("length", "target"), [(1, 1), (1, 5), (5, 1), (7, 7), (4, 9), (9, 4), (13, 29)])
def test_resample_time(length: int, target: int):
    rng = np.random.default_rng(0)
    x = rng.standard_normal((length, 3)).astype(np.float32)
    # Half-pixel centres, edges clamped; padding beyond the clip is never read.
    position = np.clip((np.arange(target) + 0.5) * length / target - 0.5, 0, length - 1)
    wanted = np.stack([np.interp(position, np.arange(length), column) for column in x.T], 1)
    padded = np.concatenate([x, np.full((4, 3), 99, np.float32)])
    batch = np.stack([padded, padded[::-1]])
    found = resample_time(batch, np.array([length, 0]), np.array([target, 0]), target + 2)
    np.testing.assert_allclose(found[0, :target], wanted, atol=1e-5)
    assert np.isfinite(found).all()


@pytest.mark.slow
def test_two_encoders():
    encoders = tuple(EncoderConfig(architecture(kind)) for kind in ("group", "compact"))
    config = dataclasses.replace(model_config("group"), encoders=encoders)
    model = Model(random_module(config), devices=jax.devices()[:1])
    clips = [speech_like(seed, samples) for seed, samples in enumerate(SAMPLES)]
    together = model.score(clips, sample_rate=16000)
    assert np.ptp([row["scores"]["pesq"] for row in together]) > 0.1
    run = jax.jit(model.apply)
    for clip, row in list(zip(clips, together, strict=True))[:4]:
        alone = {name: float(x[0]) for name, x in run(clip[None], np.array([len(clip)])).items()}
        assert row["scores"] == pytest.approx(alone, abs=1e-4)
