"""Distill-MOS and urgentmos-small against the package `distillmos`, each in a process of its own, on the same clips."""

import contextlib
import functools
import multiprocessing
import statistics
import time
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np

from launch.benchmark.clips import speech
from launch.benchmark.measuring import in_rounds
from launch.benchmark.settings import Settings
from launch.benchmark.torch_reference.distill_mos import package_model, weights_file
from urgentmos_jax.audio.loading import SAMPLE_RATE_HZ
from urgentmos_jax.scoring.loading import load_model
from urgentmos_jax.weights.model_folder import save_folder
from urgentmos_jax.weights.urgent_mos import read_checkpoint

# More than the 1e-4 of the tests on 20 recordings: where a spectrum has nothing, rounding errors of two libraries are
# raised by the power 0.3, to 1.8e-4 among a thousand recordings. Noise at -80 dB takes nine tenths of it away.
SCORES_AGREE = 3e-4


def measure(settings: Settings) -> dict[str, Any]:
    """Returns the throughput of each, the ratios, and the largest difference of a score of Distill-MOS.

    Decoding is not measured. The package's own loop takes one clip after another. The first round is a first use:
    everyone loads, ours compiles too.
    """
    try:
        weights = weights_file()
    except ModuleNotFoundError as error:
        raise SystemExit(str(error)) from None
    clips, figures = speech(settings)
    folder = settings.scratch / "model"
    checkpoint = read_checkpoint(weights)
    save_folder(folder, checkpoint.module, checkpoint.origin)
    seconds = sum(map(len, clips)) / SAMPLE_RATE_HZ
    runs = {
        "ours": functools.partial(_ours, folder),
        "urgentmos_small": functools.partial(_ours, "urgentmos-small"),
        "package": _package,
    }
    with contextlib.ExitStack() as stack:
        spawn = multiprocessing.get_context("spawn")
        processes = {name: stack.enter_context(ProcessPoolExecutor(1, mp_context=spawn)) for name in runs}
        turns = {
            name: functools.partial(lambda name: processes[name].submit(runs[name], clips).result(), name)
            for name in runs
        }
        times = []
        for _, results in in_rounds(turns, settings):
            times.append({name: taken for name, (taken, _) in results.items()})
            difference = float(np.abs(results["ours"][1] - results["package"][1]).max())
            if not difference <= SCORES_AGREE:
                raise SystemExit(f"scores differ by {difference}: no benchmark of unlike things")
    figures |= {"clips": len(clips), "audio_seconds": seconds, "largest_difference": difference}
    for name in runs:
        figures[f"{name}_first_round_seconds"] = times[0][name]
        figures[f"{name}_audio_seconds_a_second"] = seconds / statistics.median(taken[name] for taken in times)
    for name in ("ours", "urgentmos_small"):
        figures[f"{name}_over_package"] = statistics.median(taken["package"] / taken[name] for taken in times)
    return figures


def _ours(folder: Path | str, clips: list[np.ndarray]) -> tuple[float, np.ndarray]:
    """Seconds, and scores [clips]."""
    start = time.perf_counter()
    rows = _model(folder).score(clips, sample_rate=SAMPLE_RATE_HZ)
    taken = time.perf_counter() - start
    return taken, np.array([row["scores"]["distill_mos"] for row in rows])


def _package(clips: list[np.ndarray]) -> tuple[float, np.ndarray]:
    """Seconds, and scores [clips]."""
    import torch

    start = time.perf_counter()
    model = _package_model()
    with torch.inference_mode():
        scores = [model(torch.from_numpy(clip[None])).item() for clip in clips]
    return time.perf_counter() - start, np.array(scores)


# Loaded once a process.
_model = functools.cache(load_model)
_package_model = functools.cache(package_model)
