"""The mesh of devices that a run computes on: axis `data` for rows of batches, `model` for heads and features."""

import dataclasses
from collections.abc import Sequence

import jax
from jax.experimental import mesh_utils
from jax.sharding import AxisType, Mesh

from urgentmos_jax.schema import at_least


@dataclasses.dataclass(frozen=True)
class MeshConfig:
    """Axes of the mesh.

    Args:
        data: Devices that share the rows of a batch; -1 = all that `model` leaves.
        model: Devices that share attention heads and feed-forwards.
        fully_sharded: Whether parameters and moments are spread over `data` too.
    """

    data: int = dataclasses.field(metadata=at_least(-1))
    model: int
    fully_sharded: bool


def make_mesh(config: MeshConfig, devices: Sequence[jax.Device] | None = None) -> Mesh:
    """The mesh (`data`, `model`) over the given devices; None = those of all hosts.

    Several slices of TPUs (or hosts of GPUs that fast links do not join) follow each other on `data`: only it leads
    from one to the next.

    Raises:
        ValueError: their number does not fit, or is not shared evenly by the slices.
    """
    devices = list(devices or jax.devices())
    sizes, names, types = mesh_sizes(config, len(devices)), ("data", "model"), (AxisType.Auto,) * 2
    slices = len({getattr(device, "slice_index", 0) for device in devices})
    if slices == 1:
        return jax.make_mesh(sizes, names, axis_types=types, devices=devices)
    data, model = sizes
    if data % slices:
        raise ValueError(
            f"mesh: data {data} is not a multiple of the {slices} slices; set mesh.model to a divisor of one"
        )
    # `jax.make_mesh` refuses several slices.
    placed = mesh_utils.create_hybrid_device_mesh(
        (data // slices, model), (slices, 1), devices, allow_split_physical_axes=True
    )
    return Mesh(placed, names, axis_types=types)


def mesh_sizes(config: MeshConfig, devices: int) -> tuple[int, int]:
    """Sizes of the axes `data` and `model`.

    Raises:
        ValueError: the number of devices does not fit.
    """
    data = devices // max(1, config.model) if config.data == -1 else config.data
    if data < 1 or config.model < 1 or data * config.model != devices:
        raise ValueError(
            f"mesh: data {config.data} x model {config.model} does not fit {devices} devices; set mesh.data to -1 and "
            f"mesh.model to a divisor of their number"
        )
    return data, config.model
