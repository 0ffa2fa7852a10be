"""Operations of jax as ONNX has them: those that the scores of our models are made of."""

import contextlib
import string
from collections.abc import Callable, Sequence
from typing import Any

import jax
import numpy as np

from urgentmos_jax.exporting.onnx_graph import Graph, Value

with contextlib.suppress(ModuleNotFoundError):  # `exporting.onnx` says so where it is needed.
    from onnx import helper

_UNARY = {
    "neg": "Neg", "exp": "Exp", "log": "Log", "sqrt": "Sqrt", "tanh": "Tanh", "logistic": "Sigmoid", "abs": "Abs",
    "sign": "Sign", "floor": "Floor", "ceil": "Ceil", "erf": "Erf", "sin": "Sin", "cos": "Cos", "not": "Not",
    "stop_gradient": "Identity", "copy": "Identity", "reshard": "Identity", "optimization_barrier": "Identity",
}  # fmt: skip
_BINARY = {
    "add": "Add", "add_any": "Add", "sub": "Sub", "mul": "Mul", "div": "Div", "max": "Max", "min": "Min", "pow": "Pow",
    "lt": "Less", "gt": "Greater", "le": "LessOrEqual", "ge": "GreaterOrEqual", "eq": "Equal", "and": "And", "or": "Or",
}  # fmt: skip
_REDUCED = {"reduce_sum": "ReduceSum", "reduce_max": "ReduceMax", "reduce_min": "ReduceMin"}


class Unsupported(NotImplementedError):
    """An operation that is not known here, or not in this form."""


def lower(graph: Graph, equation: Any, values: list[Any]) -> Any:
    """The output of an equation that has one, on the values of its inputs.

    Raises:
        Unsupported: see there.
    """
    name = equation.primitive.name
    if name in _UNARY:
        return graph.op(_UNARY[name], values[0])
    if name in _BINARY:
        return graph.op(_BINARY[name], *values)
    if name not in _OTHERS:
        raise Unsupported(name)
    return _OTHERS[name](graph, equation, *values)


def _sizes_of(variable: Any) -> tuple[Any, ...]:
    return tuple(variable.aval.shape)


def _out(equation: Any) -> tuple[Any, ...]:
    return _sizes_of(equation.outvars[0])


def _one(value: float, equation: Any) -> np.ndarray:
    return np.array(value, equation.invars[0].aval.dtype)


def _type(dtype: Any) -> int:
    return helper.np_dtype_to_tensor_dtype(np.dtype(dtype))


def _rsqrt(graph: Graph, _: Any, x: Value) -> str:
    return graph.op("Reciprocal", graph.op("Sqrt", x))


def _erfc(graph: Graph, equation: Any, x: Value) -> str:
    return graph.op("Sub", _one(1, equation), graph.op("Erf", x))


def _log1p(graph: Graph, equation: Any, x: Value) -> str:
    return graph.op("Log", graph.op("Add", _one(1, equation), x))


def _expm1(graph: Graph, equation: Any, x: Value) -> str:
    return graph.op("Sub", graph.op("Exp", x), _one(1, equation))


def _square(graph: Graph, _: Any, x: Value) -> str:
    return graph.op("Mul", x, x)


def _integer_pow(graph: Graph, equation: Any, x: Value) -> str:
    return graph.op("Pow", x, _one(equation.params["y"], equation))


def _ne(graph: Graph, _: Any, a: Value, b: Value) -> str:
    return graph.op("Not", graph.op("Equal", a, b))


def _rem(graph: Graph, _: Any, a: Value, b: Value) -> str:
    return graph.op("Mod", a, b, fmod=1)


def _clamp(graph: Graph, _: Any, low: Value, x: Value, high: Value) -> str:
    return graph.op("Min", graph.op("Max", x, low), high)


def _select(graph: Graph, _: Any, which: Value, *cases: Value) -> str:
    if len(cases) != 2:
        raise Unsupported("select_n of other than two")
    return graph.op("Where", which, cases[1], cases[0])


def _convert(graph: Graph, equation: Any, x: Value) -> str:
    return graph.op("Cast", x, to=_type(equation.params["new_dtype"]))


