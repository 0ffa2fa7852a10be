"""Speed of training steps, on batches as training makes them."""

import statistics
from typing import Any

import jax
import numpy as np

from launch.benchmark.batches import RECIPE, make_plan, plan_numbers, random_set, realistic_plans, training_flops
from launch.benchmark.clips import recordings
from launch.benchmark.measuring import MATMUL_FLOPS, compiling, in_rounds, matmul_turn, timed
from launch.benchmark.models import model_files
from launch.benchmark.peak import peak_memory_mb
from launch.benchmark.settings import Settings
from launch.benchmark.trainings import Ours, Theirs, agreement
from urgentmos_jax.audio.loading import SAMPLE_RATE_HZ
from urgentmos_jax.data.loader import LoadedBatches
from urgentmos_jax.data.reading import BatchReader
from urgentmos_jax.manifests.durations import measure_durations
from urgentmos_jax.scoring.windows import min_samples
from urgentmos_jax.weights.model_folder import load_folder

# On a CPU, where the published batch would take gigabytes and minutes.
CPU_BATCH_SECONDS = 24.0


def measure(settings: Settings) -> dict[str, Any]:
    """Returns the speed of training steps on clips with random labels, on one device.

    A turn is an epoch: every clip once as A, with a partner as B wherever both have the comparative label. Batches are
    loaded before. Audio seconds leave out padding and count both sides of a pair. Of the compile seconds of a shape the
    median is given: the first one compiles the optimizer's update too. The optimizer, the loss and the most rows of a
    batch are those of the published recipe.

    Raises:
        SystemExit: A recording cannot be loaded, or the losses or gradients of the two differ.
    """
    folder, checkpoint, encoder = model_files(settings)
    module = load_folder(folder)[0]
    paths, description = recordings(settings)
    seconds = measure_durations([str(path) for path in paths])
    if faults := [str(found) for found in seconds if isinstance(found, Exception)]:
        raise SystemExit("recordings cannot be read: " + "; ".join(faults))
    batch_seconds = settings.batch_seconds
    if batch_seconds is None:
        batch_seconds = CPU_BATCH_SECONDS if jax.default_backend() == "cpu" else RECIPE.batch.seconds
    data = random_set([str(path) for path in paths], np.asarray(seconds), module.config.metrics)
    plan = make_plan(data, "corpus", batch_seconds)
    reader = BatchReader(plan, min_samples=min_samples(module.config))
    count = len(plan.epoch(0))
    loading, loaded = timed(lambda: list(LoadedBatches(reader, 0, count, workers=0)))
    if skipped := [one["message"] for batch in loaded for one in batch.skipped]:
        raise SystemExit("recordings cannot be loaded: " + "; ".join(skipped))
    batches = [batch.arrays for batch in loaded]
    audio = sum(int(batch.lengths.sum()) for batch in batches) / SAMPLE_RATE_HZ
    figures: dict[str, Any] = {
        "audio": description,
        "clips": len(data.uids),
        "batch_seconds": batch_seconds,
        "steps": count,
        "audio_seconds": audio,
        "loading_audio_seconds_a_second": audio / loading,
        **plan_numbers(plan),
        **realistic_plans(module.config.metrics),
    }

    ours = Ours(module)
    compiled = []
    for batch in batches:
        with compiling() as spent:
            ours.epoch([batch])
        compiled += [sum(spent)] if spent else []
    figures |= {
        "compile_seconds": sum(compiled),
        "compile_seconds_a_shape": statistics.median(compiled),
        "peak_memory_mb": peak_memory_mb(),
    }
    turns = {"ours": lambda: ours.epoch(batches)}
    if settings.against_torch:
        theirs = Theirs(checkpoint, encoder)
        figures |= agreement(module, theirs, next((b for b in batches if b.lengths.shape[1] == 2), batches[0]))
        prepared = [theirs.prepare(batch) for batch in batches]
        turns["torch"] = lambda: theirs.epoch(prepared)
    turns["matmul"] = matmul_turn()
    times = [taken for taken, _ in in_rounds(turns, settings)]

    median = {name: statistics.median(taken[name] for taken in times) for name in turns}
    rate = MATMUL_FLOPS / median["matmul"]
    figures |= {
        "ours_audio_seconds_a_second": audio / median["ours"],
        "ours_seconds_a_step": median["ours"] / count,
        "matmul_gflops": rate / 1e9,
        "useful_share_of_matmul_rate": training_flops(module.config, batches) / median["ours"] / rate,
    }
    if settings.against_torch:
        figures["torch_audio_seconds_a_second"] = audio / median["torch"]
        figures["ours_over_torch"] = statistics.median(taken["torch"] / taken["ours"] for taken in times)
    return figures
