"""A graph of ONNX while it grows: nodes, weights, and sizes that are known only when it runs.

A value is a numpy array where it is known, else the name of a tensor. Sizes are integers, or symbolic dimensions of
`jax.export`, whose text is an expression in the sizes of the input.
"""

from __future__ import annotations  # Those of onnx, which may be missing, are not evaluated.

import ast
import contextlib
import operator
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np

with contextlib.suppress(ModuleNotFoundError):  # `exporting.onnx` says so where it is needed.
    import onnx
    from onnx import helper, numpy_helper

Value = np.ndarray | str

OPSET, IR_VERSION = 18, 9
# Smaller weights are not worth a node that makes float32 of them.
_HALF_FROM = 1024

_ARITHMETIC = {ast.Add: "Add", ast.Sub: "Sub", ast.Mult: "Mul", ast.FloorDiv: "Div", ast.Mod: "Mod"}
_FOLDED: dict[str, Callable[[int, int], int]] = {
    "Add": operator.add, "Sub": operator.sub, "Mul": operator.mul, "Div": operator.floordiv, "Mod": operator.mod,
    "Max": max, "Min": min,
}  # fmt: skip


class Graph:
    """Nodes in order; `op` adds one, and gives the name of its output."""

    def __init__(self) -> None:
        self.nodes: list[onnx.NodeProto] = []
        self._weights: dict[str, onnx.TensorProto] = {}
        self._names: dict[Any, str] = {}
        self._sizes: dict[str, int | str] = {}
        # An id is that of a live array.
        self._alive: list[np.ndarray] = []
        self._count = 0

    def _name(self) -> str:
        self._count += 1
        return f"v{self._count}"

    def op(self, kind: str, *inputs: Value, **attributes: Any) -> str:
        """Adds a node; arrays among its inputs become weights. Returns the name of its output."""
        output = self._name()
        names = [self.name(value) for value in inputs]
        self.nodes.append(helper.make_node(kind, names, [output], **attributes))
        return output

    def name(self, value: Value) -> str:
        """Name of a value: of an array, that of a weight, kept in float16 where nothing is lost by that."""
        if isinstance(value, str):
            return value
        key = value.dtype.str, value.shape, value.tobytes() if value.size < _HALF_FROM else id(value)
        if key not in self._names:
            stored, half = value, None
            if value.dtype == np.float32 and value.size >= _HALF_FROM:
                with np.errstate(over="ignore"):
                    half = value.astype(np.float16)
                stored = half if np.array_equal(half.astype(np.float32), value) else value
            name = self._name()
            self._weights[name] = numpy_helper.from_array(np.ascontiguousarray(stored), name)
            self._names[key] = name
            if stored is half:
                self._names[key] = self.op("Cast", name, to=onnx.TensorProto.FLOAT)
            self._alive.append(value)
        return self._names[key]

    def size_input(self, symbol: str, tensor: str, axis: int) -> None:
        """Names the size of an axis of an input."""
        shape = self.op("Shape", tensor, start=axis, end=axis + 1)
        self._sizes[symbol] = shape

    def size(self, dimension: Any) -> int | str:
        """A size: a number, or the name of a tensor int64 [1]."""
        text = str(dimension)
        if text not in self._sizes:
            self._sizes[text] = self._evaluated(ast.parse(text.replace("^", "**"), mode="eval").body)
        return self._sizes[text]

    def _evaluated(self, node: ast.expr) -> int | str:
        if isinstance(node, ast.Constant) and isinstance(node.value, int):
            return node.value
        if isinstance(node, ast.Name):
            return self._sizes[node.id]
        if isinstance(node, ast.UnaryOp):
            return self._combined("Sub", 0, self._evaluated(node.operand))
        if isinstance(node, ast.BinOp):
            if isinstance(node.op, ast.Pow):
                value, power = self._evaluated(node.left), int(ast.literal_eval(node.right))
                found: int | str = 1
                for _ in range(power):
                    found = self._combined("Mul", found, value)
                return found
            kind = _ARITHMETIC[type(node.op)]
            return self._combined(kind, self._evaluated(node.left), self._evaluated(node.right))
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
            kind = {"floordiv": "Div", "mod": "Mod", "max": "Max", "min": "Min"}[node.func.id]
            return self._combined(kind, *(self._evaluated(one) for one in node.args))
        raise NotImplementedError(f"the size {ast.dump(node)}")

    def _combined(self, kind: str, a: int | str, b: int | str) -> int | str:
        if isinstance(a, int) and isinstance(b, int):
            return _FOLDED[kind](a, b)
        x, y = (np.array([one], np.int64) if isinstance(one, int) else one for one in (a, b))
        if kind != "Div":
            return self.op(kind, x, y)
        # ONNX divides towards zero: (x - mod(x, y)) / y is exact, and mod has the sign of y.
        return self.op("Div", self.op("Sub", x, self.op("Mod", x, y)), y)

    def sizes(self, dimensions: Iterable[Any]) -> Value:
        """Sizes as one tensor int64 [n]."""
        parts = [self.size(one) for one in dimensions]
        if all(isinstance(one, int) for one in parts):
            return np.array(parts, np.int64)
        return self.op("Concat", *(np.array([one], np.int64) if isinstance(one, int) else one for one in parts), axis=0)

    def reshape(self, x: Value, dimensions: Sequence[Any]) -> str:
        """A tensor with other sizes."""
        return self.op("Reshape", x, self.sizes(dimensions))

    def slice(self, x: Value, starts: Value, ends: Value, axes: Sequence[int], steps: Sequence[int]) -> str:
        """Part of a tensor; starts and ends int64 [n]."""
        return self.op("Slice", x, starts, ends, np.array(axes, np.int64), np.array(steps, np.int64))

    def model(
        self, inputs: Sequence[onnx.ValueInfoProto], outputs: Sequence[onnx.ValueInfoProto], about: dict[str, str]
    ) -> onnx.ModelProto:
        """The model, without nodes and weights that no output needs."""
        needed, kept = {one.name for one in outputs}, []
        for node in reversed(self.nodes):
            if node.output[0] in needed:
                kept.append(node)
                needed.update(node.input)
        weights = [weight for name, weight in self._weights.items() if name in needed]
        graph = helper.make_graph(kept[::-1], "urgentmos", inputs, outputs, weights)
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=IR_VERSION)
        helper.set_model_props(model, about)
        return model
