"""Fills the feature cache (`data.feature_cache`): computes the states of frozen encoders that are not there yet.

States are what the model takes of an encoder: all hidden states where it learns their weights, else the last layer.
"""

import hashlib
import logging
import shutil
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import jax
import numpy as np
from flax import nnx

from urgentmos_jax.audio.loading import SAMPLE_RATE_HZ, AudioError
from urgentmos_jax.data.feature_cache import (
    FeatureCacheError,
    StateShape,
    StateWriter,
    StoredStates,
    clip_names,
    without_stamp,
)
from urgentmos_jax.data.plan import Plan
from urgentmos_jax.data.reading import BatchReader
from urgentmos_jax.files import progress
from urgentmos_jax.model.urgentmos import ModelConfig, UrgentMOS
from urgentmos_jax.scoring.batching import Batch, plan_batches
from urgentmos_jax.training import topology
from urgentmos_jax.training.mesh import MeshConfig
from urgentmos_jax.training.sharding import Layout

logger = logging.getLogger(__name__)

# Audio of a batch whose states are computed, over all devices.
BATCH_SECONDS = 60.0


def state_shapes(config: ModelConfig) -> list[StateShape]:
    """What is stored of each frozen encoder."""
    return [
        StateShape(
            index,
            one.architecture.state_count if one.layer_aggregation else None,
            one.architecture.hidden_size if one.layer_aggregation else one.architecture.output_width,
            one.architecture.frame_lengths,
        )
        for index, one in enumerate(config.encoders)
        if one.freeze
    ]


def open_feature_cache(
    folder: Path,
    module: UrgentMOS,
    reader: BatchReader,
    *,
    confirm: Callable[[str], bool],
    devices: Sequence[jax.Device],
) -> StoredStates:
    """The stored states of a plan's clips; those that are not there are written first. On every host.

    Args:
        folder: Shared by hosts; each model's encoders have a folder below it.
        module: Model.
        reader: Of the plan's clips.
        confirm: Is asked with the size before anything is written.
        devices: Of this host.

    Raises:
        FeatureCacheError: it was not confirmed, the disk is too full, or a value does not fit float16.
        DamagedStates: a shard is not what was written.
    """
    plan, shapes = reader.plan, state_shapes(module.config)
    folder = Path(folder).absolute() / _key(module, plan)
    folder.mkdir(parents=True, exist_ok=True)

    names = topology.broadcast_from_first(lambda: clip_names(plan.data))

    def opened() -> StoredStates:
        return StoredStates(folder, shapes, whole=len(shapes) == len(module.config.encoders), names=names)

    stored = opened()
    missing = topology.broadcast_from_first(lambda: [i for i, name in enumerate(names) if name not in stored])
    missing = list({names[i]: i for i in missing}.values())
    if missing:
        before = {without_stamp(name) for name in stored}
        if changed := sum(without_stamp(names[i]) in before for i in missing):
            logger.warning("the audio of %d clips has changed since their states were written", changed)
        size = sum(one.bytes(int(plan.lengths[i])) for i in missing for one in shapes)
        minutes = float(plan.lengths[missing].sum()) / SAMPLE_RATE_HZ / 60
        audio = f"{minutes / 60:.1f} h" if minutes >= 60 else f"{minutes:.1f} min"
        text = f"{_readable(size)} of encoder states of {audio} of audio to {folder}"
        free = shutil.disk_usage(folder).free
        if free < size:
            raise FeatureCacheError(f"{_readable(free)} free, not enough to write {text}; make room, or leave it out")
        if not topology.broadcast_from_first(lambda: confirm(f"write {text}?")):
            raise FeatureCacheError(f"not confirmed: to write {text} give --yes, or leave data.feature_cache empty")
        logger.info("writing %s", text)
        mine = missing[jax.process_index() :: topology.host_count()]
        _Builder(folder, shapes, module, reader, names, devices).write(mine)
        topology.wait_for_all("states")
        stored = opened()
    logger.info("encoder states of %d clips in %s", len(stored), folder)
    return stored


class _Builder:
    def __init__(
        self,
        folder: Path,
        shapes: Sequence[StateShape],
        module: UrgentMOS,
        reader: BatchReader,
        names: Sequence[str],
        devices: Sequence[jax.Device],
    ):
        self._reader, self._names, self._devices = reader, names, len(devices)
        # Not the run's own: hosts write apart from each other.
        layout = Layout(MeshConfig(data=-1, model=1, fully_sharded=False), devices)
        graph, params = nnx.split(module)
        self._params, self._by_row = layout.put(params), layout.by_row

        def states(params: Any, waveform: jax.Array, lengths: jax.Array) -> list[jax.Array]:
            with jax.default_matmul_precision("highest"):
                return nnx.merge(graph, params).frozen_states(waveform, lengths)

        self._states = jax.jit(states)
        self._writer = StateWriter(folder, shapes, str(jax.process_index()))

    def write(self, clips: list[int]) -> None:
        """Writes the states of some clips, those of like length together."""
        plan = self._reader.plan
        lengths = [int(plan.lengths[i]) for i in clips]
        budget = round(BATCH_SECONDS * SAMPLE_RATE_HZ)
        batches = plan_batches(lengths, plan.sizes, budget=budget, multiple=self._devices)
        with (
            ThreadPoolExecutor(4) as pool,
            progress(None, len(clips), "clip", "encoder states", hidden=not topology.is_first()) as bar,
        ):
            for batch in batches:
                self._write_batch([clips[i] for i in batch.indices], batch, pool)
                bar.update(len(batch.indices))
                self._writer.end_batch()
        self._writer.close()

    def _write_batch(self, clips: list[int], batch: Batch, pool: ThreadPoolExecutor) -> None:
        names = [self._names[clip] for clip in clips]
        waveform, lengths = np.zeros((batch.rows, batch.size), np.float32), np.zeros(batch.rows, np.int32)
        for row, found in enumerate(pool.map(self._decoded, clips)):
            if isinstance(found, AudioError):
                self._writer.add_failed(names[row], found)
            else:
                waveform[row, : len(found)], lengths[row] = found, len(found)
        inputs = jax.device_put((waveform, lengths), self._by_row)
        results = [np.asarray(x) for x in self._states(self._params, *inputs)]
        for row, name in enumerate(names):
            if lengths[row]:
                self._writer.add(name, int(lengths[row]), [states[row] for states in results])

    def _decoded(self, clip: int) -> np.ndarray | AudioError:
        try:
            return self._reader.waveform(clip, 0)
        except AudioError as error:
            return error


def _key(module: UrgentMOS, plan: Plan) -> str:
    """Of encoders, their weights, how their states are taken, and where long clips are cut."""
    found = hashlib.sha256()
    for index, one in enumerate(module.config.encoders):
        if one.freeze:
            found.update(repr((index, one.architecture, one.layer_aggregation, one.dtype)).encode())
            for path, value in nnx.to_flat_state(nnx.state(module.encoders[index], nnx.Param)):
                found.update(repr(path).encode() + np.asarray(value[...]).tobytes())
    found.update(repr((plan.max_seconds, plan.seed if (plan.data.seconds > plan.max_seconds).any() else 0)).encode())
    return found.hexdigest()[:16]


def _readable(size: float) -> str:
    return f"{size / 1e9:.1f} GB" if size >= 1e8 else f"{size / 1e6:.1f} MB"
