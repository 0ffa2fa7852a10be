"""Operations of traced programs."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from tests.helpers.models import model_config
from urgentmos_jax.accelerators.work import Work, count_work
from urgentmos_jax.model.cost import clip_flops
from urgentmos_jax.model.urgentmos import UrgentMOS


def work(function, *shapes, dtype=np.float32) -> Work:
    with jax.default_matmul_precision("default"):
        return count_work(jax.make_jaxpr(function)(*(jax.ShapeDtypeStruct(shape, dtype) for shape in shapes)))


def test_a_product():
    found = work(lambda a, b: jax.nn.relu(a @ b), (3, 5), (5, 7))
    assert found == Work(2 * 3 * 5 * 7, 2 * 3 * 5 * 7, 4 * (15 + 35 + 21))
    batched = work(lambda a, b: jnp.einsum("bij,bkj->bik", a, b), (2, 3, 5), (2, 7, 5), dtype=jnp.bfloat16)
    assert batched == Work(2 * 2 * 3 * 5 * 7, 2 * 2 * 3 * 5 * 7, 2 * 2 * (15 + 35 + 21))


@pytest.mark.parametrize(("precision", "dtype", "passes"), [("highest", np.float32, 6), (None, np.float32, 1)])
def test_passes_of_a_float32_product(precision, dtype, passes: int):
    found = work(lambda a, b: jnp.matmul(a, b, precision=precision or "default"), (3, 5), (5, 7), dtype=dtype)
    assert found.passes == passes * found.flops
    narrow = work(lambda a, b: jnp.matmul(a, b, precision="highest"), (3, 5), (5, 7), dtype=jnp.bfloat16)
    assert narrow.passes == narrow.flops


def test_a_scan_counts_as_often_as_it_runs():
    def layers(h, weights):
        step = jax.checkpoint(lambda h, w: (jnp.tanh(h @ w), None))
        return jax.lax.scan(step, h, weights)[0].sum()

    once = 2 * 4 * 6 * 6
    assert work(layers, (4, 6), (9, 6, 6)).flops == 9 * once
    # Backward: computed again, and a product each for the gradients of input and weights.
    assert work(jax.grad(layers, argnums=(0, 1)), (4, 6), (9, 6, 6)).flops == 9 * 4 * once


def test_the_costlier_branch_counts_and_an_endless_loop_is_refused():
    found = work(lambda a: jax.lax.cond(a[0, 0] > 0, lambda: a @ a @ a, lambda: a), (4, 4))
    assert found.flops == 2 * 2 * 4**3
    with pytest.raises(ValueError, match="unknown length"):
        work(lambda a: jax.lax.while_loop(lambda x: x[0, 0] > 0, lambda x: x @ x, a), (4, 4))


@pytest.mark.parametrize("groups", [1, 3])
def test_a_convolution(groups: int):
    def convolve(x, kernel):
        return jax.lax.conv_general_dilated(
            x, kernel, (2,), "VALID", dimension_numbers=("NWC", "WIO", "NWC"), feature_group_count=groups
        )

    x, kernel, once = (5, 21, 6), (4, 6 // groups, 9), 2 * 5 * 9 * 9 * 4 * 6 // groups
    assert work(convolve, x, kernel).flops == once
    gradients = work(jax.grad(lambda *a: convolve(*a).sum(), argnums=(0, 1)), x, kernel)
    # Forward, and a product each for the gradients; the edges of the input's are computed with.
    assert 3 * once <= gradients.flops < 3.2 * once


@pytest.mark.parametrize("kind", ["group", "layer"])
def test_a_model_has_the_operations_of_its_formula(kind: str):
    config = model_config(kind)
    module = nnx.eval_shape(lambda: UrgentMOS(config, rngs=nnx.Rngs(0)))
    graph, state = nnx.split(module)
    samples = 16000
    x = jax.ShapeDtypeStruct((3, samples), np.float32), jax.ShapeDtypeStruct((3,), np.int32)
    found = count_work(jax.make_jaxpr(lambda state, *x: nnx.merge(graph, state).encode(*x).by_category)(state, *x))
    formula = 3 * clip_flops(config, samples)
    # The formulas leave out what is small in real sizes: pooling over layers, gates of positions.
    assert 0.8 < formula / found.flops < 1.1
