"""Distill-MOS against the numbers of its package (golden files): converted by the command, then scored."""

from pathlib import Path

import jax
import numpy as np
import pytest

from tests.helpers.corpus import TESTS
from urgentmos_jax.cli import main
from urgentmos_jax.encoders.distill_mos import FRAME_SAMPLES, SEGMENT_FRAMES, SEGMENT_SAMPLES
from urgentmos_jax.scoring.model import Model
from urgentmos_jax.weights.model_folder import load_folder

FOLDER = TESTS / "golden" / "distill_mos"
TOLERANCE = 1e-4  # scores, frame scores, weights; float32


@pytest.fixture(scope="module")
def expected() -> dict[str, np.ndarray]:
    return dict(np.load(FOLDER / "expected.npz"))


@pytest.fixture(scope="module")
def clips(expected: dict[str, np.ndarray]) -> list[np.ndarray]:
    return [expected[key] for key in sorted(expected) if key.startswith("wav")]


@pytest.fixture(scope="module")
def rows(tmp_path_factory, clips: list[np.ndarray]) -> list[dict]:
    folder: Path = tmp_path_factory.mktemp("distill_mos") / "model"
    assert main(["convert", str(FOLDER / "model.pt"), str(folder)]) == 0
    model = Model(load_folder(folder)[0], devices=jax.devices()[:1])
    # One program for the clips of a segment, another for those of several.
    model.engine.bucket_sizes = (24000, 140800)
    return model.score(clips, sample_rate=16000, frames=True)


def test_golden_scores(expected: dict[str, np.ndarray], rows: list[dict]):
    scores = [row["scores"] for row in rows]
    wanted = [float(expected[f"score/{k}"]) for k in range(len(rows))]
    assert np.ptp(wanted) > 0.1
    np.testing.assert_allclose([score["distill_mos"] for score in scores], wanted, rtol=0, atol=TOLERANCE)


def test_golden_frames_in_order_of_time(expected: dict[str, np.ndarray], clips: list[np.ndarray], rows: list[dict]):
    """The mean of the segments that cover a frame; nothing of the padding."""
    for k, (clip, row) in enumerate(zip(clips, rows, strict=True)):
        scores, weights = expected[f"frame_scores/{k}"], expected[f"frame_weights/{k}"]
        count = len(scores)
        assert (count > 1) == (len(clip) > SEGMENT_SAMPLES)
        over = max(0, len(clip) - SEGMENT_SAMPLES)
        covering: dict[int, list[tuple[float, float]]] = {}
        for segment in range(count):
            start = over * segment // max(1, count - 1)
            for frame in range(SEGMENT_FRAMES):
                middle = start + (frame + 0.5) * FRAME_SAMPLES
                if middle < len(clip):
                    pair = scores[segment, frame], weights[segment, frame]
                    covering.setdefault(int(middle // FRAME_SAMPLES), []).append(pair)
        assert sorted(covering) == list(range(round(len(clip) / FRAME_SAMPLES)))
        found = row["frames"]["distill_mos"]
        wanted = [np.mean([score for score, _ in covering[place]]) for place in sorted(covering)]
        np.testing.assert_allclose(found["scores"], wanted, rtol=0, atol=TOLERANCE)
        wanted = [sum(weight for _, weight in covering[place]) / count for place in sorted(covering)]
        np.testing.assert_allclose(found["weights"], wanted, rtol=0, atol=TOLERANCE / 100)
        assert row["frame_rate_hz"] == 50


def test_weights_sum_to_one_where_nothing_is_padded(clips: list[np.ndarray], rows: list[dict]):
    for clip, row in zip(clips, rows, strict=True):
        total = sum(row["frames"]["distill_mos"]["weights"])
        assert total == pytest.approx(1, abs=1e-5) if len(clip) > SEGMENT_SAMPLES else 0 < total < 0.9
