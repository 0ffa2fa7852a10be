"""Distill-MOS against its package: the converted model on recordings of several lengths and rates. Needs torch.

The packages without what they pull in: `pip install --no-deps distillmos xls-r-sqa`.
"""

from pathlib import Path

import jax
import numpy as np
import pytest

from launch.benchmark.torch_reference.distill_mos import package_model, weights_file
from tests.helpers.rated_sets import DATA
from urgentmos_jax.audio.loading import load_audio
from urgentmos_jax.scoring.model import Model
from urgentmos_jax.weights.urgent_mos import read_checkpoint

pytestmark = pytest.mark.torch
TOLERANCE = 1e-4


@pytest.fixture
def weights() -> Path:
    try:
        return weights_file()
    except ModuleNotFoundError as error:
        pytest.skip(str(error))


def test_scores_of_recordings(weights: Path):
    import torch

    folders = sorted(DATA.iterdir()) if DATA.is_dir() else []
    paths = [path for folder in folders for path in sorted(folder.rglob("*.flac"))[:70:10]]
    if not paths:
        pytest.skip("the recordings are not here")
    clips = [load_audio(path).waveform for path in paths]
    joined = np.concatenate(clips)
    # A segment exactly, one sample more, hops of exactly a second, and many segments.
    clips += [joined[:n] for n in (400, 122_880, 122_881, 122_880 + 48_000, 320_123)]
    rows = Model(read_checkpoint(weights).module, devices=jax.devices()[:1]).score(clips, sample_rate=16000)
    reference = package_model()
    with torch.no_grad():
        wanted = [float(reference(torch.from_numpy(clip[None]))) for clip in clips]
    np.testing.assert_allclose([row["scores"]["distill_mos"] for row in rows], wanted, rtol=0, atol=TOLERANCE)
