"""ONNX: the scores as a graph for onnxruntime, in programs and browsers. Extra `[onnx]`.

The operations of jax are written as those of ONNX one by one. (jax2onnx does so for all of jax; it asks for an
orbax-checkpoint that training here cannot have, and fixes the length of the rows.) What is computed of weights alone is
computed now, layers that are one scan follow one another, and the spectrum is a product with a matrix.
"""

import contextlib
import functools
import json
from collections.abc import Sequence
from typing import Any

import jax
import numpy as np

from urgentmos_jax.exporting.onnx_graph import Graph, Value
from urgentmos_jax.exporting.onnx_operations import Unsupported, lower
from urgentmos_jax.exporting.program import ExportError, Program
from urgentmos_jax.lazy import need

with contextlib.suppress(ModuleNotFoundError):
    import onnx
    import onnxruntime
    from onnx import helper

_CALLED = ("jit", "closed_call", "custom_jvp_call", "custom_vjp_call", "remat2")
_MAX_BYTES = 2**31 - 2**20


def to_onnx(program: Program) -> bytes:
    """The content of a file.

    Raises:
        ExportError: An operation is not known here, or the model is larger than the 2 GB of such a file.
        ModuleNotFoundError: onnx or onnxruntime are missing.
    """
    need(("onnx", "onnxruntime"), "onnx")
    graph = Graph()
    waveform, lengths = program.inputs
    inputs = []
    for name, spec, kind in (("waveform", waveform, "FLOAT"), ("lengths", lengths, "INT32")):
        shape = [one if isinstance(one, int) else str(one) for one in spec.shape]
        inputs.append(helper.make_tensor_value_info(name, getattr(onnx.TensorProto, kind), shape))
    for axis, size in enumerate(waveform.shape):
        if not isinstance(size, int):
            graph.size_input(str(size), "waveform", axis)
    closed = jax.make_jaxpr(program.function)(*program.inputs)
    try:
        found = _lowered(graph, closed.jaxpr, closed.consts, ["waveform", "lengths"])
    except Unsupported as error:
        raise ExportError(f"ONNX: the model computes what is not known here ({error}); StableHLO takes it") from None
    outputs = []
    for name, value in zip(program.metrics, found, strict=True):
        graph.nodes.append(helper.make_node("Identity", [graph.name(value)], [name]))
        outputs.append(helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, [str(waveform.shape[0])]))
    model = graph.model(inputs, outputs, {"urgentmos": json.dumps(program.about())})
    if model.ByteSize() > _MAX_BYTES:
        raise ExportError("ONNX: the model is larger than 2 GB, which one file cannot hold; StableHLO can")
    onnx.checker.check_model(model)
    return bytes(model.SerializeToString())


def _lowered(graph: Graph, jaxpr: Any, consts: Sequence[Any], inputs: Sequence[Any]) -> list[Any]:
    """The outputs of a jaxpr."""
    known: dict[Any, Any] = dict(zip(jaxpr.invars, inputs, strict=True))
    known.update(zip(jaxpr.constvars, map(np.asarray, consts), strict=True))

    def read(variable: Any) -> Any:
        if hasattr(variable, "val"):
            return np.asarray(variable.val, variable.aval.dtype)
        return known[variable]

    for equation in jaxpr.eqns:
        values = [read(one) for one in equation.invars]
        found = _found(graph, equation, values)
        several = isinstance(found, list)
        known.update(zip(equation.outvars, found if several else [found], strict=True))
    return [read(one) for one in jaxpr.outvars]


def _found(graph: Graph, equation: Any, values: list[Any]) -> Any:
    """The output of an equation, or a list of several."""
    name = equation.primitive.name
    if name in _CALLED:
        inner = equation.params["jaxpr" if "jaxpr" in equation.params else "call_jaxpr"]
        return _lowered(graph, getattr(inner, "jaxpr", inner), getattr(inner, "consts", []), values)
    if name == "scan":
        return _unrolled(graph, equation.params, values)
    sizes = [size for one in (*equation.invars, *equation.outvars) for size in one.aval.shape]
    known = all(isinstance(one, np.ndarray) for one in values) and all(isinstance(one, int) for one in sizes)
    if known and name != "dim_as_value" and not equation.primitive.multiple_results:
        with jax.default_device(jax.local_devices(backend="cpu")[0]):
            return np.asarray(_bound(equation)(*values))
    return lower(graph, equation, values)


def _bound(equation: Any) -> Any:
    if equation.primitive.name == "reshard":
        return lambda x: x
    return functools.partial(equation.primitive.bind, **equation.params)


def _unrolled(graph: Graph, about: dict[str, Any], values: list[Any]) -> list[Any]:
    """A scan, step by step."""
    consts, carried = about["num_consts"], about["num_carry"]
    fixed, state, series = values[:consts], values[consts : consts + carried], values[consts + carried :]
    if not all(isinstance(one, np.ndarray) for one in series):
        raise Unsupported("scan over other than weights")
    steps = range(about["length"])
    outputs: list[list[Value]] = []
    for step in reversed(steps) if about["reverse"] else steps:
        found = _lowered(
            graph, about["jaxpr"].jaxpr, about["jaxpr"].consts, [*fixed, *state, *(one[step] for one in series)]
        )
        state = found[:carried]
        outputs.append(found[carried:])
    if about["reverse"]:
        outputs.reverse()
    stacked = [graph.op("Concat", *(_thick(graph, x) for x in column), axis=0) for column in zip(*outputs, strict=True)]
    return [*state, *stacked]


def _thick(graph: Graph, x: Value) -> str:
    return graph.op("Unsqueeze", x, np.array([0], np.int64))


class ONNX:
    """Such a file in onnxruntime, on the CPU."""

    def __init__(self, content: bytes):
        options = onnxruntime.SessionOptions()
        options.log_severity_level = 3
        self._session = onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])

    def __call__(self, waveform: np.ndarray, lengths: np.ndarray) -> Sequence[np.ndarray]:
        """Scores [B] of each metric, in order."""
        return list(self._session.run(None, {"waveform": waveform, "lengths": lengths}))
