"""What a run would take, before anything is downloaded or compiled."""

from collections.abc import Mapping
from typing import Any

from urgentmos_jax.audio.loading import SAMPLE_RATE_HZ
from urgentmos_jax.model.cost import format_sizes, training_bytes
from urgentmos_jax.training.config import read_config
from urgentmos_jax.training.mesh import mesh_sizes
from urgentmos_jax.training.start import with_sizes


def describe_run(values: Mapping[str, Any], devices: int, *, name: str = "config") -> str:
    """Parameters by part, operations, and an estimate of the memory of a device.

    The memory is that of the fullest batches there can be: of short clips, as many as the config allows, and of the
    longest ones. It is an estimate: XLA's own plan was 1 to 1.4 times as much where both were looked at.

    Args:
        values: The config, see `training.config`.
        devices: Of the mesh.
        name: Of the config file, for messages.

    Raises:
        ConfigError: keys are unknown, missing or wrong.
        ModelNotFound, ValueError: the sizes of an encoder are neither known nor to be found, or the mesh does not fit.
    """
    config = read_config(values, name=name)
    model = with_sizes(config.model, offline=True)
    batch, longest = config.batch, config.data.max_seconds
    lines = format_sizes(model)
    shapes = {
        batch.clips: min(longest, batch.seconds / batch.clips),
        max(1, min(batch.clips, int(batch.seconds / longest))): longest,
    }
    data, split = mesh_sizes(config.mesh, devices)
    shards = split * (data if config.mesh.fully_sharded else 1)
    for rows, seconds in shapes.items():
        need = training_bytes(model, -(-rows // data), round(seconds * SAMPLE_RATE_HZ), shards=shards)
        lines.append(
            f"memory of a device, estimated: {need / 1e9:.1f} GB with {rows} pairs of {seconds:.1f} s on {devices} "
            f"device{'s' if devices > 1 else ''}"
        )
    return "\n".join(lines)
