"""The training step compiled for slices of TPUs that are not there: what fits, and what the chips exchange.

`PYTHONPATH=. python tests/training/test_slices.py` writes the golden collectives anew, by the libtpu that is installed.
"""

import dataclasses
import importlib
import json
from importlib import util
from pathlib import Path

import jax
import pytest

from urgentmos_jax.accelerators.chips import Slice, libtpu_version, without_devices
from urgentmos_jax.accelerators.plan import Plan, format_plan
from urgentmos_jax.accelerators.work import Work
from urgentmos_jax.model.cost import parts
from urgentmos_jax.model.urgentmos import ModelConfig
from urgentmos_jax.training import slices
from urgentmos_jax.training.config import TrainConfig, read_config
from urgentmos_jax.training.mesh import MeshConfig
from urgentmos_jax.training.sharding import Layout
from urgentmos_jax.training.slices import DoesNotFit, advice, batch_shape, describe_on_slice, plan_run
from urgentmos_jax.training.start import with_sizes

GOLDEN = Path(__file__).parents[1] / "golden" / "slices" / "collectives.json"
TOPOLOGIES = ("v5e:2x2", "v5p:2x2x1")
# What differs from the config: one category, the encoder frozen; five categories; all trained, spread and split.
CASES = {
    "f1c1m5_d_corpus": {},
    "f1c5m15": {"remat": True},
    "f1c1m5_d_ref": {"mesh": {"data": 2, "model": 2, "fully_sharded": True}, "freeze": False},
}
needs_libtpu = pytest.mark.skipif(util.find_spec("libtpu") is None, reason="libtpu is not installed")


def small(name: str, changes: dict) -> tuple[TrainConfig, ModelConfig]:
    """A config with two layers a stack, narrow, on clips of two seconds."""
    changes = dict(changes)
    values = importlib.import_module(f"configs.{name}").get_config()
    for encoder in values.model.encoders.values():
        encoder.freeze = changes.pop("freeze", True)
    values.data.max_seconds = 2.0
    values.model.width = 64
    values.model.category.update(layers=2, heads=4, feedforward=128)
    values.update(precision="bfloat16", batch=dict(seconds=16.0, clips=8))
    values.update(changes)
    config = read_config(values)
    model = with_sizes(config.model, offline=True)
    sizes = dict(hidden_size=64, num_hidden_layers=2, num_attention_heads=4, intermediate_size=128, conv_dim=(64,) * 7)
    sizes |= dict(num_conv_pos_embeddings=16, num_conv_pos_embedding_groups=4)
    encoders = (
        dataclasses.replace(one, architecture=dataclasses.replace(one.architecture, **sizes)) for one in model.encoders
    )
    return config, dataclasses.replace(model, encoders=tuple(encoders))


def compiled(name: str, topology: str) -> tuple[Plan, ModelConfig]:
    config, model = small(name, CASES[name])
    with jax.default_matmul_precision("default"):
        # A quarter of the time, and the same collectives.
        options = {"exec_time_optimization_effort": -1.0}
        return plan_run(config, Slice.parse(topology), "largest", model=model, options=options), model


@needs_libtpu
@pytest.mark.slow
@pytest.mark.parametrize("topology", TOPOLOGIES)
@pytest.mark.parametrize("name", CASES)
def test_collectives(name: str, topology: str):
    golden = json.loads(GOLDEN.read_text())
    plan, model = compiled(name, topology)
    assert plan.fits and plan.host == () and plan.chips == 4
    kinds = {kind: number for kind, (number, _) in plan.exchanged.items()}
    total = sum(size for _, size in plan.exchanged.values())
    assert "all-to-all" not in kinds
    each = parts(model)
    if not CASES[name].get("mesh"):
        # Gradients are summed, no parameter travels.
        trained = sum(part.trained for part in each)
        assert set(kinds) == {"all-reduce"} and 2 * trained <= total < 2.2 * 2 * trained
    else:
        # Parameters are gathered over `data`, activations over `model`. Left to itself, the compiler permutes parts of
        # parameters, and rearranges activations from rows to features.
        assert set(kinds) == {"all-gather", "all-reduce", "reduce-scatter"}
    if plan.libtpu == golden["libtpu"]:
        exchanged = {kind: list(found) for kind, found in plan.exchanged.items()}
        assert exchanged == golden["exchanged"][f"{name} {topology}"]
    text = "\n".join(format_plan(plan))
    assert "fits" in text and "4 chips" in text and f"libtpu {plan.libtpu}" in text


def test_the_batches_of_a_config():
    config = read_config(importlib.import_module("configs.f1c1m5_d_corpus").get_config())
    model = with_sizes(config.model, offline=True)
    layout = Layout(MeshConfig(data=-1, model=1, fully_sharded=False), jax.devices()[:8])
    assert batch_shape(config, model, "commonest", layout) == (32, 2, round(16000 * 5.2))
    # Five pairs of a minute, and three empty rows for the eight devices.
    assert batch_shape(config, model, "largest", layout) == (8, 2, 16000 * 60)


def plan(memory: float) -> Plan:
    work = Work(flops=4e14, passes=4e14, bytes=1e12)
    exchanged = {"all-reduce": (4, 28_000_000)}
    shape = ("512 pairs of 2 x 5 s, the largest", 5120.0, memory, 15.75 * 2**30)
    return Plan("v5e:4x4", 16, {"data": 16, "model": 1}, *shape, {}, exchanged, (), work, 1.0, "0")


def test_what_a_plan_tells():
    text = "\n".join(format_plan(plan(12e9)))
    assert "12.00 GB of a chip, which has 16.91 GB: fits" in text and "4 all-reduce of 28.0 MB, a step" in text
    # 4e14 operations on 16 chips of 197 TFLOP/s take 127 ms; at 40 % of that, 5120 s of audio 317 ms.
    assert "at least 126.9 ms a step, bound by the matrix units" in text
    assert "16,138 audio seconds a second at 40 % of the peak" in text
    assert "DOES NOT FIT" in "\n".join(format_plan(plan(17e9)))
    assert "more than the 16.91 GB of a chip: DOES NOT FIT" in "\n".join(format_plan(plan(float("inf"))))


def test_a_step_that_does_not_fit_says_what_to_change(monkeypatch):
    values = importlib.import_module("configs.f1c1m5_d_corpus").get_config()
    where = Slice.parse("v5e:4x4")
    monkeypatch.setattr(slices, "plan_run", lambda *arguments, **options: plan(40e9))
    with pytest.raises(
        DoesNotFit, match=r"does not fit[\s\S]*--config\.precision=bfloat16[\s\S]*--config\.remat"
    ) as told:
        describe_on_slice(values, where)
    assert told.value.plans.count("DOES NOT FIT") == 2
    monkeypatch.setattr(slices, "plan_run", lambda *arguments, **options: plan(12e9))
    assert describe_on_slice(values, where).count("fits") == 2
    values.update(precision="bfloat16", remat=True, mesh={"fully_sharded": True}, data={"max_seconds": 30.0})
    config = read_config(values)
    left = advice(config, with_sizes(config.model, offline=True))
    assert left[0].startswith("--config.batch.seconds=150.0 --config.batch.accumulate=2") and len(left) == 2


if __name__ == "__main__":
    without_devices()
    found = {f"{name} {topology}": compiled(name, topology)[0].exchanged for name in CASES for topology in TOPOLOGIES}
    GOLDEN.write_text(json.dumps({"libtpu": libtpu_version(), "exchanged": found}, indent=1) + "\n")
