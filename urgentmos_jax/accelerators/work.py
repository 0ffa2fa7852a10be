"""Operations of a traced program: XLA counts the body of a scan once, here it is counted as often as it runs."""

import dataclasses
import math
from collections.abc import Iterator
from typing import Any

import jax
import numpy as np
from jax.extend import core

# Products of bfloat16 on the matrix units for one of float32, by jax's names of precisions.
_PASSES = {"highest": 6, "high": 3}


@dataclasses.dataclass(frozen=True)
class Work:
    """Of matrix products and convolutions, on all devices together; all else is left out.

    Args:
        flops: Operations, two a multiply-add.
        passes: Operations in bfloat16 that a matrix unit does for them: a float32 product at the highest precision is
            six products of bfloat16, at jax's default one.
        bytes: Of their operands and results, each read or written once: what moves if all else is fused into them.
    """

    flops: float = 0.0
    passes: float = 0.0
    bytes: float = 0.0

    def __add__(self, other: "Work") -> "Work":
        return Work(self.flops + other.flops, self.passes + other.passes, self.bytes + other.bytes)

    def __mul__(self, times: float) -> "Work":
        return Work(self.flops * times, self.passes * times, self.bytes * times)

    def seconds(self, flops: float, bandwidth: float) -> float:
        """The least that it takes at so many operations in bfloat16 and bytes a second (roofline)."""
        return max(self.passes / flops, self.bytes / bandwidth)


def count_work(program: core.Jaxpr | core.ClosedJaxpr) -> Work:
    """Work of a program: a scan's body times its length, the costlier branch of a condition.

    Raises:
        ValueError: it has a loop whose length is not known, with matrix products in it.
    """
    total = Work()
    for equation in getattr(program, "jaxpr", program).eqns:
        total = total + _work_of(equation)
    return total


def _work_of(equation: Any) -> Work:
    name, params = equation.primitive.name, equation.params
    if name == "dot_general":
        (contracted, _), _ = params["dimension_numbers"]
        shape = equation.invars[0].aval.shape
        return _product(equation, math.prod(shape[i] for i in contracted))
    if name == "conv_general_dilated":
        kernel = equation.invars[1].aval.shape
        outputs = kernel[params["dimension_numbers"].rhs_spec[0]]
        # Zeros between the inputs are not computed with.
        return _product(equation, math.prod(kernel) / outputs / math.prod(params["lhs_dilation"]))
    parts = [count_work(one) for one in _inner(params)]
    if name == "scan":
        return parts[0] * params["length"]
    if name == "while" and any(part.flops for part in parts):
        raise ValueError("a loop of unknown length holds matrix products, so its operations cannot be counted")
    if name == "cond":
        return max(parts, key=lambda part: part.flops)
    return sum(parts, Work())


def _product(equation: Any, contracted: float) -> Work:
    values = [x.aval for x in (*equation.invars, *equation.outvars)]
    flops = 2.0 * math.prod(values[-1].shape) * contracted
    wide = any(x.dtype == np.float32 for x in values[:2])
    precision = equation.params["precision"]
    precision = precision[0] if isinstance(precision, tuple) else precision
    times = _PASSES.get(str(getattr(precision, "name", precision)).lower(), 1) if wide else 1
    moved = sum(math.prod(x.shape) * x.dtype.itemsize for x in values)
    return Work(flops, flops * times, float(moved))


def _inner(params: dict[str, Any]) -> Iterator[Any]:
    """Programs within an operation."""
    for value in jax.tree.leaves(list(params.values()), is_leaf=lambda x: hasattr(x, "eqns") or hasattr(x, "jaxpr")):
        if hasattr(value, "eqns") or hasattr(getattr(value, "jaxpr", None), "eqns"):
            yield value