def _broadcast(graph: Graph, equation: Any, x: Value, *_: Value) -> str:
    shape = list(_out(equation))
    given = dict(zip(equation.params["broadcast_dimensions"], _sizes_of(equation.invars[0]), strict=True))
    thin = [given.get(axis, 1) for axis in range(len(shape))]
    x = graph.reshape(x, thin)
    return x if thin == shape else graph.op("Expand", x, graph.sizes(shape))


def _reshape(graph: Graph, equation: Any, x: Value, *_: Value) -> str:
    return graph.reshape(x, _out(equation))


def _transpose(graph: Graph, equation: Any, x: Value) -> str:
    return graph.op("Transpose", x, perm=list(equation.params["permutation"]))


def _reduce(graph: Graph, equation: Any, x: Value) -> str:
    axes = np.array(equation.params["axes"], np.int64)
    return graph.op(_REDUCED[equation.primitive.name], x, axes, keepdims=0)


def _concatenate(graph: Graph, equation: Any, *parts: Value) -> str:
    return graph.op("Concat", *parts, axis=equation.params["dimension"])


def _pad(graph: Graph, equation: Any, x: Value, value: Value) -> str:
    low, high, within = zip(*equation.params["padding_config"], strict=True)
    if any(within):
        raise Unsupported("pad within")
    return graph.op("Pad", x, graph.sizes((*low, *high)), value)


def _slice(graph: Graph, equation: Any, x: Value) -> str:
    starts, ends = (graph.sizes(equation.params[f"{name}_indices"]) for name in ("start", "limit"))
    axes = range(len(_sizes_of(equation.invars[0])))
    return graph.slice(x, starts, ends, axes, equation.params["strides"] or [1] * len(axes))


def _reverse(graph: Graph, equation: Any, x: Value) -> str:
    axes = equation.params["dimensions"]
    lowest = np.full(len(axes), np.iinfo(np.int64).min)
    return graph.slice(x, np.full(len(axes), -1), lowest, axes, [-1] * len(axes))


def _split(graph: Graph, equation: Any, x: Value) -> list[str]:
    axis, found, start = equation.params["axis"], [], 0
    for size in equation.params["sizes"]:
        found.append(graph.slice(x, graph.sizes([start]), graph.sizes([start + size]), [axis], [1]))
        start = start + size
    return found


def _iota(graph: Graph, equation: Any, *_: Value) -> str:
    shape, axis = _out(equation), equation.params["dimension"]
    size = graph.size(shape[axis])
    end: Value = np.array(size, np.int64) if isinstance(size, int) else graph.reshape(size, [])
    x: Value = graph.op("Range", np.array(0, np.int64), end, np.array(1, np.int64))
    x = graph.op("Cast", x, to=_type(equation.params["dtype"]))
    if len(shape) == 1:
        return x
    x = graph.reshape(x, [shape[axis] if one == axis else 1 for one in range(len(shape))])
    return graph.op("Expand", x, graph.sizes(shape))


def _size_value(graph: Graph, equation: Any, *_: Value) -> Value:
    size = graph.size(equation.params["dim"])
    dtype = equation.outvars[0].aval.dtype
    if isinstance(size, int):
        return np.array(size, dtype)
    return graph.op("Cast", graph.reshape(size, []), to=_type(dtype))


def _gather(graph: Graph, equation: Any, x: Value, indices: Value) -> str:
    about, sizes = equation.params["dimension_numbers"], equation.params["slice_sizes"]
    shape, places = _sizes_of(equation.invars[0]), _sizes_of(equation.invars[1])
    if len(places) == 1 and not about.operand_batching_dims:
        starts = graph.op("Cast", indices, to=_type(np.int64))
        axes = about.start_index_map
        ends = graph.op("Add", starts, graph.sizes(sizes[axis] for axis in axes))
        return graph.reshape(graph.slice(x, starts, ends, axes, [1] * len(axes)), _out(equation))
    if len(about.start_index_map) != 1 or about.collapsed_slice_dims != about.start_index_map:
        raise Unsupported("gather of several axes")
    (axis,) = about.start_index_map
    places = places[:-1]
    indices = graph.reshape(indices, places)
    batching, rest = about.operand_batching_dims, [one for one in range(len(shape)) if one != axis]
    if not batching and all(sizes[one] == shape[one] for one in rest):
        found = tuple(range(axis, axis + len(places)))
        if tuple(one for one in range(len(_out(equation))) if one not in about.offset_dims) == found:
            return graph.op("Gather", x, indices, axis=axis)
    if list(batching) == rest and list(about.start_indices_batching_dims) == rest and len(places) == len(shape):
        return graph.op("GatherElements", x, indices, axis=axis)
    raise Unsupported("gather in this form")


