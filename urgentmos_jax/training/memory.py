"""Whether the largest batch fits the memory of a device, before the first update."""

import math
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import jax

from urgentmos_jax.audio.loading import SAMPLE_RATE_HZ
from urgentmos_jax.data.batching import BatchArrays, BatchShape
from urgentmos_jax.data.reading import BatchReader
from urgentmos_jax.model.cost import activation_bytes
from urgentmos_jax.model.urgentmos import ModelConfig
from urgentmos_jax.training.sharding import Layout
from urgentmos_jax.training.step import TrainStep


class OutOfMemory(RuntimeError):
    """A batch does not fit the memory of a device; the message gives its shape and what to lower."""


def check_largest(
    step: TrainStep,
    frozen: Any,
    reader: BatchReader,
    layout: Layout,
    config: ModelConfig,
    *,
    accumulate: int,
    limit: float | None,
) -> float:
    """Compiles the step for the largest batch of the first epoch and looks at the compiler's plan of its memory.

    The step keeps compiled shapes, so nothing is compiled twice. The config tells which batch is the largest; if the
    limit, bytes of a device, is not known, nothing is refused.

    Returns:
        Bytes that a device needs: state, parameters, gradients and what the batch takes.

    Raises:
        OutOfMemory: they are more than the limit.
    """
    largest = max(reader.plan.shapes(), key=lambda x: activation_bytes(config, x.rows * x.sides / 2, x.samples))
    batch = abstract_batch(reader, layout, largest)
    try:
        found = step.compiled(frozen, batch).memory_analysis()
    except jax.errors.JaxRuntimeError as error:
        if "RESOURCE_EXHAUSTED" in str(error):
            raise OutOfMemory(_advice(largest, None, limit)) from error
        raise
    if found is None:
        return math.nan
    # The state's parameters are arguments of the step; the moments lie beside them.
    moments = sum(device_bytes_of(x) for x in jax.tree.leaves(step.abstract.optimizer))
    need = found.argument_size_in_bytes + found.output_size_in_bytes + found.temp_size_in_bytes + moments
    need -= found.alias_size_in_bytes
    if accumulate > 1:  # The sum of the gradients before.
        need += sum(device_bytes_of(x) for x in jax.tree.leaves(step.abstract.trained))
    if limit is not None and need > limit:
        raise OutOfMemory(_advice(largest, need, limit))
    return float(need)


def abstract_batch(reader: BatchReader, layout: Layout, shape: BatchShape) -> BatchArrays:
    """Shapes, dtypes and shardings of the arrays of a batch on the devices."""
    return on_devices(reader.array_shapes(filled_up(shape, layout)), layout)


def filled_up(shape: BatchShape, layout: Layout) -> BatchShape:
    """The shape with as many empty rows more as the devices take to share them evenly."""
    axis = layout.rows.axis
    return shape._replace(rows=-(-shape.rows // axis) * axis)


def on_devices(arrays: BatchArrays, layout: Layout) -> BatchArrays:
    """Shapes of a batch's arrays with their shardings."""
    return jax.tree.map(lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=layout.by_row), arrays)


def device_bytes_of(x: jax.ShapeDtypeStruct) -> int:
    """Bytes of an array on one of its devices."""
    return math.prod(x.sharding.shard_shape(x.shape)) * x.dtype.itemsize


def as_out_of_memory(error: Exception, shapes: Sequence[BatchShape]) -> OutOfMemory | None:
    """An `OutOfMemory` where the error says that a device ran out of it in an update with such batches, else None."""
    if "RESOURCE_EXHAUSTED" not in str(error) or not shapes:
        return None
    return OutOfMemory(_advice(max(shapes, key=math.prod), None, None))


def device_bytes(device: jax.Device) -> float | None:
    """Memory of a device that may be used; of a CPU, what is available, over the devices that share it."""
    stats = device.memory_stats() or {}
    if "bytes_limit" in stats:
        return float(stats["bytes_limit"])
    if device.platform != "cpu":
        return None
    found = []
    if Path("/proc/meminfo").exists():
        lines = dict(line.split(":", 1) for line in Path("/proc/meminfo").read_text().splitlines())
        found.append(1024.0 * int(lines["MemAvailable"].split()[0]))
    limit, used = Path("/sys/fs/cgroup/memory.max"), Path("/sys/fs/cgroup/memory.current")
    if limit.exists() and limit.read_text().strip().isdigit():
        found.append(float(limit.read_text()) - float(used.read_text()))
    if not found:
        found.append(float(os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")))
    return min(found) / jax.local_device_count()


def _advice(shape: BatchShape, need: float | None, limit: float | None) -> str:
    rows, sides, samples = shape
    seconds = samples / SAMPLE_RATE_HZ
    wanted = "" if need is None else f" needs {need / 1e9:.2f} GB of a device"
    there = "" if limit is None else f", {limit / 1e9:.2f} GB are available"
    return (
        f"the largest batch, {rows} rows of {sides} x {seconds:.1f} s ({math.prod(shape)} samples),"
        f"{wanted or ' does not fit the memory of a device'}{there}. Lower --config.batch.seconds (and raise "
        f"--config.batch.accumulate, which keeps what an update sees), or --config.data.max_seconds; or set "
        f"--config.remat or --config.precision=bfloat16"
    )
