"""The compiled model: windows of recordings go in by batches of like length, arrays come out."""

import collections
import copy
import dataclasses
import logging
import os
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Literal

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jax.sharding import AxisType, NamedSharding, PartitionSpec

from urgentmos_jax.audio.loading import SAMPLE_RATE_HZ
from urgentmos_jax.model.cost import clip_flops
from urgentmos_jax.model.urgentmos import Features, ModelConfig, UrgentMOS
from urgentmos_jax.nn.masking import masked_mean
from urgentmos_jax.scoring.ahead import CompiledAhead
from urgentmos_jax.scoring.batching import Batch, BatchPlanner, bucket_sizes, plan_batches
from urgentmos_jax.scoring.rows import EncodedWindow, WindowComparison
from urgentmos_jax.scoring.times import Times
from urgentmos_jax.scoring.windows import min_samples, window_samples

logger = logging.getLogger(__name__)

Precision = Literal["float32", "bfloat16"]
Params = Any

# What batches are planned by: operations a second of an accelerator, and of two cores; seconds to trace and compile a
# shape, between those with the compile cache empty and filled; seconds to start a batch.
_FLOPS, _FLOPS_OF_CPU = 3e13, 1e11
_COMPILING_SECONDS, _STARTING_SECONDS = 1.0, 0.005

# Batches computed or waiting at a time; the device never waits for the host to pack the next.
_IN_FLIGHT = 3


_first_process: int | None = None


def refuse_fork() -> None:
    """Refuses a process forked off one that has computed: XLA's threads are not in it, and it would wait for ever.

    Raises:
        RuntimeError: It is one.
    """
    global _first_process
    _first_process = _first_process or os.getpid()
    if _first_process != os.getpid():
        raise RuntimeError(
            f"process {os.getpid()} was forked after process {_first_process} had loaded a model, and would wait for "
            'its threads for ever; start processes by multiprocessing.get_context("spawn"), and load the model in each'
        )


