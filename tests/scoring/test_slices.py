"""Scoring compiled for slices of TPUs that are not there."""

from importlib import util

import jax
import pytest
from flax import nnx

from tests.helpers.models import model_config
from urgentmos_jax.accelerators.chips import Slice
from urgentmos_jax.accelerators.work import count_work
from urgentmos_jax.model.cost import clip_flops
from urgentmos_jax.model.urgentmos import UrgentMOS
from urgentmos_jax.scoring.engine import Engine
from urgentmos_jax.scoring.slices import plan_scoring


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_what_is_traced_is_a_full_batch(precision: str):
    config = model_config("group")
    module = nnx.eval_shape(lambda: UrgentMOS(config, rngs=nnx.Rngs(0)))
    engine = Engine(module, precision=precision, batch_seconds=8.0, devices=jax.devices()[:2])
    params = engine.abstract(nnx.state(module))
    assert {str(x.dtype) for x in jax.tree.leaves(params["encoders"])} == {precision}
    rows, traced = engine.trace(params, 32000)
    work = count_work(traced.jaxpr)
    # Two devices, 8 s each, clips of 2 s.
    assert rows == 8 and work.flops == pytest.approx(rows * clip_flops(config, 32000), rel=0.25)
    assert work.passes == 6 * work.flops if precision == "float32" else work.passes < 3 * work.flops


@pytest.mark.slow
@pytest.mark.skipif(util.find_spec("libtpu") is None, reason="libtpu is not installed")
def test_scoring_on_a_slice():
    options = {"exec_time_optimization_effort": -1.0}
    (plan,) = plan_scoring(
        model_config("group"), Slice.parse("v5e:2x2"), batch_seconds=4.0, seconds=[1.0], options=options
    )
    # Rows are shared, nothing is exchanged.
    assert plan.fits and plan.host == () and plan.exchanged == {} and plan.mesh == {"data": 4}
    assert plan.batch == "16 clips of 1 s" and plan.audio_seconds == 16
