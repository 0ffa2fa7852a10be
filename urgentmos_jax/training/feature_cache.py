"""Writes the states of frozen encoders once, so that later epochs need not compute them: the frozen-feature cache.

States are what the model takes of an encoder: all hidden states where it learns their weights, else the last layer;
float16. A second of audio takes 1 MB with WavLM-base-plus and its thirteen states, 0.08 MB with the last layer alone.
"""

import hashlib
import json
import logging
import shutil
import zlib
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import jax
import numpy as np
from flax import nnx

from urgentmos_jax.audio.loading import SAMPLE_RATE_HZ, AudioError
from urgentmos_jax.data.plan import Plan
from urgentmos_jax.data.stored_states import StateShape, StoredStates
from urgentmos_jax.files import progress, write_text
from urgentmos_jax.model.urgentmos import ModelConfig, UrgentMOS
from urgentmos_jax.scoring.batching import plan_batches
from urgentmos_jax.training import topology as hosts
from urgentmos_jax.training.sharding import Layout, MeshConfig

__all__ = ["FeatureCacheError", "open_feature_cache", "state_shapes"]

logger = logging.getLogger(__name__)

SHARD_BYTES = 2**30
# Audio of a batch whose states are computed, over all devices.
BATCH_SECONDS = 60.0


class FeatureCacheError(RuntimeError):
    """States cannot be stored; the message says why and what to do."""


def state_shapes(config: ModelConfig) -> list[StateShape]:
    """What is stored of each frozen encoder."""
    return [
        StateShape(
            place,
            one.architecture.state_count if one.layer_aggregation else None,
            one.architecture.hidden_size if one.layer_aggregation else one.architecture.output_width,
            one.architecture.frame_lengths,
        )
        for place, one in enumerate(config.encoders)
        if one.freeze
    ]


def open_feature_cache(
    folder: Path, module: UrgentMOS, plan: Plan, *, confirm: Callable[[str], bool], devices: Sequence[jax.Device]
) -> StoredStates:
    """The stored states of a plan's clips; those that are not there are written first. On every host.

    Args:
        folder: Shared by hosts; each model's encoders have a folder below it.
        module: Model.
        plan: Its clips.
        confirm: Is asked with the size before anything is written.
        devices: Of this host.

    Raises:
        FeatureCacheError: it was not confirmed, the disk is too full, or a value does not fit float16.
        DamagedStates: a shard is not what was written.
    """
    shapes = state_shapes(module.config)
    folder = Path(folder).absolute() / _key(module, plan)
    folder.mkdir(parents=True, exist_ok=True)

    def opened() -> StoredStates:
        return StoredStates(folder, shapes, whole=len(shapes) == len(module.config.encoders))

    names = [StoredStates.name(path, seconds) for path, seconds in zip(plan.data.paths, plan.data.seconds, strict=True)]
    stored = opened()
    missing = hosts.of_first(lambda: [i for i, name in enumerate(names) if name not in stored])
    missing = list({names[i]: i for i in missing}.values())
    if missing:
        size = sum(_bytes(shapes, int(plan.lengths[i])) for i in missing)
        minutes = float(plan.lengths[missing].sum()) / SAMPLE_RATE_HZ / 60
        audio = f"{minutes / 60:.1f} h" if minutes >= 60 else f"{minutes:.1f} min"
        text = f"{_readable(size)} of encoder states of {audio} of audio to {folder}"
        free = shutil.disk_usage(folder).free
        if free < size:
            raise FeatureCacheError(f"{_readable(free)} free, wanted to write {text}; make room, or leave it out")
        if not hosts.of_first(lambda: confirm(f"write {text}?")):
            raise FeatureCacheError(f"not confirmed: to write {text} give --yes, or leave data.feature_cache empty")
        logger.info("writing %s", text)
        _Writer(folder, shapes, module, plan, names, devices).write(missing[jax.process_index() :: hosts.count()])
        hosts.wait_for_all("states")
        stored = opened()
    logger.info("encoder states of %d clips in %s", len(stored), folder)
    return stored


