"""How training is laid out on devices: rows of a batch over the mesh axis `data`, parameters by a table of their paths.

The same program serves one device, several, and several hosts: pjit, that is `jax.jit` with `NamedSharding`, on the
mesh of `mesh.py`, whose axes the compiler places (`AxisType.Auto`). With `fully_sharded`, parameters and the
optimizer's moments are spread over `data` and gathered layer by layer where they are used; the axis `model` splits
attention heads and the inner features of feed-forwards.
"""

import logging
import math
import re
from collections.abc import Sequence
from typing import Any

import jax
import numpy as np
from jax.sharding import NamedSharding, PartitionSpec

from urgentmos_jax.data.batching import BatchArrays, HostRows
from urgentmos_jax.training.mesh import MeshConfig, make_mesh

logger = logging.getLogger(__name__)

P = PartitionSpec
# Path pattern -> spec of the last dimensions; stacked layers have one more before them. The first that fits holds, and
# what fits none is on every device. Moments of the optimizer end in the path of their parameter.
RULES = (
    (r"(query|key|value)\.kernel$", P("data", "model")),
    (r"(query|key|value)\.bias$", P("model")),
    (r"(attention|cross)\.out\.kernel$", P("model", "data")),
    (r"feed_in\.kernel$", P("data", "model")),
    (r"feed_in\.bias$", P("model")),
    (r"feed_out\.kernel$", P("model", "data")),
    (r"(conv\w*|position|stem\.\d+)\.kernel$", P(None, "data")),
    (r"positions$", P(None, "data")),
    (r"\.kernel$", P("data", None)),
)
# Parameters of more elements that stay whole on every device of a mesh that shards are reported.
LARGE = 1_000_000


class Layout:
    """Where arrays of training lie.

    Args:
        config: Axes of the mesh.
        devices: None = those of all hosts.

    Raises:
        ValueError: the axes do not fit the number of devices.
    """

    def __init__(self, config: MeshConfig, devices: Sequence[jax.Device] | None = None):
        self.mesh = make_mesh(config, devices)
        self.fully_sharded = config.fully_sharded
        self.replicated = NamedSharding(self.mesh, P())
        self.by_row = NamedSharding(self.mesh, P("data"))
        local = np.vectorize(lambda device: device.process_index == jax.process_index())(self.mesh.devices)
        self.rows = HostRows(self.mesh.shape["data"], tuple(np.flatnonzero(local.any(1)).tolist()))
        self._gather = jax.jit(lambda tree: tree, out_shardings=self.replicated)

    def spec(self, path: str, shape: Sequence[int]) -> PartitionSpec:
        """Spec of a parameter by its path, `categories.mos.stacked.feed_in.kernel`, and shape.

        An axis that does not divide its dimension is left out.
        """
        wanted = next((spec for pattern, spec in RULES if re.search(pattern, path)), P())
        entries = [None] * (len(shape) - len(wanted)) + list(wanted)[max(0, len(wanted) - len(shape)) :]
        axes = {axis for axis in ("data", "model") if self.mesh.shape[axis] > 1}
        axes -= set() if self.fully_sharded else {"data"}
        kept = [
            axis if axis in axes and size % self.mesh.shape[axis] == 0 else None
            for axis, size in zip(entries, shape, strict=True)
        ]
        return P(*kept) if any(kept) else P()

    def shardings(self, tree: Any) -> Any:
        """Shardings of a tree of parameters, moments and scalars (arrays or their shapes)."""
        return jax.tree.map_with_path(
            lambda path, x: NamedSharding(self.mesh, self.spec(path_name(path), x.shape)), tree
        )

    def gathered(self, tree: Any) -> Any:
        """Inside a program: parameters gathered over `data`, for the operations that use them.

        Without it the compiler may exchange activations in place of parameters: for all of the batch.
        """
        return jax.tree.map_with_path(
            lambda path, x: jax.lax.with_sharding_constraint(x, self._over_model(path_name(path), x.shape)), tree
        )

    def _over_model(self, path: str, shape: Sequence[int]) -> NamedSharding:
        spec = (axis if axis == "model" else None for axis in self.spec(path, shape))
        return NamedSharding(self.mesh, P(*spec))

    def specs(self, tree: Any) -> dict[str, PartitionSpec]:
        """Specs by path, for people and tests."""
        return {path_name(path): self.spec(path_name(path), x.shape) for path, x in jax.tree.leaves_with_path(tree)}

    def report_large(self, tree: Any) -> list[str]:
        """Warns of large parameters that stay whole on every device though the mesh shards; returns their paths."""
        if not self.fully_sharded and self.mesh.shape["model"] == 1:
            return []
        shapes = {path_name(path): x.shape for path, x in jax.tree.leaves_with_path(tree)}
        large = [name for name, shape in shapes.items() if math.prod(shape) > LARGE and self.spec(name, shape) == P()]
        if large:
            logger.warning("on every device, though the mesh shards: %s", ", ".join(large))
        return large

    def put(self, tree: Any) -> Any:
        """Parameters, the same on every host, onto the devices."""
        return jax.tree.map(_put, tree, self.shardings(tree))

    def whole(self, x: Any) -> jax.Array:
        """An array, the same on every host, whole on every device."""
        return _put(x, self.replicated)

    def put_rows(self, arrays: BatchArrays) -> BatchArrays:
        """This host's rows, as `rows` numbers them, as arrays of the global batch; copied while the devices compute."""
        if jax.process_count() == 1:
            return jax.device_put(arrays, self.by_row)
        count = len(self.rows.positions)

        def put(local: np.ndarray) -> jax.Array:
            each = len(local) // count
            shape = (each * self.rows.axis, *local.shape[1:])

            def part(index: tuple[slice, ...] | None) -> np.ndarray:
                assert index is not None
                position = self.rows.positions.index((index[0].start or 0) // each)
                return local[position * each : (position + 1) * each]

            return jax.make_array_from_callback(shape, self.by_row, part)

        return jax.tree.map(put, arrays)

    def gather(self, tree: Any) -> Any:
        """The tree whole on every device of the mesh."""
        return self._gather(tree)


def path_name(path: Sequence[Any]) -> str:
    """`categories.mos.stacked.feed_in.kernel`, from a path of `jax.tree`."""
    return jax.tree_util.keystr(tuple(path), simple=True, separator=".").removesuffix(".value")


def _put(x: Any, sharding: NamedSharding) -> jax.Array:
    if sharding.is_fully_addressable:
        return jax.device_put(x, sharding)
    x = np.asarray(x)
    return jax.make_array_from_callback(x.shape, sharding, lambda index: x[index])
