"""The training step: golden losses and gradients, parts of a batch, missing labels, gradients that are not finite."""

import dataclasses
import json

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import nnx

from tests.helpers.batches import CONFIG, pair_batch, rows
from tests.helpers.corpus import GOLDEN
from urgentmos_jax import schema
from urgentmos_jax.model.losses import LossConfig
from urgentmos_jax.model.urgentmos import UrgentMOS
from urgentmos_jax.training.mesh import MeshConfig
from urgentmos_jax.training.sharding import Layout
from urgentmos_jax.training.step import OptimizerConfig, TrainStep, learning_rate, make_optimizer, split_module
from urgentmos_jax.weights.urgent_mos import checkpoint_rules, read_checkpoint

CASES = ("c1m5-mean-base", "c3m9-attentive-large", "c1m3-token-base", "c1m2-unfrozen-large", "f4c1m5-mean")


def keeps_gradients() -> optax.GradientTransformation:
    """An optimizer that changes nothing and holds the last gradients as its state."""

    def update(gradients, state, params=None):
        return jax.tree.map(jnp.zeros_like, gradients), gradients

    return optax.GradientTransformation(lambda params: jax.tree.map(jnp.zeros_like, params), update)


def without_dropout(module: nnx.Module) -> nnx.Module:
    for _, part in nnx.iter_graph(module):
        if hasattr(part, "rate"):
            part.rate = 0.0
    return module


@pytest.mark.slow
@pytest.mark.parametrize("name", CASES)
def test_golden_through_the_step(name: str):
    """One update of two batches of unlike shape: clips with their labels, and pairs with theirs."""
    folder = GOLDEN / "model" / name
    checkpoint = read_checkpoint(folder / "model.pt")
    expected, meta = np.load(folder / "expected.npz"), json.loads((folder / "meta.json").read_text())
    module = without_dropout(checkpoint.module)
    labels, pairs, cmos = (expected[f"train/{key}"] for key in ("labels", "pairs", "cmos"))
    clips = [expected[f"train/wav{i}"] for i in range(len(labels))]
    size = max(map(len, clips))
    missing = np.full_like(labels[0], np.nan)
    # Batches are fuller than their clips: the empty rows must not count.
    single = rows([[clip] for clip in clips], labels[:, None], np.full((len(clips), cmos.shape[1]), np.nan), 8, size)
    double = rows([[clips[a], clips[b]] for a, b in pairs], [[missing] * 2] * len(pairs), cmos, 8, size)

    layout = Layout(REPLICATED, jax.devices()[:1])
    graph, trained, frozen = jax.tree.map(jnp.asarray, split_module(module))
    loss = LossConfig(criterion=checkpoint.criterion)
    step = TrainStep(graph, trained, module.config, keeps_gradients(), loss, layout, seed=0)
    state, report = step(step.init(trained), layout.put(frozen), [layout.put_rows(batch) for batch in (single, double)])

    assert float(report["loss"]) == pytest.approx(float(expected["train/loss"]), rel=1e-5)
    info = {key.removeprefix("absolute_score_loss_"): value for key, value in meta["info"].items()}
    compared = 0
    for metric in module.config.metrics:
        if metric in info:
            assert float(report[f"error/{metric}"]) == pytest.approx(info[metric], rel=1e-5)
            compared += 1
    assert compared and float(report["loss/absolute"]) == pytest.approx(info["total"], rel=1e-5)
    assert float(report["loss/comparative"]) == pytest.approx(meta["info"]["comparative_score_loss_total"], rel=1e-5)

    found = {".".join(map(str, path)): np.asarray(v[...]) for path, v in nnx.to_flat_state(state.optimizer)}
    wanted = {key.removeprefix("grad/"): expected[key] for key in expected if key.startswith("grad/")}
    whole = np.sqrt(sum(np.square(g, dtype=np.float64).sum() for g in wanted.values()))
    seen = set()
    for rule in checkpoint_rules(module):
        if rule.targets is None or not wanted.keys() >= set(rule.keys):
            continue
        for path, gradient in rule(wanted):
            ours = found[path] if rule.layer is None else found[path][rule.layer]
            error = np.linalg.norm(ours - gradient)
            assert error <= 1e-4 * np.linalg.norm(gradient) + 1e-6 * whole, path
        seen |= set(rule.keys)
    assert seen == wanted.keys()
    frozen_paths = {".".join(map(str, path)) for path, _ in nnx.to_flat_state(frozen)}
    assert bool(frozen_paths) == meta["frozen_encoders"] and not frozen_paths & found.keys()


REPLICATED = MeshConfig(data=-1, model=1, fully_sharded=False)


