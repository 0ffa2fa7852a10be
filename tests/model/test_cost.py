"""Estimates of memory, and the fused model at its real size, traced."""

import dataclasses
import importlib

import jax
import jax.numpy as jnp
import pytest
from flax import nnx

from tests.helpers.models import model_config, on_one_device, random_module
from urgentmos_jax.encoders.distill_mos import DistillMOS, DistillMOSConfig
from urgentmos_jax.model.cost import parts, scoring_bytes, training_bytes
from urgentmos_jax.model.urgentmos import UrgentMOS
from urgentmos_jax.training.config import read_config as read_run
from urgentmos_jax.training.start import with_sizes


@pytest.mark.slow
def test_the_fused_model_at_real_size_is_traced():
    config = with_sizes(read_run(importlib.import_module("configs.f4c1m5_d_ref").get_config()).model, offline=True)
    graph, params = nnx.split(nnx.eval_shape(lambda: UrgentMOS(config, rngs=nnx.Rngs(0))))
    assert {str(v.dtype) for v in jax.tree.leaves(params["encoders"])} == {"bfloat16"}

    def loss(trained, frozen, waveform, lengths):
        module = nnx.merge(graph, trained, frozen)
        return sum(found.score.sum() for found in module.absolute(module.encode(waveform, lengths)).values())

    frozen, trained = nnx.split_state(params, lambda path, value: path[0] == "encoders", ...)
    batch = (jax.ShapeDtypeStruct((2, 160000), jnp.float32), jax.ShapeDtypeStruct((2,), jnp.int32))
    value, gradient = jax.eval_shape(jax.value_and_grad(loss), trained, frozen, *batch)
    assert value.shape == () and value.dtype == jnp.float32
    assert jax.tree.structure(gradient) == jax.tree.structure(trained)
    assert sum(part.frozen for part in parts(config)) == pytest.approx(2237.3e6, rel=1e-3)
    # Memory grows with rows and length, and four frozen encoders in bfloat16 take 4.5 GB.
    need = [f(config, r, s) for f in (scoring_bytes, training_bytes) for r, s in ((1, 80000), (2, 80000), (2, 480000))]
    assert 4.5e9 < need[0] < need[1] < need[2] and need[3] < need[4] < need[5] and need[0] < need[3]


@pytest.mark.parametrize("samples", [64_000, 122_880])
def test_operations_of_distill_mos_are_those_that_xla_counts(samples: int):
    # XLA counts a loop over layers once.
    config = DistillMOSConfig(num_hidden_layers=1)
    graph, params = nnx.split(nnx.eval_shape(lambda: DistillMOS(config, rngs=nnx.Rngs(0))))
    batch = jax.ShapeDtypeStruct((1, samples), jnp.float32), jax.ShapeDtypeStruct((1,), jnp.int32)
    lowered = jax.jit(lambda params, *batch: nnx.merge(graph, params)(*batch)[0]).lower(params, *batch)
    assert config.flops(samples) == pytest.approx(lowered.cost_analysis()["flops"], rel=0.1)
    released = DistillMOSConfig(segments="overlapping")
    # Four segments, since they begin at most a second apart.
    assert released.flops(160_000) == pytest.approx(4 * released.flops(122_880))


@pytest.mark.slow
def test_estimated_memory_is_near_what_xla_plans():
    config = model_config("layer")
    config = dataclasses.replace(config, width=64)
    module = random_module(config)
    model = on_one_device(module)
    rows, samples = 4, 160000
    batch = (jax.ShapeDtypeStruct((rows, samples), jnp.float32), jax.ShapeDtypeStruct((rows,), jnp.int32))
    planned = model.engine.encode.lower(model.params, *batch, frames=False, features=False).compile().memory_analysis()
    estimate = scoring_bytes(config, rows, samples)
    assert 0.4 < estimate / (planned.temp_size_in_bytes + planned.argument_size_in_bytes) < 2.5