class _Writer:
    def __init__(
        self,
        folder: Path,
        shapes: list[StateShape],
        module: UrgentMOS,
        plan: Plan,
        names: list[str],
        devices: Sequence[jax.Device],
    ):
        self._folder, self._shapes, self._plan, self._names = folder, shapes, plan, names
        # Not the run's own: hosts write apart from each other.
        layout = Layout(MeshConfig(data=-1, model=1, fully_sharded=False), devices)
        graph, params = nnx.split(module)
        self._params, self._by_row, self._devices = layout.put(params), layout.by_row, len(devices)

        def states(params: Any, waveform: jax.Array, lengths: jax.Array) -> list[jax.Array]:
            with jax.default_matmul_precision("highest"):
                return nnx.merge(graph, params).frozen_states(waveform, lengths)

        self._states = jax.jit(states)
        self._start_shard()

    def _start_shard(self) -> None:
        taken = {path.stem for path in self._folder.glob(f"{jax.process_index()}-*.json")}
        number = next(n for n in range(len(taken) + 1) if f"{jax.process_index()}-{n:05d}" not in taken)
        self._path = self._folder / f"{jax.process_index()}-{number:05d}.f16"
        self._file = self._path.open("wb")
        self._clips: dict[str, tuple[int, int, int, int]] = {}
        self._failed: dict[str, dict[str, str]] = {}

    def _end_shard(self) -> None:
        size = self._file.tell()
        self._file.close()
        listed = {"bytes": size, "clips": self._clips, "failed": self._failed}
        write_text(self._path.with_suffix(".json"), json.dumps(listed) + "\n")

    def write(self, clips: list[int]) -> None:
        """Writes the states of some clips, those of like length together."""
        plan = self._plan
        lengths = [int(plan.lengths[i]) for i in clips]
        budget = round(BATCH_SECONDS * SAMPLE_RATE_HZ)
        batches = plan_batches(lengths, plan.sizes, budget=budget, multiple=self._devices)
        with (
            ThreadPoolExecutor(4) as pool,
            progress(None, len(clips), "clip", "encoder states", hidden=not hosts.is_first()) as bar,
        ):
            for batch in batches:
                rows = [clips[i] for i in batch.indices]
                self._write_batch(rows, batch.rows, batch.size, pool)
                bar.update(len(rows))
                if self._file.tell() >= SHARD_BYTES:
                    self._end_shard()
                    self._start_shard()
        self._end_shard()

    def _write_batch(self, clips: list[int], rows: int, size: int, pool: ThreadPoolExecutor) -> None:
        waveform, lengths = np.zeros((rows, size), np.float32), np.zeros(rows, np.int32)
        for row, found in enumerate(pool.map(self._decoded, clips)):
            if isinstance(found, AudioError):
                self._failed[self._names[clips[row]]] = {"code": found.code, "message": found.message}
            else:
                waveform[row, : len(found)], lengths[row] = found, len(found)
        inputs = jax.device_put((waveform, lengths), self._by_row)
        results = [np.asarray(x) for x in self._states(self._params, *inputs)]
        for row, clip in enumerate(clips):
            if lengths[row]:
                self._write_clip(clip, int(lengths[row]), [states[row] for states in results])

    def _decoded(self, clip: int) -> np.ndarray | AudioError:
        try:
            return self._plan.decode(clip, self._plan.cut(clip, 0), int(self._plan.lengths[clip]))
        except AudioError as error:
            return error

    def _write_clip(self, clip: int, samples: int, states: list[np.ndarray]) -> None:
        parts = []
        for one, values in zip(self._shapes, states, strict=True):
            frames = one.shape(samples)[-2]
            with np.errstate(over="ignore"):
                part = values[..., :frames, :].astype("<f2")
            if not np.isfinite(part).all():
                raise FeatureCacheError(
                    f"{self._plan.data.paths[clip]}: states of encoder {one.encoder} do not fit float16 (largest "
                    f"{np.abs(values[..., :frames, :]).max():g}); leave data.feature_cache empty for this encoder"
                )
            parts.append(part.tobytes())
        content, start = b"".join(parts), self._file.tell()
        self._file.write(content)
        self._clips[self._names[clip]] = (start, len(content), zlib.crc32(content), samples)


def _key(module: UrgentMOS, plan: Plan) -> str:
    """Of encoders, their weights, how their states are taken, and where long clips are cut."""
    found = hashlib.sha256()
    for place, one in enumerate(module.config.encoders):
        if one.freeze:
            found.update(repr((place, one.architecture, one.layer_aggregation, one.dtype)).encode())
            for path, value in nnx.to_flat_state(nnx.state(module.encoders[place], nnx.Param)):
                found.update(repr(path).encode() + np.asarray(value[...]).tobytes())
    found.update(repr((plan.max_seconds, plan.seed if (plan.data.seconds > plan.max_seconds).any() else 0)).encode())
    return found.hexdigest()[:16]


def _bytes(shapes: list[StateShape], samples: int) -> int:
    return 2 * sum(int(np.prod(one.shape(samples))) for one in shapes)


def _readable(size: float) -> str:
    return f"{size / 1e9:.1f} GB" if size >= 1e8 else f"{size / 1e6:.1f} MB"
