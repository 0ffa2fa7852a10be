"""What a run would take of a slice of TPUs: its step, compiled from the config alone, without a TPU and weights."""

from collections import defaultdict
from collections.abc import Mapping
from typing import Any, Literal

import jax
from flax import nnx

from urgentmos_jax.accelerators.chips import Slice
from urgentmos_jax.accelerators.plan import Plan, compile_plan, format_plan
from urgentmos_jax.audio.loading import SAMPLE_RATE_HZ
from urgentmos_jax.data.batching import BatchShape, array_shapes, rows_of
from urgentmos_jax.data.plan import MIN_SECONDS, RATIO
from urgentmos_jax.model.cost import activation_bytes
from urgentmos_jax.model.urgentmos import ModelConfig, UrgentMOS
from urgentmos_jax.scoring.batching import bucket_of, bucket_sizes
from urgentmos_jax.scoring.slices import COMMON_SECONDS
from urgentmos_jax.training.config import TrainConfig, read_config
from urgentmos_jax.training.memory import device_bytes_of, filled_up, on_devices
from urgentmos_jax.training.sharding import Layout
from urgentmos_jax.training.start import with_sizes
from urgentmos_jax.training.step import TrainStep, make_optimizer, split_module

Which = Literal["largest", "commonest"]


class DoesNotFit(RuntimeError):
    """A step does not fit the memory of a chip; the message says what to change.

    Attributes:
        plans: What `describe_on_slice` would have returned.
    """

    def __init__(self, message: str, plans: str):
        super().__init__(message)
        self.plans = plans


def plan_run(
    config: TrainConfig,
    where: Slice,
    which: Which,
    *,
    model: ModelConfig | None = None,
    options: Mapping[str, str | bool | float] | None = None,
) -> Plan:
    """Compiles the step of a run for a slice, for its largest batch or that of clips of the commonest length.

    Args:
        config: Of the run; nothing of its data is read.
        where: The slice.
        which: The batch.
        model: Architecture with the sizes of its encoders; None = as they are known.
        options: Of the compiler.

    Raises:
        ModuleNotFoundError: libtpu is not installed.
        SliceError: there is no such slice.
        ModelNotFound, ValueError: the sizes of an encoder are not known, or the mesh does not fit.
    """
    model = model or with_sizes(config.model, offline=True)
    layout = Layout(config.mesh, where.devices())
    module = nnx.eval_shape(lambda: UrgentMOS(model, rngs=nnx.Rngs(0)))
    graph, trained, frozen = split_module(module, remat=config.remat, layout=layout)
    optimizer = make_optimizer(config.optimizer, config.updates or 1)
    step = TrainStep(
        graph, trained, model, optimizer, config.loss, layout, seed=config.seed, precision=config.precision
    )
    shardings = layout.shardings(frozen)
    frozen = jax.tree.map(lambda x, at: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=at), frozen, shardings)
    shape = batch_shape(config, model, which, layout)
    sizes = len(model.metrics), len(model.comparative_metrics)
    batch = on_devices(array_shapes(shape, *sizes, {}), layout)
    state = step.abstract
    # The moments lie beside the program of the gradients; a sum of gradients too, where several batches make one.
    beside = sum(map(device_bytes_of, jax.tree.leaves(state.optimizer)))
    if config.batch.accumulate > 1:
        beside += sum(map(device_bytes_of, jax.tree.leaves(state.trained)))
    parts = {"trained parameters": state.trained, "moments": state.optimizer, "frozen parameters": frozen}
    rows, sides, samples = shape
    return compile_plan(
        [step.trace(frozen, batch), step.trace_update(frozen, batch)],
        where,
        mesh=layout.mesh.shape,
        batch=f"{rows} pairs of {sides} x {samples / SAMPLE_RATE_HZ:g} s, the {which}",
        audio_seconds=rows * sides * samples / SAMPLE_RATE_HZ,
        layout=_bytes_by_sharding(parts),
        beside=beside,
        options=options,
    )


def batch_shape(config: TrainConfig, model: ModelConfig, which: Which, layout: Layout) -> BatchShape:
    """Shape of two-sided batches that a run has if its corpora have clips of all lengths."""
    longest = round(config.data.max_seconds * SAMPLE_RATE_HZ)
    shortest = min(longest, round(MIN_SECONDS * SAMPLE_RATE_HZ))
    sizes = bucket_sizes(shortest, longest, ratio=RATIO, multiple=SAMPLE_RATE_HZ // 10)
    budget = round(config.batch.seconds * SAMPLE_RATE_HZ)

    def shape(size: int) -> BatchShape:
        return filled_up(BatchShape(rows_of(size, budget, config.batch.clips), 2, size), layout)

    if which == "commonest":
        return shape(bucket_of(min(longest, round(COMMON_SECONDS * SAMPLE_RATE_HZ)), sizes))
    return max(map(shape, sizes), key=lambda x: activation_bytes(model, x.rows, x.samples))


def advice(config: TrainConfig, model: ModelConfig) -> list[str]:
    """What makes a step smaller, what costs least first, of what the config does not do yet."""
    trained_encoder = any(not one.freeze for one in model.encoders)
    chances = [
        (config.precision == "float32", "--config.precision=bfloat16 (activations take half)"),
        (not config.remat, "--config.remat (activations of a layer are computed again; a third more operations)"),
        (
            not config.mesh.fully_sharded,
            "--config.mesh.fully_sharded (parameters and moments are spread over the chips)",
        ),
        (
            config.data.max_seconds > 30,
            "--config.data.max_seconds=30 (longer clips are cut; attention grows with the square of the length)",
        ),
        (
            config.batch.seconds > config.data.max_seconds,
            f"--config.batch.seconds={config.batch.seconds / 2:.1f} --config.batch.accumulate="
            f"{2 * config.batch.accumulate} (an update sees as much, in parts)",
        ),
        (trained_encoder, "freezing the encoders"),
        (config.mesh.model == 1, "--config.mesh.model=4 (heads and feed-forwards are split too)"),
    ]
    return [text for possible, text in chances if possible]


def describe_on_slice(values: Mapping[str, Any], where: Slice, *, name: str = "config") -> str:
    """The plans of a run's largest and commonest batches on a slice.

    Raises:
        DoesNotFit: one of them is larger than the memory of a chip.
        ConfigError: keys are unknown, missing or wrong.
        ModuleNotFoundError, SliceError, ModelNotFound, ValueError: as `plan_run`.
    """
    config = read_config(values, name=name)
    model = with_sizes(config.model, offline=True)
    plans = [plan_run(config, where, which, model=model) for which in ("largest", "commonest")]
    text = "\n".join(line for plan in plans for line in format_plan(plan))
    if not all(plan.fits for plan in plans):
        changes = "\n".join(f"  {change}" for change in advice(config, model))
        raise DoesNotFit(f"the step does not fit a chip of {where}. What makes it smaller:\n{changes}", text)
    return text


def _bytes_by_sharding(parts: Mapping[str, Any]) -> dict[str, int]:
    found: dict[str, int] = defaultdict(int)
    for what, tree in parts.items():
        for x in jax.tree.leaves(tree):
            axes = [axis for axis in x.sharding.spec if axis]
            found[f"{what}, {'over ' + ' and '.join(axes) if axes else 'whole'}"] += device_bytes_of(x)
    return dict(found)