def _convolution(graph: Graph, equation: Any, x: Value, kernel: Value) -> Value:
    given, about = equation.params, equation.params["dimension_numbers"]
    if any(one != 1 for one in given["lhs_dilation"]) or given["batch_group_count"] != 1:
        raise Unsupported("transposed convolution")
    y = graph.op(
        "Conv",
        _permuted(graph, x, about.lhs_spec),
        _permuted(graph, kernel, about.rhs_spec),
        strides=list(given["window_strides"]),
        pads=[low for low, _ in given["padding"]] + [high for _, high in given["padding"]],
        dilations=list(given["rhs_dilation"]),
        group=given["feature_group_count"],
    )
    return _permuted(graph, y, [about.out_spec.index(axis) for axis in range(len(about.out_spec))])


def _dot(graph: Graph, equation: Any, a: Value, b: Value) -> str:
    (contracted_a, contracted_b), (batch_a, batch_b) = equation.params["dimension_numbers"]
    shape_a, shape_b = (_sizes_of(one) for one in equation.invars)
    free_a, free_b = (
        [axis for axis in range(len(shape)) if axis not in (*contracted, *batch)]
        for shape, contracted, batch in ((shape_a, contracted_a, batch_a), (shape_b, contracted_b, batch_b))
    )
    if len(contracted_a) == 1 and len(free_b) == 1 and (not batch_a or len(free_a) == 1):
        x = _permuted(graph, a, [*batch_a, *free_a, *contracted_a])
        y = _permuted(graph, b, [*batch_b, *contracted_b, *free_b])
        return graph.op("MatMul", x, y)
    letters = iter(string.ascii_lowercase)
    of_a = [next(letters) for _ in shape_a]
    of_b = [next(letters) for _ in shape_b]
    for one, other in zip((*contracted_a, *batch_a), (*contracted_b, *batch_b), strict=True):
        of_b[other] = of_a[one]
    result = [of_a[axis] for axis in (*batch_a, *free_a)] + [of_b[axis] for axis in free_b]
    return graph.op("Einsum", a, b, equation=f"{''.join(of_a)},{''.join(of_b)}->{''.join(result)}")


def _permuted(graph: Graph, x: Value, order: Sequence[int]) -> Value:
    if list(order) == list(range(len(order))):
        return x
    return x.transpose(order) if isinstance(x, np.ndarray) else graph.op("Transpose", x, perm=list(order))


def _fourier(graph: Graph, equation: Any, x: Value) -> tuple[str, str]:
    """A real spectrum as (real, imaginary part): a product with the matrix of its lines, which are few here."""
    (samples,) = equation.params["fft_lengths"]
    if equation.params["fft_type"] != jax.lax.FftType.RFFT:
        raise Unsupported("fft other than of real values")
    angle = 2 * np.pi * (np.outer(np.arange(samples), np.arange(samples // 2 + 1)) % samples) / samples
    real, imaginary = (graph.op("MatMul", x, part.astype(np.float32)) for part in (np.cos(angle), -np.sin(angle)))
    return real, imaginary


_OTHERS: dict[str, Callable[..., Any]] = {
    "rsqrt": _rsqrt, "erfc": _erfc, "log1p": _log1p, "expm1": _expm1, "square": _square, "integer_pow": _integer_pow,
    "ne": _ne, "rem": _rem, "clamp": _clamp, "select_n": _select, "convert_element_type": _convert,
    "broadcast_in_dim": _broadcast, "reshape": _reshape, "squeeze": _reshape, "expand_dims": _reshape,
    "transpose": _transpose, "reduce_sum": _reduce, "reduce_max": _reduce, "reduce_min": _reduce,
    "concatenate": _concatenate, "pad": _pad, "slice": _slice, "rev": _reverse, "split": _split, "iota": _iota,
    "dim_as_value": _size_value, "gather": _gather, "conv_general_dilated": _convolution, "dot_general": _dot,
    "fft": _fourier, "real": lambda _, __, x: x[0], "imag": lambda _, __, x: x[1],
}  # fmt: skip