class Setup:
    def __init__(self, *, dropout=False, devices=1, mesh=REPLICATED, optimizer=None, **settings):
        module = UrgentMOS(CONFIG, rngs=nnx.Rngs(0))
        if not dropout:
            without_dropout(module)
        self.layout = Layout(mesh, jax.devices()[:devices])
        graph, trained, frozen = split_module(module)
        self.trained, self.frozen = self.layout.put((trained, frozen))
        optimizer = optimizer or optax.adamw(1e-2)
        self.step = TrainStep(graph, trained, CONFIG, optimizer, LossConfig(), self.layout, seed=3, **settings)

    def update(self, *batches, state=None):
        state = self.step.init(jax.tree.map(jnp.copy, self.trained)) if state is None else state
        return self.step(state, self.frozen, [self.layout.put_rows(batch) for batch in batches])


@pytest.fixture(scope="module")
def setup() -> Setup:
    return Setup(optimizer=keeps_gradients())


def leaves(state) -> list[np.ndarray]:
    return [np.asarray(leaf) for leaf in jax.tree.leaves(state)]


def close(one, other, tolerance: float = 1e-5) -> bool:
    whole = np.sqrt(sum(np.square(x).sum() for x in leaves(other)))
    error = np.sqrt(sum(np.square(x - y).sum() for x, y in zip(leaves(one), leaves(other), strict=True)))
    return whole > 0 and error <= tolerance * whole


@pytest.mark.slow
def test_accumulated_parts_equal_one_large_batch(setup: Setup):
    whole, report = setup.update(pair_batch([0, 1, 2, 3]))
    for parts in (([0], [1, 2, 3]), ([0, 1], [2], [3])):
        state, accumulated = setup.update(*(pair_batch(part) for part in parts))
        assert close(state.optimizer, whole.optimizer)
        for key in ("loss", "loss/absolute", "loss/comparative", "error/pesq", "error/mos_overall (pairs)"):
            assert float(accumulated[key]) == pytest.approx(float(report[key]), rel=1e-5)


