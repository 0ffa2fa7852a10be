"""One update with 8 clips of 4 s in 4 pairs, the encoder frozen, and a checkpoint of its state."""

import dataclasses
import statistics
from pathlib import Path
from typing import Any

import jax
import numpy as np

from launch.benchmark.batches import pairs_of_clips
from launch.benchmark.measuring import MATMUL_FLOPS, in_rounds, matmul_turn, timed
from launch.benchmark.models import model_files
from launch.benchmark.peak import peak_memory_mb
from launch.benchmark.settings import Settings
from launch.benchmark.trainings import Ours, Theirs, agreement
from urgentmos_jax.training import checkpoints
from urgentmos_jax.training.checkpoints import Checkpoints
from urgentmos_jax.training.feature_cache_builder import state_shapes
from urgentmos_jax.weights.model_folder import load_folder


def measure(settings: Settings) -> dict[str, Any]:
    """Returns seconds of an update in three ways, on one device, and of a checkpoint, which is written once a round.

    Raises:
        SystemExit: The losses or gradients of the two differ.
    """
    folder, checkpoint, encoder = model_files(settings)
    module = load_folder(folder)[0]
    batch = pairs_of_clips(module.config.metrics, rows=4, seconds=4.0)
    clips, lengths = batch.waveform.reshape(8, -1), batch.lengths.reshape(8)
    states = jax.jit(lambda module, *x: module.frozen_states(*x))(module, clips, lengths)
    shapes = zip(state_shapes(module.config), states, strict=True)
    stored = {one.encoder: np.asarray(x, np.float16).reshape(4, 2, *x.shape[1:]) for one, x in shapes}
    fed = dataclasses.replace(batch, waveform=None, states=stored)

    ours, reading = Ours(module), Ours(module)
    turns = {"ours": lambda: ours.epoch([batch]), "ours_stored": lambda: reading.epoch([fed])}
    compiled, _ = timed(turns["ours"])
    turns["ours_stored"]()
    figures: dict[str, Any] = {"clips": 8, "audio_seconds": 32.0, "compile_seconds": compiled}
    if settings.against_torch:
        theirs = Theirs(checkpoint, encoder)
        figures |= agreement(module, theirs, batch)
        prepared = [theirs.prepare(batch)]
        turns["torch"] = lambda: theirs.epoch(prepared)
    turns["matmul"] = matmul_turn()
    saves = Saves(settings.scratch / "checkpoints", ours)
    turns["checkpoint"] = saves
    times = [taken for taken, _ in in_rounds(turns, settings)]
    median = {name: statistics.median(taken[name] for taken in times) for name in turns}
    figures |= {
        "ours_seconds_a_step": median["ours"],
        "ours_stored_seconds_a_step": median["ours_stored"],
        "ours_over_stored": statistics.median(taken["ours"] / taken["ours_stored"] for taken in times),
        "stored_mb": sum(x.nbytes for x in stored.values()) / 1e6,
        "matmul_gflops": MATMUL_FLOPS / median["matmul"] / 1e9,
        "peak_memory_mb": peak_memory_mb(),
        **saves.medians(),
    }
    if settings.against_torch:
        figures["torch_seconds_a_step"] = median["torch"]
        figures["ours_over_torch"] = statistics.median(taken["torch"] / taken["ours"] for taken in times)
    return figures


class Saves:
    """Writes the state of a training, and measures how long the loop and the background are held up."""

    def __init__(self, folder: Path, ours: "Ours"):
        self._checkpoints, self._ours = Checkpoints(folder, keep=1), ours
        self._taken: list[tuple[float, float, float]] = []

    def __call__(self) -> None:
        """A checkpoint."""
        hashing = checkpoints.hash_files
        spent = [0.0]

        def measured(*arguments: Any) -> Any:
            spent[0], found = timed(lambda: hashing(*arguments))
            return found

        checkpoints.hash_files = measured
        try:
            blocked, _ = timed(lambda: self._checkpoints.save(len(self._taken) + 1, self._ours.state))
            waited, _ = timed(self._checkpoints.wait)
        finally:
            checkpoints.hash_files = hashing
        self._taken.append((blocked, blocked + waited, spent[0]))

    def medians(self) -> dict[str, float]:
        """Returns medians over the rounds."""
        blocked, whole, hashed = (statistics.median(values) for values in zip(*self._taken, strict=True))
        return {
            "checkpoint_mb": checkpoints.state_bytes(self._ours.state) / 1e6,
            "checkpoint_seconds": whole,
            "checkpoint_holds_up_seconds": blocked,
            "checksums_share_of_checkpoint": hashed / whole,
        }
