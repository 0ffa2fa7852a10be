"""What scoring would take of a slice of TPUs: the model compiled by bucket, without a TPU and without its weights."""

from collections.abc import Mapping, Sequence

import jax
from flax import nnx

from urgentmos_jax.accelerators.chips import Slice
from urgentmos_jax.accelerators.plan import Plan, compile_plan
from urgentmos_jax.audio.loading import SAMPLE_RATE_HZ
from urgentmos_jax.model.urgentmos import ModelConfig, UrgentMOS
from urgentmos_jax.scoring.batching import bucket_of
from urgentmos_jax.scoring.engine import Engine, Precision

# Speech corpora have most clips around this length.
COMMON_SECONDS = 4.5


def plan_scoring(
    config: ModelConfig,
    where: Slice,
    *,
    precision: Precision = "float32",
    batch_seconds: float | None = None,
    seconds: Sequence[float] = (),
    options: Mapping[str, str | bool | float] | None = None,
) -> list[Plan]:
    """Compiles the scoring of full batches for a slice, one plan a bucket.

    Args:
        config: Of the model.
        where: The slice; the rows of a batch are shared by its chips.
        precision, batch_seconds: See `Engine`.
        seconds: Lengths whose buckets are compiled; none: the commonest, and the longest window.
        options: Of the compiler.

    Raises:
        ModuleNotFoundError: libtpu is not installed.
        SliceError: there is no such slice.
    """
    module = nnx.eval_shape(lambda: UrgentMOS(config, rngs=nnx.Rngs(0)))
    engine = Engine(module, precision=precision, batch_seconds=batch_seconds, devices=where.devices())
    params = engine.abstract(nnx.state(module))
    lengths = [round(one * SAMPLE_RATE_HZ) for one in seconds]
    lengths = lengths or [min(engine.window_samples, round(COMMON_SECONDS * SAMPLE_RATE_HZ)), engine.window_samples]
    plans = []
    for size in sorted({bucket_of(length, engine.bucket_sizes) for length in lengths}):
        rows, traced = engine.trace(params, size)
        plans.append(
            compile_plan(
                [traced],
                where,
                mesh={"data": engine.device_count},
                batch=f"{rows} clips of {size / SAMPLE_RATE_HZ:g} s",
                audio_seconds=rows * size / SAMPLE_RATE_HZ,
                layout={"parameters, whole": sum(x.size * x.dtype.itemsize for x in jax.tree.leaves(params))},
                options=options,
            )
        )
    return plans
