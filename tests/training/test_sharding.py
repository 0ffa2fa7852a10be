"""Layouts on eight devices: the same losses as on one, the specs of every config, one compilation a shape.

`JAX_NUM_CPU_DEVICES=8 PYTHONPATH=. python tests/training/test_sharding.py` writes the golden specs anew.
"""

import functools
import importlib
import json
from pathlib import Path

import jax
import numpy as np
import pytest
from flax import nnx

from tests.helpers.batches import CONFIG, pair_batch
from urgentmos_jax.accelerators.work import count_work
from urgentmos_jax.data.batching import BatchShape, array_shapes
from urgentmos_jax.model.losses import LossConfig
from urgentmos_jax.model.urgentmos import UrgentMOS
from urgentmos_jax.training.config import read_config
from urgentmos_jax.training.memory import on_devices
from urgentmos_jax.training.mesh import MeshConfig
from urgentmos_jax.training.sharding import Layout
from urgentmos_jax.training.start import with_sizes
from urgentmos_jax.training.step import OptimizerConfig, TrainStep, make_optimizer, split_module

SPECS = Path(__file__).parents[1] / "golden" / "sharding"
CONFIGS = [path.stem for path in sorted((Path(__file__).parents[2] / "configs").glob("*.py")) if path.stem != "common"]
MESHES = {
    "one": (1, MeshConfig(data=-1, model=1, fully_sharded=False)),
    "data": (8, MeshConfig(data=-1, model=1, fully_sharded=False)),
    "fully_sharded": (8, MeshConfig(data=-1, model=1, fully_sharded=True)),
    "data_model": (8, MeshConfig(data=2, model=4, fully_sharded=True)),
}
STEPS = 20


def losses(mesh: str, accumulate: int) -> tuple[list[float], TrainStep, list[np.ndarray]]:
    """Losses of 20 updates, dropout included, with a frozen and a trained encoder."""
    devices, config = MESHES[mesh]
    layout = Layout(config, jax.devices()[:devices])
    graph, trained, frozen = split_module(UrgentMOS(CONFIG, rngs=nnx.Rngs(0)), layout=layout)
    optimizer = make_optimizer(OptimizerConfig(3e-5, "linear", 0, 0.01, 1.0), STEPS)
    step = TrainStep(graph, trained, CONFIG, optimizer, LossConfig(), layout, seed=3)
    state, frozen = step.init(layout.put(trained)), layout.put(frozen)
    found = []
    for update in range(STEPS):
        first = [pair_batch([update % 4, (update + 1) % 4, (update + 2) % 4], rows_=8)]
        second = [pair_batch([(update + 3) % 4], rows_=8)] if accumulate == 2 else []
        state, report = step(state, frozen, [layout.put_rows(batch) for batch in first + second])
        found.append(float(report["loss"]))
    assert step.shapes == 1 and step._apply._cache_size() == 1
    return found, step, [np.asarray(x) for x in jax.tree.leaves(state.trained)]


@pytest.fixture(scope="module")
def alone():
    """Of one device, by number of batches an update."""
    return functools.cache(lambda accumulate: losses("one", accumulate))


@pytest.mark.slow
@pytest.mark.parametrize(
    ("mesh", "accumulate"),
    [
        ("data", 1),
        ("data", 2),
        ("fully_sharded", 1),
        ("data_model", 1),
        pytest.param("fully_sharded", 2, marks=pytest.mark.long),
        pytest.param("data_model", 2, marks=pytest.mark.long),
    ],
)
def test_same_losses_on_one_and_on_eight_devices(alone, mesh: str, accumulate: int):
    wanted, _, parameters = alone(accumulate)
    found, step, other = losses(mesh, accumulate)
    assert found == pytest.approx(wanted, rel=1e-5)
    assert len(set(np.round(wanted, 6))) > 3
    for one, two in zip(parameters, other, strict=True):
        np.testing.assert_allclose(one, two, rtol=0, atol=2e-5)
    specs = {str(x.sharding.spec) for x in jax.tree.leaves(step.abstract)}
    assert len(specs) > {"data": 0, "fully_sharded": 1, "data_model": 3}[mesh]