class Engine:
    """Programs of one architecture on the local devices; parameters are an argument of each.

    Args:
        module: The model.
        precision: "float32", or "bfloat16" for the encoders.
        batch_seconds: Audio a batch and device, padding included; None suits the device.
        window_seconds: Longest window; None: 60 s, or less where an encoder takes less (Whisper: 30 s).
        devices: Devices that share the rows of a batch; None = all local ones.

    Attributes:
        config: Architecture.
        device_count: Devices that share a batch.
        batch_seconds: Audio a batch of all devices, padding included; less once a device had no memory for it.
        times: Where the time went.
        min_samples: Of the shortest recording that is scored.
        window_samples: Of the longest window.
        bucket_sizes: Lengths that windows are padded to, in samples.
        encode: Compiled, see `_encode`.
    """

    def __init__(
        self,
        module: UrgentMOS,
        *,
        precision: Precision = "float32",
        batch_seconds: float | None = None,
        window_seconds: float | None = None,
        devices: Sequence[jax.Device] | None = None,
    ):
        refuse_fork()
        if precision not in ("float32", "bfloat16"):
            raise ValueError(f"precision is {precision!r}, it must be float32 or bfloat16")
        self.config: ModelConfig = module.config
        self.precision = precision
        devices = list(devices or jax.local_devices())
        self.device_count = len(devices)
        mesh = jax.make_mesh((len(devices),), ("data",), axis_types=(AxisType.Auto,), devices=devices)
        self._by_row = NamedSharding(mesh, PartitionSpec("data"))
        self._everywhere = NamedSharding(mesh, PartitionSpec())
        self.graph = nnx.graphdef(module)
        # Training scales the gradient into an encoder; that of a score is its own.
        encoders = tuple(dataclasses.replace(one, gradient_scale=1.0) for one in self.config.encoders)
        self._scoring_config = dataclasses.replace(self.config, encoders=encoders)
        self._encoders = [encoder.architecture for encoder in self.config.encoders]
        compared = {self.config.category_of(name) for name in self.config.comparative_metrics}
        self._compared_categories = [name for name in self.config.categories if name in compared]
        if batch_seconds is None:
            # A CPU works best while a batch stays in its cache; an accelerator wants many rows.
            batch_seconds = 24.0 if devices[0].platform == "cpu" else 400.0
        self.batch_seconds = batch_seconds * self.device_count
        self.min_samples = min_samples(self.config)
        self.window_samples = window_samples(self.config, window_seconds)
        self.bucket_sizes = bucket_sizes(SAMPLE_RATE_HZ // 2, self.window_samples, multiple=SAMPLE_RATE_HZ // 10)
        flops = self.device_count * (_FLOPS_OF_CPU if devices[0].platform == "cpu" else _FLOPS)
        usual = min(5 * SAMPLE_RATE_HZ, self.window_samples)
        self._samples_a_second = flops / clip_flops(self.config, usual) * self._cost(usual)
        self.times = Times()
        self._backed_off = False
        # By what was asked for, (rows, samples) of the batches that were computed.
        self._compiled: dict[tuple[bool, ...], set[tuple[int, int]]] = {}
        self.encode = jax.jit(self._encode, static_argnames=("frames", "features", "pooled"))
        self._compare_both = jax.jit(self._compare)

    @property
    def frame_rate_hz(self) -> float:
        """Frame scores a second: those of the fastest encoder."""
        return SAMPLE_RATE_HZ / min(encoder.samples_per_frame for encoder in self._encoders)

    @property
    def compiled_shapes(self) -> frozenset[tuple[int, int]]:
        """(rows, samples) of every batch of waveforms that was compiled."""
        return frozenset().union(*self._compiled.values())

    def place(self, params: Params) -> Params:
        """Parameters as the programs take them: on every device, the encoders' in the engine's precision."""
        if self.precision == "bfloat16":
            params = copy.copy(params)
            params["encoders"] = jax.tree.map(lambda x: jnp.asarray(x, jnp.bfloat16), params["encoders"])
        return jax.device_put(params, self._everywhere)

    def abstract(self, params: Params) -> Params:
        """Shapes of parameters as `place` would give them."""

        def shape(x: Any, dtype: Any) -> jax.ShapeDtypeStruct:
            return jax.ShapeDtypeStruct(x.shape, dtype or x.dtype, sharding=self._everywhere)

        shapes = jax.tree.map(lambda x: shape(x, None), params)
        if self.precision == "bfloat16":
            shapes["encoders"] = jax.tree.map(lambda x: shape(x, jnp.bfloat16), params["encoders"])
        return shapes

    def trace(self, params: Params, size: int) -> tuple[int, jax.stages.Traced]:
        """Rows of a full batch of a bucket, and the program that scores it, traced by the shapes of `abstract`."""
        clips = self.device_count + round(self.batch_seconds * SAMPLE_RATE_HZ) // size
        rows = self.plan([size] * clips)[0].rows
        features = bool(self._compared_categories)
        return rows, self.encode.trace(params, *self._batch_of(rows, size), frames=False, features=features)

    def _batch_of(self, rows: int, size: int) -> tuple[jax.ShapeDtypeStruct, jax.ShapeDtypeStruct]:
        """Shapes of waveforms and lengths."""
        return (
            jax.ShapeDtypeStruct((rows, size), jnp.float32, sharding=self._by_row),
            jax.ShapeDtypeStruct((rows,), jnp.int32, sharding=self._by_row),
        )

    # What is compiled: pure functions of the parameters and the batch.

    def absolute(
        self, params: Params, waveform: jax.Array, lengths: jax.Array, *, frames: bool = False
    ) -> dict[str, tuple[jax.Array, ...]]:
        """{metric: (scores [B],)} of a batch; with `frames` also frame scores [B, L] and weights [B, L]."""
        return self._encode(params, waveform, lengths, frames=frames, features=False, pooled=False)[0]

    def _encode(
        self,
        params: Params,
        waveform: jax.Array,
        lengths: jax.Array,
        *,
        frames: bool,
        features: bool,
        pooled: bool = False,
    ) -> tuple[dict[str, tuple[jax.Array, ...]], dict[str, jax.Array], jax.Array | None]:
        """As `absolute`; with `features` {category: [B, L, D]} of the categories that are compared; and with `pooled`
        the mean [B, D] over frames of the first category's features."""
        with jax.default_matmul_precision("highest"):
            module = nnx.merge(self.graph, params)
            module.config = self._scoring_config
            encoded = module.encode(waveform, lengths)
            found = module.absolute(encoded)
        scores: dict[str, tuple[jax.Array, ...]] = {
            name: (value.score, value.frame_scores, value.frame_weights) if frames else (value.score,)
            for name, value in found.items()
        }
        kept = {name: encoded.by_category[name] for name in self._compared_categories} if features else {}
        first = next(iter(encoded.by_category.values()))
        return scores, kept, masked_mean(first, encoded.mask) if pooled else None

    def _compare(
        self, params: Params, a: dict[str, jax.Array], b: dict[str, jax.Array], masks: tuple[jax.Array, jax.Array]
    ) -> dict[str, tuple[jax.Array, ...]]:
        """f(A, B) and f(B, A): {metric: (cmos, probabilities, logits) of AB, then of BA}."""
        with jax.default_matmul_precision("highest"):
            module = nnx.merge(self.graph, params)
            sides = Features(a, masks[0]), Features(b, masks[1])
            both = [module.compare(*sides), module.compare(*reversed(sides))]
        return {
            name: tuple(x for found in both for x in (found[name][0], jax.nn.softmax(found[name][1]), found[name][1]))
            for name in both[0]
        }

    # Windows -> batches -> results.

    def encode_windows(
        self,
        params: Params,
        windows: Sequence[np.ndarray],
        *,
        frames: bool,
        features: bool,
        pooled: bool = False,
        planner: BatchPlanner | None = None,
    ) -> list[EncodedWindow]:
        """Encodes windows.

        Args:
            params: As `place` gives them.
            windows: Waveforms [T], of `min_samples` to `window_samples`.
            frames: Keep scores and weights of the frames.
            features: Keep features, for `compare_windows`.
            pooled: Keep the mean of the features.
            planner: That of the groups of windows before, of one list of recordings; None = these are the first.
        """
        planner = planner or self.planner()
        found: dict[int, EncodedWindow] = {}
        options = {"frames": frames, "features": features, "pooled": pooled}
        compiled = self._compiled.setdefault((frames, features, pooled), set())

        def compile_shape(shape: tuple[int, int]) -> None:
            # What `encode` asks for later is then there.
            self.encode.lower(params, *self._batch_of(*shape), **options).compile()

        def plan(lengths: Sequence[int]) -> list[Batch]:
            batches = self.plan(lengths, planner)
            ahead.announce(batches)
            return batches

        def start(batch: Batch) -> Any:
            ahead.wait(batch)
            waveform = np.zeros((batch.rows, batch.size), np.float32)
            lengths = np.zeros(batch.rows, np.int32)
            for row, index in enumerate(batch.indices):
                samples = windows[index]
                waveform[row, : len(samples)], lengths[row] = samples, len(samples)
            return self.encode(params, *jax.device_put((waveform, lengths), self._by_row), **options)

        with CompiledAhead(compiled, compile_shape) as ahead:
            for batch, (scores, by_category, means) in self._run([len(window) for window in windows], plan, start):
                for row, index in enumerate(batch.indices):
                    samples = len(windows[index])
                    count = self._frame_count(samples)
                    found[index] = EncodedWindow(
                        samples,
                        {name: float(x[0][row]) for name, x in scores.items()},
                        {name: self._in_time(samples, x[1][row], x[2][row]) for name, x in scores.items() if frames},
                        # A copy, or the whole batch would be kept.
                        {name: x[row, :count].copy() for name, x in by_category.items()},
                        None if means is None else means[row].copy(),
                    )
        return [found[index] for index in range(len(windows))]

    def compare_windows(
        self, params: Params, pairs: Sequence[tuple[EncodedWindow, EncodedWindow]]
    ) -> list[WindowComparison]:
        """Compares windows with features, pair by pair, in both orders."""
        if not pairs:
            return []
        found: dict[int, WindowComparison] = {}
        frames = [max(len(next(iter(side.features.values()))) for side in pair) for pair in pairs]
        sizes = [self._frame_count(size) for size in self.bucket_sizes]

        def plan(lengths: Sequence[int]) -> list[Batch]:
            budget = round(self.batch_seconds * self.frame_rate_hz)
            return plan_batches(lengths, sizes, budget=budget, multiple=self.device_count)

        def start(batch: Batch) -> Any:
            sides = [[pairs[index][side].features for index in batch.indices] for side in (0, 1)]
            (a, mask_a), (b, mask_b) = (_stack(side, batch.rows, batch.size) for side in sides)
            return self._compare_both(params, *jax.device_put((a, b, (mask_a, mask_b)), self._by_row))

        for batch, result in self._run(frames, plan, start):
            for row, index in enumerate(batch.indices):
                values = {name: tuple(part[row] for part in parts) for name, parts in result.items()}
                found[index] = WindowComparison(sum(window.samples for window in pairs[index]), values)
        return [found[index] for index in range(len(pairs))]

    def _run(
        self, lengths: Sequence[int], plan: Callable[[Sequence[int]], list[Batch]], start: Callable[[Batch], Any]
    ) -> Iterator[tuple[Batch, Any]]:
        """Computes items in batches by length, a few in flight; where a device has no memory for one, in smaller ones.

        Args:
            lengths: Of the items.
            plan: Batches of items of these lengths.
            start: Starts computing a batch.

        Yields:
            Each batch with its results as numpy arrays.
        """
        done: set[int] = set()
        flight: collections.deque[tuple[Batch, Any]] = collections.deque()
        while left := [index for index in range(len(lengths)) if index not in done]:
            planned = plan([lengths[index] for index in left])
            waiting = collections.deque(
                dataclasses.replace(batch, indices=tuple(left[place] for place in batch.indices)) for batch in planned
            )
            before = time.perf_counter()
            try:
                while waiting or flight:
                    if waiting and len(flight) < _IN_FLIGHT:
                        batch = waiting.popleft()
                        flight.append((batch, start(batch)))
                        continue
                    batch, result = flight.popleft()
                    result = jax.tree.map(np.asarray, result)
                    self.times.add(computing=time.perf_counter() - before)
                    yield batch, result
                    done.update(batch.indices)
                    before = time.perf_counter()
            except jax.errors.JaxRuntimeError as error:
                flight.clear()
                self._back_off(batch, error)
            self.times.add(computing=time.perf_counter() - before)

    def _back_off(self, batch: Batch, error: jax.errors.JaxRuntimeError) -> None:
        """Halves batches, where the device had no memory for this one.

        Raises:
            JaxRuntimeError: It was another error, or there is nothing to halve.
        """
        if "RESOURCE_EXHAUSTED" not in str(error):
            raise error
        if batch.rows <= self.device_count:
            error.add_note("the device has no memory for one clip at a time; take another device or a smaller model")
            raise error
        self.batch_seconds /= 2
        if not self._backed_off:
            logger.warning(
                "a device ran out of memory with %d clips in a batch; batches are halved until they fit, "
                "%g instead of %g seconds of audio at first",
                batch.rows,
                self.batch_seconds / self.device_count,
                2 * self.batch_seconds / self.device_count,
            )
        self._backed_off = True

    def planner(self) -> BatchPlanner:
        """Plans the batches of one list of recordings, group after group of their windows."""
        return BatchPlanner(
            self.bucket_sizes,
            multiple=self.device_count,
            cost=self._cost,
            shape_cost=_COMPILING_SECONDS * self._samples_a_second,
            batch_cost=_STARTING_SECONDS * self._samples_a_second,
        )

    def plan(self, lengths: Sequence[int], planner: BatchPlanner | None = None) -> list[Batch]:
        """Batches of windows of these lengths, in samples; by the planner of the windows before, if there were any."""
        return (planner or self.planner())(lengths, round(self.batch_seconds * SAMPLE_RATE_HZ))

    def _cost(self, samples: int) -> int:
        """Samples that the costliest encoder computes for a row of so many."""
        return max(encoder.computed_samples(samples) for encoder in self._encoders)

    def _frame_count(self, samples: int) -> int:
        return max(int(encoder.frame_lengths(samples)) for encoder in self._encoders)

    def _in_time(self, samples: int, scores: np.ndarray, weights: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Scores and weights of a window's frames in order of time, of the padded ones that the model gives.

        Where overlapping segments are scored, a frame has the mean of the scores and the sum of the weights that they
        give it; frames of padding are left out.
        """
        count = self._frame_count(samples)
        scores, weights = scores[:count], weights[:count]
        places = self._encoders[0].frame_places(samples)
        if places is None:
            return scores, weights
        heard = places >= 0
        places, scores, weights = places[heard], scores[heard], weights[heard]
        mean = np.bincount(places, scores) / np.bincount(places)
        return mean.astype(np.float32), np.bincount(places, weights).astype(np.float32)

    def padding_efficiency(self, lengths: Sequence[int]) -> float:
        """Part of the computed samples that is audio, for clips of these lengths (samples, at most a window)."""
        return sum(lengths) / sum(batch.rows * batch.size for batch in self.plan(lengths))


def _stack(items: Sequence[dict[str, np.ndarray]], rows: int, size: int) -> tuple[dict[str, np.ndarray], np.ndarray]:
    """Features of several windows as [rows, size, D] by category, and their mask."""
    mask = np.zeros((rows, size), bool)
    arrays = {name: np.zeros((rows, size, x.shape[1]), x.dtype) for name, x in items[0].items()}
    for row, item in enumerate(items):
        for name, x in item.items():
            arrays[name][row, : len(x)] = x
            mask[row, : len(x)] = True
    return arrays, mask
