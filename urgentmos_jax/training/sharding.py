"""How training is laid out on devices: rows of a batch over the mesh axis `data`, parameters on every device."""

from collections.abc import Sequence

import jax
import numpy as np
from jax.sharding import AxisType, Mesh, NamedSharding, PartitionSpec

__all__ = ["by_row", "make_mesh", "put_rows", "replicated"]


def make_mesh(devices: Sequence[jax.Device] | None = None) -> Mesh:
    """A mesh with one axis, `data`, over the given devices; None = all local ones."""
    devices = list(devices or jax.local_devices())
    return jax.make_mesh((len(devices),), ("data",), axis_types=(AxisType.Auto,), devices=devices)


def replicated(mesh: Mesh) -> NamedSharding:
    """The same on every device."""
    return NamedSharding(mesh, PartitionSpec())


def by_row(mesh: Mesh) -> NamedSharding:
    """First axis over `data`."""
    return NamedSharding(mesh, PartitionSpec("data"))


def put_rows(mesh: Mesh, arrays: dict[str, np.ndarray]) -> dict[str, jax.Array]:
    """Arrays [R, ...] on the devices, filled up with zero rows (masks: False) where the axis does not divide R."""
    missing = -len(arrays["lengths"]) % mesh.shape["data"]
    if missing:
        arrays = {name: np.pad(x, [(0, missing)] + [(0, 0)] * (x.ndim - 1)) for name, x in arrays.items()}
    return jax.device_put(arrays, by_row(mesh))