@pytest.mark.slow
def test_devices_do_not_change_the_update(setup: Setup):
    whole, report = setup.update(pair_batch([0, 1, 2, 3]))
    state, other = Setup(optimizer=keeps_gradients(), devices=8).update(pair_batch([0, 1, 2, 3], rows_=8))
    assert close(state.optimizer, whole.optimizer)
    assert float(other["loss"]) == pytest.approx(float(report["loss"]), rel=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize("missing", ["metric", "category", "comparisons", "everything"])
def test_missing_labels_train_on(setup: Setup, missing: str):
    batch = pair_batch([0, 1, 2, 3])
    columns = {"metric": [1], "category": [2], "comparisons": [], "everything": [0, 1, 2]}[missing]
    batch.label_mask[..., columns] = False
    batch.labels[..., columns] = np.nan  # What lies under a mask has no influence.
    if missing in ("comparisons", "everything"):
        batch.cmos_mask[:] = False
        batch.cmos[:] = np.nan
    state, report = setup.update(batch)
    assert np.isfinite(float(report["loss"])) and int(report["bad"]) == 0
    assert all(np.isfinite(leaf).all() for leaf in leaves(state.optimizer))
    heads = {
        "metric": "absolute_heads.pesq",
        "category": "categories.db",
        "comparisons": "cmos_heads",
        "everything": "",
    }[missing]
    gradients = {".".join(map(str, path)): np.asarray(v[...]) for path, v in nnx.to_flat_state(state.optimizer)}
    masked = [path for path in gradients if path.startswith(heads)]
    assert masked and all((gradients[path] == 0).all() for path in masked)
    if missing != "everything":
        assert any((g != 0).any() for g in gradients.values())


@pytest.mark.slow
def test_gradients_that_are_not_finite_change_nothing():
    setup = Setup()
    state, _ = setup.update(pair_batch([0, 1]))
    kept = leaves((state.trained, state.optimizer))
    poison = pair_batch([0, 1])
    poison.waveform[0, 0, 100] = np.nan
    for count in (1, 2):
        state, report = setup.update(poison, state=state)
        assert int(report["bad"]) == int(report["bad_in_a_row"]) == count and int(state.step) == count + 1
        assert all((a == b).all() for a, b in zip(leaves((state.trained, state.optimizer)), kept, strict=True))
    state, report = setup.update(pair_batch([0, 1]), state=state)
    assert int(report["bad"]) == 2 and int(report["bad_in_a_row"]) == 0
    assert any((a != b).any() for a, b in zip(leaves((state.trained, state.optimizer)), kept, strict=True))
    # After three in a row a good batch changes nothing either: the host may learn of them later.
    for _ in range(3):
        state, _ = setup.update(poison, state=state)
    kept = leaves((state.trained, state.optimizer))
    state, report = setup.update(pair_batch([0, 1]), state=state)
    assert int(report["bad_in_a_row"]) == 4
    assert all((a == b).all() for a, b in zip(leaves((state.trained, state.optimizer)), kept, strict=True))


@pytest.mark.slow
def test_dropout_is_drawn_anew_in_each_update_and_again_the_same_way():
    setup = Setup(dropout=True, optimizer=keeps_gradients())
    first, _ = setup.update(pair_batch([0, 1]))
    again, _ = setup.update(pair_batch([0, 1]))
    assert all((a == b).all() for a, b in zip(leaves(first.optimizer), leaves(again.optimizer), strict=True))
    gradients = leaves(first.optimizer)
    second, _ = setup.update(pair_batch([0, 1]), state=first)
    assert any((a != b).any() for a, b in zip(leaves(second.optimizer), gradients, strict=True))


def test_schedules():
    config = OptimizerConfig(2.0, "constant", 3, 0.0, 1.0)
    assert [float(learning_rate(config, 10)(i)) for i in (0, 1, 2, 3, 9)] == pytest.approx([0.5, 1.0, 1.5, 2.0, 2.0])
    config = OptimizerConfig(2.0, "linear", 0, 0.0, 1.0)
    assert [float(learning_rate(config, 4)(i)) for i in range(5)] == pytest.approx([2.0, 1.5, 1.0, 0.5, 0.0])
    config = OptimizerConfig(2.0, "cosine", 2, 0.0, 1.0)
    assert [float(learning_rate(config, 6)(i)) for i in (2, 4, 6)] == pytest.approx([2.0, 1.0, 0.0], abs=1e-6)
    with pytest.raises(ValueError, match="constant, linear, cosine"):
        schema.read(OptimizerConfig, dataclasses.asdict(config) | {"schedule": "step"})


@pytest.mark.slow
def test_the_first_update_is_torch_adamw_after_the_clip():
    """AdamW moves each weight by the learning rate first, and decays it; the clip does not show in that."""
    setup = Setup(optimizer=make_optimizer(OptimizerConfig(0.01, "constant", 0, 0.1, 1e-3), 10))
    before = leaves(setup.trained)
    gradients = leaves(Setup(optimizer=keeps_gradients()).update(pair_batch([0, 1, 2, 3]))[0].optimizer)
    norm = np.sqrt(sum(np.square(g, dtype=np.float64).sum() for g in gradients))
    after = leaves(setup.update(pair_batch([0, 1, 2, 3]))[0].trained)
    assert norm > 1e-3
    for old, new, gradient in zip(before, after, gradients, strict=True):
        g = gradient * (1e-3 / norm)
        np.testing.assert_allclose(new, old - 0.01 * (g / (np.abs(g) + 1e-8) + 0.1 * old), rtol=0, atol=2e-4)


@pytest.mark.slow
def test_remat_computes_the_same(setup: Setup):
    module = UrgentMOS(CONFIG, rngs=nnx.Rngs(0))
    graph, trained, frozen = split_module(without_dropout(module), remat=True)
    step = TrainStep(graph, trained, CONFIG, keeps_gradients(), LossConfig(), setup.layout, seed=3)
    batch = [setup.layout.put_rows(pair_batch([0, 1, 2, 3]))]
    state, _ = step(step.init(setup.layout.put(trained)), setup.layout.put(frozen), batch)
    assert close(state.optimizer, setup.update(pair_batch([0, 1, 2, 3]))[0].optimizer, 1e-6)
    assert "remat" in str(jax.make_jaxpr(step._traced_part)(trained, frozen, batch[0], *counts_of(batch[0])))
    assert "remat" not in str(jax.make_jaxpr(setup.step._traced_part)(trained, frozen, batch[0], *counts_of(batch[0])))


def counts_of(batch) -> tuple:
    return (batch.label_mask.sum((0, 1)), batch.cmos_mask.sum(0)), 0, 0


@pytest.mark.slow
def test_bfloat16_computes_in_it_and_keeps_float32_parameters(setup: Setup):
    half = Setup(optimizer=keeps_gradients(), precision="bfloat16")
    state, report = half.update(pair_batch([0, 1, 2, 3]))
    whole, wanted = setup.update(pair_batch([0, 1, 2, 3]))
    assert {x.dtype for x in jax.tree.leaves((state.trained, state.optimizer))} == {jnp.dtype("float32")}
    assert report["loss"].dtype == jnp.float32 and float(report["loss"]) != float(wanted["loss"])
    assert float(report["loss"]) == pytest.approx(float(wanted["loss"]), rel=2e-2)
    assert close(state.optimizer, whole.optimizer, 0.1)


@pytest.mark.slow
def test_an_update_without_any_label_is_left_out():
    """Case 15: a batch that has lost all its clips neither decays the weights nor counts as bad."""
    setup = Setup()
    state, _ = setup.update(pair_batch([0, 1]))
    kept = leaves((state.trained, state.optimizer))
    empty = pair_batch([0, 1])
    for name in ("label_mask", "cmos_mask", "lengths"):
        getattr(empty, name)[:] = 0
    state, report = setup.update(empty, state=state)
    assert int(report["bad"]) == 0 and int(state.step) == 2 and np.isfinite(float(report["loss"]))
    assert all((a == b).all() for a, b in zip(leaves((state.trained, state.optimizer)), kept, strict=True))