@pytest.mark.slow
@pytest.mark.parametrize("remat", [False, True])
def test_gathering_parameters_computes_nothing_twice(remat: bool):
    found = []
    for mesh in ("data", "fully_sharded"):
        layout = Layout(MESHES[mesh][1], jax.devices()[:8])
        module = nnx.eval_shape(lambda: UrgentMOS(CONFIG, rngs=nnx.Rngs(0)))
        graph, trained, frozen = split_module(module, remat=remat, layout=layout)
        optimizer = make_optimizer(OptimizerConfig(3e-5, "linear", 0, 0.01, 1.0), STEPS)
        step = TrainStep(graph, trained, CONFIG, optimizer, LossConfig(), layout, seed=3)
        sizes = len(CONFIG.metrics), len(CONFIG.comparative_metrics)
        batch = on_devices(array_shapes(BatchShape(8, 2, 16000), *sizes, {}), layout)
        traced = step.trace(frozen, batch)
        found.append(count_work(traced.jaxpr).flops)
        assert ("sharding_constraint" in str(traced.jaxpr)) == (mesh == "fully_sharded")
    assert found[0] == found[1] > 0


def specs_of(name: str) -> dict[str, str]:
    """Specs of trained, frozen and Adam's moments on data 2 x model 4, fully sharded."""
    config = read_config(importlib.import_module(f"configs.{name}").get_config())
    model = with_sizes(config.model, offline=True)
    layout = Layout(MESHES["data_model"][1], jax.devices()[:8])
    module = nnx.eval_shape(lambda: UrgentMOS(model, rngs=nnx.Rngs(0)))
    graph, trained, frozen = split_module(module)
    step = TrainStep(graph, trained, model, make_optimizer(config.optimizer, 10), config.loss, layout, seed=0)
    specs = {f"frozen.{path}": str(spec) for path, spec in layout.specs(frozen).items()}
    state = jax.tree.leaves_with_path(step.abstract)
    names = [jax.tree_util.keystr(path, simple=True, separator=".").removesuffix(".value") for path, _ in state]
    return specs | {name: str(x.sharding.spec) for name, (_, x) in zip(names, state, strict=True)}


@pytest.mark.parametrize("name", CONFIGS)
def test_specs_of_a_config(name: str):
    found = specs_of(name)
    assert found == json.loads((SPECS / f"{name}.json").read_text())
    moments = {path: spec for path, spec in found.items() if ".mu." in path}
    assert moments and all(found[f"trained.{path.split('.mu.')[1]}"] == spec for path, spec in moments.items())


@pytest.mark.parametrize("name", ["f1c1m5_d_corpus", "f4c1m5_d_ref"])
def test_large_parameters_are_sharded(name: str, caplog):
    model = with_sizes(read_config(importlib.import_module(f"configs.{name}").get_config()).model, offline=True)
    module = nnx.eval_shape(lambda: UrgentMOS(model, rngs=nnx.Rngs(0)))
    sharded = Layout(MESHES["fully_sharded"][1], jax.devices()[:8])
    assert sharded.report_large(nnx.state(module)) == []
    # Twelve layers of WavLM-base do not divide by 5: what stays whole is reported.
    odd = Layout(MeshConfig(data=5, model=1, fully_sharded=True), jax.devices()[:5])
    left = odd.report_large(nnx.state(module))
    assert left and all(path in caplog.text for path in left)
    assert Layout(MESHES["data"][1], jax.devices()[:8]).report_large(nnx.state(module)) == []


def test_a_mesh_that_does_not_fit_is_named():
    with pytest.raises(ValueError, match=r"data -1 x model 3 does not fit 8 devices; set mesh\.data"):
        Layout(MeshConfig(data=-1, model=3, fully_sharded=False), jax.devices()[:8])


if __name__ == "__main__":
    SPECS.mkdir(exist_ok=True)
    for name in CONFIGS:
        (SPECS / f"{name}.json").write_text(json.dumps(specs_of(name), indent=1) + "\n")
