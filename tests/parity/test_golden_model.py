"""The whole model against the numbers of the authors' code (golden files). Losses and gradients: `test_step.py`."""

import json

import jax
import numpy as np
import pytest

from tests.helpers.corpus import GOLDEN
from urgentmos_jax.scoring.model import Model
from urgentmos_jax.weights.urgent_mos import read_checkpoint

CASES = ("c1m5-mean-base", "c3m9-attentive-large", "c1m3-token-base", "c1m2-unfrozen-large", "f4c1m5-mean")
TOLERANCE = 1e-4  # scores, frame scores, weights, CMOS, logits; float32


class Case:
    def __init__(self, name: str):
        folder = GOLDEN / "model" / name
        self.checkpoint = read_checkpoint(folder / "model.pt")
        self.module = self.checkpoint.module
        self.config = self.module.config
        self.expected = np.load(folder / "expected.npz")
        self.meta = json.loads((folder / "meta.json").read_text())
        # One shape for all clips: each is padded, and must score as it does alone.
        self.model = Model(self.module, devices=jax.devices()[:1], batch_seconds=1.5)
        self.model.engine.bucket_sizes = (24000,)
        names = sorted(key for key in self.expected if key.startswith("wav"))
        self.clips = [self.expected[name] for name in names]


@pytest.fixture(scope="module", params=CASES)
def case(request) -> Case:
    return Case(request.param)


def test_golden_names(case: Case):
    assert list(case.config.metrics) == case.meta["metrics"]
    assert list(case.config.comparative_metrics) == case.meta["comparative"]
    assert case.checkpoint.criterion == {"mse": "squared", "huber": "huber"}[case.meta["criterion"]]
    assert all(encoder.freeze == case.meta["frozen_encoders"] for encoder in case.config.encoders)


def test_golden_scores(case: Case):
    rows = case.model.score(case.clips, sample_rate=16000, frames=True)
    for place, row in enumerate(rows):
        assert row["error"] is None
        for name, score in row["scores"].items():
            wanted = {
                "scores": case.expected[f"abs/{place}/{name}_frame_scores"],
                "weights": case.expected[f"abs/{place}/{name}_attn"],
            }
            assert score == pytest.approx(float(case.expected[f"abs/{place}/{name}"]), abs=TOLERANCE)
            for key, values in wanted.items():
                np.testing.assert_allclose(row["frames"][name][key], values, rtol=0, atol=TOLERANCE)


def test_golden_comparisons(case: Case):
    places = [tuple(map(int, pair.split("-"))) for pair in case.meta["pairs_inference"]]
    assert places
    pairs = [(case.clips[a], case.clips[b]) for a, b in places]
    rows = case.model.compare(pairs, sample_rate=16000, order="ab")
    for (a, b), row in zip(places, rows, strict=True):
        for name, found in row["comparison"].items():
            cmos = case.expected[f"cmp/{a}-{b}/{name}/regression"][0]
            logits = case.expected[f"cmp/{a}-{b}/{name}/classification"][0]
            assert found["cmos"] == pytest.approx(float(cmos), abs=TOLERANCE)
            np.testing.assert_allclose(found["logits"], logits, rtol=0, atol=TOLERANCE)
            wanted = np.exp(logits) / np.exp(logits).sum()
            np.testing.assert_allclose([found["p_a"], found["p_b"], found["p_tie"]], wanted, rtol=0, atol=TOLERANCE)


def test_golden_padding_defect_is_not_ours(case: Case):
    """The authors' batch moves the scores of a group-norm model; ours gives the score of the clip alone."""
    if case.config.encoders[0].architecture.feat_extract_norm == "layer":
        pytest.skip("layer-norm encoders do not hear padding")
    batched = {name: case.expected[f"batched/{name}"] for name in case.config.metrics}
    rows = case.model.score(case.clips, sample_rate=16000)
    moved = max(abs(row["scores"][n] - batched[n][i]) for i, row in enumerate(rows) for n in batched)
    assert moved > 0.01
