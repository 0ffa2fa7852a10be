"""The whole model against the numbers of the authors' code (golden files): scores, comparisons, losses, gradients."""

import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from conftest import GOLDEN
from flax import nnx

from urgentmos_jax.authors import checkpoint_rules, read_checkpoint
from urgentmos_jax.losses import LossConfig, absolute_loss, comparative_loss, metric_weights, total_loss
from urgentmos_jax.scoring import Model

CASES = ("c1m5-mean-base", "c3m9-attentive-large", "c1m3-token-base", "c1m2-unfrozen-large")
TOLERANCE = 1e-4  # scores, frame scores, weights, CMOS, logits; float32


class Case:
    def __init__(self, name: str):
        folder = GOLDEN / "model" / name
        self.checkpoint = read_checkpoint(folder / "model.pt", [folder / "encoder"])
        self.module = self.checkpoint.module
        self.config = self.module.config
        self.expected = np.load(folder / "expected.npz")
        self.meta = json.loads((folder / "meta.json").read_text())
        # One shape for all clips: each is padded, and must score as it does alone.
        self.model = Model(self.module, devices=jax.devices()[:1], batch_seconds=1.5)
        self.model._buckets = (24000,)
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


def training_loss(case: Case, module: nnx.Module) -> tuple[jax.Array, dict[str, jax.Array]]:
    """Loss of the golden training batch, and the mean error of each metric."""
    expected, config = case.expected, case.config
    clips = [expected[f"train/wav{i}"] for i in range(len(expected["train/labels"]))]
    waveform = np.zeros((len(clips), max(map(len, clips))), np.float32)
    for row, clip in zip(waveform, clips, strict=True):
        row[: len(clip)] = clip
    loss = LossConfig(criterion=case.checkpoint.criterion)
    names = list(config.metrics)
    features = module.encode(jnp.asarray(waveform), jnp.array([len(clip) for clip in clips]))
    scores = module.absolute(features)
    labels = jnp.asarray(expected["train/labels"])
    mask = ~jnp.isnan(labels)
    categories = [[names.index(name) for name in metrics] for metrics in config.categories.values()]
    weights = metric_weights(mask.sum(0), categories)
    stacked = jnp.stack([scores[name].score for name in names], 1)
    absolute, errors = absolute_loss(stacked, labels, mask, weights, loss)
    # Every pair in both orders, its label negated in the second.
    a, b = expected["train/pairs"].T
    found = module.compare(features.take(np.r_[a, b]), features.take(np.r_[b, a]))
    cmos = jnp.asarray(np.r_[expected["train/cmos"], -expected["train/cmos"]])
    pair_mask = ~jnp.isnan(cmos)
    comparative, _ = comparative_loss(
        jnp.stack([value for value, _ in found.values()], 1),
        jnp.stack([logits for _, logits in found.values()], 1),
        cmos,
        pair_mask,
        metric_weights(pair_mask.sum(0), [range(len(found))]),
        loss,
    )
    report = {f"absolute_score_loss_{name}": errors[i] / mask[:, i].sum() for i, name in enumerate(names)}
    report |= {"absolute_score_loss_total": absolute, "comparative_score_loss_total": comparative}
    return total_loss(absolute, comparative, loss), report


def test_golden_loss_and_gradients(case: Case):
    graph, params = nnx.split(case.module)
    params = jax.tree.map(jnp.asarray, params)

    @jax.jit
    def step(params):
        return jax.value_and_grad(lambda p: training_loss(case, nnx.merge(graph, p)), has_aux=True)(params)

    (loss, report), gradients = step(params)
    assert float(loss) == pytest.approx(float(case.expected["train/loss"]), rel=1e-5)
    for name, value in case.meta["info"].items():
        if name in report:
            assert float(report[name]) == pytest.approx(value, rel=1e-5), name
    found = {".".join(map(str, path)): np.asarray(value[...]) for path, value in nnx.to_flat_state(gradients)}
    wanted = {key.removeprefix("grad/"): case.expected[key] for key in case.expected if key.startswith("grad/")}
    whole = np.sqrt(sum(np.square(g, dtype=np.float64).sum() for g in wanted.values()))
    compared = set()
    for rule in checkpoint_rules(case.module):
        if rule.targets is None:
            continue
        frozen = (
            rule.keys[0].startswith("feature_extractor.feature_extractors.0.model.") and case.meta["frozen_encoders"]
        )
        for key in rule.keys:
            if key not in wanted and not frozen and len(rule.keys) == 1:
                # The authors' code has no gradient here: a head without a label.
                assert all(np.all(_place(found, path, rule.layer) == 0) for path in rule.targets), key
        if not wanted.keys() >= set(rule.keys):
            continue
        for path, gradient in rule(wanted):
            error = np.linalg.norm(_place(found, path, rule.layer) - gradient)
            assert error <= 1e-4 * np.linalg.norm(gradient) + 1e-6 * whole, path
        compared |= set(rule.keys)
    assert compared == wanted.keys()


def _place(found: dict[str, np.ndarray], path: str, layer: int | None) -> np.ndarray:
    return found[path] if layer is None else found[path][layer]


def test_golden_padding_defect_is_not_ours(case: Case):
    """The authors' batch moves the scores of a group-norm model; ours gives the score of the clip alone."""
    if case.config.encoders[0].architecture.feat_extract_norm == "layer":
        pytest.skip("layer-norm encoders do not hear padding")
    batched = {name: case.expected[f"batched/{name}"] for name in case.config.metrics}
    rows = case.model.score(case.clips, sample_rate=16000)
    moved = max(abs(row["scores"][n] - batched[n][i]) for i, row in enumerate(rows) for n in batched)
    assert moved > 0.01
