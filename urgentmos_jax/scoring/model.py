"""Scores and comparisons of recordings: windows, batches by length, results in the order of the inputs."""

import collections
import dataclasses
import itertools
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any, Literal

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jax.sharding import AxisType, NamedSharding, PartitionSpec

from urgentmos_jax.audio.loading import SAMPLE_RATE_HZ, AudioError
from urgentmos_jax.files import file_hash
from urgentmos_jax.model.urgentmos import Features, ModelConfig, UrgentMOS
from urgentmos_jax.scoring.batching import Batch, ladder, plan_batches
from urgentmos_jax.scoring.decoding import Decoded, Decoder, Window, named_sources

__all__ = ["Encoded", "Model", "Precision", "least_samples", "most_samples"]

Precision = Literal["float32", "bfloat16"]
Row = dict[str, Any]

WINDOW_SECONDS = 60.0
LEAST_SAMPLES = 400

# Batches computed or waiting at a time; the device never waits for the host to pack the next.
_IN_FLIGHT = 3


class Model:
    """A speech quality model on the local devices.

    Args:
        module: Model with its weights.
        origin: Where the weights come from.
        name: Folder or hub id that it was asked for by, or None.
        folder: Folder it was loaded from, or None.
        precision: "float32", or "bfloat16" for the encoders.
        batch_seconds: Audio a batch, padding included; None suits the device.
        window_seconds: Longer clips are cut into windows of this length, whose results are averaged by length; None:
            60 s, or less where an encoder takes less (Whisper: 30 s).
        devices: Devices that share the rows of a batch; None = all local ones.
    """

    def __init__(
        self,
        module: UrgentMOS,
        *,
        origin: dict[str, Any] | None = None,
        name: str | None = None,
        folder: Path | None = None,
        precision: Precision = "float32",
        batch_seconds: float | None = None,
        window_seconds: float | None = None,
        devices: Sequence[jax.Device] | None = None,
    ):
        if precision not in ("float32", "bfloat16"):
            raise ValueError(f"precision is {precision!r}, choose float32 or bfloat16")
        self.config = module.config
        self.origin = origin or {}
        self.name = name
        self.folder = folder
        self.precision = precision
        devices = list(devices or jax.local_devices())
        mesh = jax.make_mesh((len(devices),), ("data",), axis_types=(AxisType.Auto,), devices=devices)
        self._by_row = NamedSharding(mesh, PartitionSpec("data"))
        self._devices = len(devices)
        self._graph, params = nnx.split(module)
        if precision == "bfloat16":
            params["encoders"] = jax.tree.map(lambda x: jnp.asarray(x, jnp.bfloat16), params["encoders"])
        self.params = jax.device_put(params, NamedSharding(mesh, PartitionSpec()))
        self._encoders = [encoder.architecture for encoder in self.config.encoders]
        self.min_samples = least_samples(self.config)
        if batch_seconds is None:
            # A CPU works best while a batch stays in its cache; an accelerator wants many rows.
            batch_seconds = 24.0 if devices[0].platform == "cpu" else 400.0
        self.batch_seconds = batch_seconds * self._devices
        longest = most_samples(self.config)
        self.window_samples = round((window_seconds or WINDOW_SECONDS) * SAMPLE_RATE_HZ)
        if longest is not None and self.window_samples > longest:
            if window_seconds is not None:
                raise ValueError(f"window_seconds is {window_seconds:g}, an encoder takes {longest / SAMPLE_RATE_HZ:g}")
            self.window_samples = longest
        self._buckets = ladder(SAMPLE_RATE_HZ // 2, self.window_samples, multiple=SAMPLE_RATE_HZ // 10)
        self._score = jax.jit(self._traced_score, static_argnames="frames")
        self._encode = jax.jit(self._traced_encode, static_argnames="scores")
        self._compare = jax.jit(self._traced_compare)

    @property
    def metrics(self) -> tuple[str, ...]:
        """Metrics of a score, in order."""
        return tuple(self.config.metrics)

    @property
    def comparative_metrics(self) -> tuple[str, ...]:
        """Metrics of a comparison, in order."""
        return self.config.comparative_metrics

    @property
    def sample_rate_hz(self) -> int:
        """Sample rate the model works at."""
        return SAMPLE_RATE_HZ

    @property
    def frame_rate_hz(self) -> float:
        """Frame scores a second: those of the fastest encoder."""
        return SAMPLE_RATE_HZ / min(encoder.samples_per_frame for encoder in self._encoders)

    def apply(self, waveform: jax.Array, lengths: jax.Array, *, params: Any = None) -> dict[str, jax.Array]:
        """Scores of a batch as a pure function, for use inside jit and grad.

        Args:
            waveform: [B, T] float32, 16 kHz.
            lengths: [B] int32, samples.
            params: Parameters in place of the model's own (`model.params`); as an argument of the jitted function
                they are not compiled into it.

        Returns:
            {metric: [B]} float32.
        """
        params = self.params if params is None else params
        scores = self._traced_score(params, waveform, lengths, frames=False)
        return {name: score for name, (score,) in scores.items()}

    def score(
        self,
        inputs: Iterable[Any],
        *,
        sample_rate: int | None = None,
        frames: bool = False,
        metrics: Sequence[str] | None = None,
        uids: Iterable[str] | None = None,
    ) -> list[Row]:
        """Scores recordings.

        Args:
            inputs: Paths, or arrays [T] or [T, channels] with `sample_rate`.
            sample_rate: Of the arrays, in Hz.
            frames: Add the score and weight of each frame.
            metrics: Some of the model's metrics; None = all.
            uids: Name of each input; None = its path, or `array-<place>`.

        Returns:
            One row for each input, in order: `uid`, `path`, `scores` {metric: number}, `duration_s`, `windows`,
            `flags`, `error`. A recording that cannot be scored has `scores` None and `error` {code, message}.
        """
        return list(self.iter_scores(inputs, sample_rate=sample_rate, frames=frames, metrics=metrics, uids=uids))

    def iter_scores(
        self,
        inputs: Iterable[Any],
        *,
        sample_rate: int | None = None,
        frames: bool = False,
        metrics: Sequence[str] | None = None,
        uids: Iterable[str] | None = None,
    ) -> Iterator[Row]:
        """Rows of `score`, in order, as soon as each group of recordings is done."""
        metrics = self._chosen(metrics)
        sources = named_sources(inputs, uids)
        with Decoder(sources, sample_rate, self.min_samples) as groups:
            for group in groups:
                yield from self._score_group(group, metrics, frames)

    def compare(
        self,
        pairs: Iterable[tuple[Any, Any]],
        *,
        sample_rate: int | None = None,
        order: Literal["both", "ab"] = "both",
        metrics: Sequence[str] | None = None,
        uids: Iterable[str] | None = None,
    ) -> list[Row]:
        """Compares recordings: how much better the first of each pair is than the second.

        Args:
            pairs: (A, B), each a path or an array.
            sample_rate: Of the arrays, in Hz.
            order: "both": (f(A, B) - f(B, A)) / 2, antisymmetric; "ab": f(A, B) alone, the authors' number, with
                `logits` in the order A better, B better, tie.
            metrics: Some of the model's comparative metrics; None = all.
            uids: Name of each pair; None = `A B`.

        Returns:
            One row for each pair, in order: `uid`, `paths`, `comparison` {metric: {cmos, p_a, p_b, p_tie}},
            `durations_s`, `windows`, `flags`, `error`.
        """
        return list(self.iter_comparisons(pairs, sample_rate=sample_rate, order=order, metrics=metrics, uids=uids))

    def iter_comparisons(
        self,
        pairs: Iterable[tuple[Any, Any]],
        *,
        sample_rate: int | None = None,
        order: Literal["both", "ab"] = "both",
        metrics: Sequence[str] | None = None,
        uids: Iterable[str] | None = None,
    ) -> Iterator[Row]:
        """Rows of `compare`, in order. Features of a recording are computed once and kept until its last pair."""
        if order not in ("both", "ab"):
            raise ValueError(f"order is {order!r}, choose both or ab")
        if not self.comparative_metrics:
            raise ValueError("this model has no comparative metric; compare scores instead")
        metrics = self._chosen(metrics, self.comparative_metrics)
        pairs = [tuple(pair) for pair in pairs]
        names = None if uids is None else list(uids)
        keys = [tuple(_key(side) for side in pair) for pair in pairs]
        uses = collections.Counter(key for pair in keys for key in pair)
        sources: dict[Any, Any] = {}
        for pair, key in zip(pairs, keys, strict=True):
            for side, name in zip(pair, key, strict=True):
                sources.setdefault(name, side)
        ready: dict[Any, Encoded | AudioError] = {}
        done = 0
        with Decoder([(str(k), s) for k, s in sources.items()], sample_rate, self.min_samples) as groups:
            arrived = iter(sources)
            for group in groups:
                for key, encoded in zip(itertools.islice(arrived, len(group)), self._encode_group(group), strict=True):
                    ready[key] = encoded
                last = done
                while last < len(pairs) and all(key in ready for key in keys[last]):
                    last += 1
                rows = self._compare_pairs([[ready[k] for k in pair] for pair in keys[done:last]], metrics, order)
                for place, row in enumerate(rows, done):
                    sides = [side if isinstance(side, (str, Path)) else None for side in pairs[place]]
                    paths = [None if side is None else str(side) for side in sides]
                    uid = names[place] if names else " ".join(p or f"array-{place}" for p in paths)
                    yield {"uid": uid, "paths": paths, **row}
                for pair in keys[done:last]:
                    for key in pair:
                        uses[key] -= 1
                        if not uses[key]:
                            ready.pop(key, None)
                done = last

    def iter_encoded(
        self, inputs: Iterable[Any], *, sample_rate: int | None = None
    ) -> "Iterator[Encoded | AudioError]":
        """Features and scores of recordings, in order, for `compare_encoded`; or the error that says why not.

        Args:
            inputs: As in `score`; each is encoded once, however many pairs it is in.
            sample_rate: Of the arrays, in Hz.
        """
        with Decoder(named_sources(inputs, None), sample_rate, self.min_samples) as groups:
            for group in groups:
                yield from self._encode_group(group, scores=True)

    def compare_encoded(
        self,
        pairs: "Sequence[Sequence[Encoded | AudioError]]",
        *,
        order: Literal["both", "ab"] = "both",
        metrics: Sequence[str] | None = None,
    ) -> Iterator[Row]:
        """Rows of `compare`, in order, without `uid` and `paths`, of recordings that `iter_encoded` gave."""
        yield from self._compare_pairs(pairs, self._chosen(metrics, self.comparative_metrics), order)

    # What is compiled. All three are pure functions of the parameters and the batch.

    def _module(self, params: Any) -> UrgentMOS:
        return nnx.merge(self._graph, params)

    def _traced_score(
        self, params: Any, waveform: jax.Array, lengths: jax.Array, *, frames: bool
    ) -> dict[str, tuple[jax.Array, ...]]:
        with jax.default_matmul_precision("highest"):
            module = self._module(params)
            found = module.absolute(module.encode(waveform, lengths))
        return {
            name: (value.score, value.frame_scores, value.frame_weights) if frames else (value.score,)
            for name, value in found.items()
        }

    def _traced_encode(
        self, params: Any, waveform: jax.Array, lengths: jax.Array, *, scores: bool
    ) -> tuple[dict[str, jax.Array], dict[str, jax.Array]]:
        """Features by category, of those that are compared; and scores by metric, if asked for."""
        with jax.default_matmul_precision("highest"):
            module = self._module(params)
            features = module.encode(waveform, lengths)
            found = module.absolute(features) if scores else {}
        wanted = {self.config.category_of(name) for name in self.comparative_metrics}
        by_category = {name: x for name, x in features.by_category.items() if name in wanted}
        return by_category, {name: value.score for name, value in found.items()}

    def _traced_compare(
        self,
        params: Any,
        a: dict[str, jax.Array],
        b: dict[str, jax.Array],
        masks: tuple[jax.Array, jax.Array],
    ) -> dict[str, tuple[jax.Array, ...]]:
        """f(A, B) and f(B, A): {metric: (cmos, probabilities, logits) of AB, then of BA}."""
        with jax.default_matmul_precision("highest"):
            module = self._module(params)
            sides = Features(a, masks[0]), Features(b, masks[1])
            both = [module.compare(*sides), module.compare(*reversed(sides))]
        return {
            name: tuple(x for found in both for x in (found[name][0], jax.nn.softmax(found[name][1]), found[name][1]))
            for name in both[0]
        }

    # Groups of clips -> windows -> batches -> results.

    @property
    def _limits(self) -> dict[str, int]:
        return {"longest": self.window_samples, "shortest": self.min_samples}

    def _windows(self, group: Sequence[Decoded]) -> list[Window]:
        return [window for place, item in enumerate(group) for window in item.windows(place, **self._limits)]

    def _run(self, windows: list[Window], compute: Callable) -> Iterator[tuple[Batch, Any]]:
        """Computes windows in batches by length, a few in flight; results as numpy arrays."""
        flight: collections.deque = collections.deque()
        for batch in self._plan([window.samples for window in windows]):
            waveform = np.zeros((batch.rows, batch.size), np.float32)
            lengths = np.zeros(batch.rows, np.int32)
            for row, index in enumerate(batch.indices):
                samples = windows[index].waveform
                waveform[row, : len(samples)], lengths[row] = samples, len(samples)
            flight.append((batch, compute(self.params, *jax.device_put((waveform, lengths), self._by_row))))
            if len(flight) >= _IN_FLIGHT:
                batch, result = flight.popleft()
                yield batch, jax.tree.map(np.asarray, result)
        for batch, result in flight:
            yield batch, jax.tree.map(np.asarray, result)

    def _plan(self, lengths: list[int]) -> list[Batch]:
        budget = round(self.batch_seconds * SAMPLE_RATE_HZ)
        return plan_batches(lengths, self._buckets, budget=budget, multiple=self._devices, cost=self._cost)

    def _cost(self, samples: int) -> int:
        """Samples that the costliest encoder computes for a row of so many."""
        return max(encoder.computed_samples(samples) for encoder in self._encoders)

    def _score_group(self, group: list[Decoded], metrics: Sequence[str], frames: bool) -> Iterator[Row]:
        windows = self._windows(group)
        values: dict[int, dict[str, tuple]] = {}
        for batch, result in self._run(windows, partial(self._score, frames=frames)):
            for row, index in enumerate(batch.indices):
                count = self._frame_count(windows[index].samples)
                values[index] = {
                    name: (float(x[0][row]), *(part[row, :count] for part in x[1:])) for name, x in result.items()
                }
        places = collections.defaultdict(list)
        for index, window in enumerate(windows):
            places[window.place].append(index)
        for place, item in enumerate(group):
            row: Row = {"uid": item.uid, "path": item.path, "scores": None, "duration_s": None}
            if item.error is not None:
                yield {**row, "windows": 0, "flags": [], "error": _error(item.error)}
                continue
            mine = places[place]
            weights = np.array([windows[i].samples for i in mine], np.float64)
            weights /= weights.sum()
            row["scores"] = {
                name: float(sum(w * values[i][name][0] for w, i in zip(weights, mine, strict=True))) for name in metrics
            }
            row["duration_s"] = item.clip.duration_s
            row |= {"windows": len(mine), "flags": item.flags(**self._limits), "error": None}
            if frames:
                row["frame_rate_hz"] = self.frame_rate_hz
                row["frames"] = {
                    name: {
                        "scores": np.concatenate([values[i][name][1] for i in mine]).tolist(),
                        "weights": np.concatenate(
                            [w * values[i][name][2] for w, i in zip(weights, mine, strict=True)]
                        ).tolist(),
                    }
                    for name in metrics
                }
            yield row

    def _frame_count(self, samples: int) -> int:
        return max(int(encoder.frame_lengths(samples)) for encoder in self._encoders)

    def _encode_group(self, group: list[Decoded], *, scores: bool = False) -> "list[Encoded | AudioError]":
        windows = self._windows(group)
        found = [item.error or Encoded(item.clip.duration_s, item.flags(**self._limits), [], []) for item in group]
        values: dict[int, tuple[dict[str, np.ndarray], dict[str, float]]] = {}
        for batch, (by_category, by_metric) in self._run(windows, partial(self._encode, scores=scores)):
            for row, index in enumerate(batch.indices):
                count = self._frame_count(windows[index].samples)
                features = {name: x[row, :count].copy() for name, x in by_category.items()}
                values[index] = features, {name: float(x[row]) for name, x in by_metric.items()}
        for index, window in enumerate(windows):
            features, by_metric = values[index]
            found[window.place].windows.append((window.samples, features))
            found[window.place].window_scores.append(by_metric)
        return found

    def _compare_pairs(
        self, pairs: "Sequence[Sequence[Encoded | AudioError]]", metrics: Sequence[str], order: str
    ) -> Iterator[Row]:
        # One item for each place where both sides of a pair have a window.
        items = [
            (place, a, b)
            for place, pair in enumerate(pairs)
            if not any(isinstance(side, AudioError) for side in pair)
            for a, b in zip(pair[0].windows, pair[1].windows, strict=False)
        ]
        frames = [max(len(next(iter(side[1].values()))) for side in (a, b)) for _, a, b in items]
        sizes = [self._frame_count(size) for size in self._buckets]
        budget = round(self.batch_seconds * self.frame_rate_hz)
        found: dict[int, list] = collections.defaultdict(list)
        plan = plan_batches(frames, sizes, budget=budget, multiple=self._devices) if items else []
        for batch in plan:
            sides = [[items[i][side][1] for i in batch.indices] for side in (1, 2)]
            (a, mask_a), (b, mask_b) = (_stack(side, batch.rows, batch.size) for side in sides)
            inputs = jax.device_put((a, b, (mask_a, mask_b)), self._by_row)
            result = jax.tree.map(np.asarray, self._compare(self.params, *inputs))
            for row, index in enumerate(batch.indices):
                place, one, other = items[index]
                values = {name: [x[row] for x in result[name]] for name in metrics}
                found[place].append((one[0] + other[0], values))
        for place, pair in enumerate(pairs):
            failed = [side for side in pair if isinstance(side, AudioError)]
            if failed:
                row = {"comparison": None, "durations_s": None, "windows": 0, "flags": []}
                yield {**row, "error": _error(failed[0])}
                continue
            weights = np.array([weight for weight, _ in found[place]], np.float64)
            weights /= weights.sum()
            flags = [f"{name}_{flag}" for name, side in zip("ab", pair, strict=True) for flag in side.flags]
            if len(pair[0].windows) != len(pair[1].windows):
                flags.append("excess_left_out")
            yield {
                "comparison": {
                    name: _combine(weights, [values[name] for _, values in found[place]], order) for name in metrics
                },
                "durations_s": [side.duration_s for side in pair],
                "windows": len(weights),
                "flags": flags,
                "error": None,
            }

    def _chosen(self, metrics: Sequence[str] | None, known: Sequence[str] | None = None) -> tuple[str, ...]:
        known = self.metrics if known is None else known
        if metrics is None:
            return tuple(known)
        if unknown := [name for name in metrics if name not in known]:
            raise ValueError(f"metrics {unknown} are not among those of the model: {list(known)}")
        return tuple(metrics)

    def padding_efficiency(self, lengths: Sequence[int]) -> float:
        """Part of the computed samples that is audio, for clips of these lengths (samples, at most a window)."""
        plan = self._plan(list(lengths))
        return sum(lengths) / sum(batch.rows * batch.size for batch in plan)

    def describe(self) -> dict[str, Any]:
        """What was computed with what: model id and hash, origin, precision, window rule."""
        weights = None if self.folder is None else file_hash(self.folder / "model.safetensors")
        return {
            "model": self.name,
            "model_sha256": weights,
            "origin": self.origin,
            "precision": self.precision,
            "window_rule": f"clips over {self.window_samples / SAMPLE_RATE_HZ:g} s are cut into windows of that "
            "length, results averaged by length",
        }


@dataclasses.dataclass
class Encoded:
    """A recording as the encoders hear it.

    Attributes:
        duration_s: Its length in seconds.
        flags: As in a row of `score`.
        windows: For each window its samples and {category: [L, D] float32}.
        window_scores: For each window {metric: score}; empty where none were asked for.
    """

    duration_s: float
    flags: list[str]
    windows: list[tuple[int, dict[str, np.ndarray]]]
    window_scores: list[dict[str, float]]

    @property
    def scores(self) -> dict[str, float]:
        """{metric: score}, of the windows averaged by length."""
        lengths = [samples for samples, _ in self.windows]
        return {
            name: float(np.average([found[name] for found in self.window_scores], weights=lengths))
            for name in self.window_scores[0]
        }


def _key(source: Any) -> Any:
    """Equal for the same file, and for the same array object."""
    return str(source) if isinstance(source, (str, os.PathLike)) else id(source)


def _error(error: AudioError) -> dict[str, str]:
    return {"code": error.code, "message": error.message}


def _stack(items: list[dict[str, np.ndarray]], rows: int, size: int) -> tuple[dict[str, np.ndarray], np.ndarray]:
    """Features of several clips as [rows, size, D] by category, and their mask."""
    mask = np.zeros((rows, size), bool)
    arrays = {name: np.zeros((rows, size, x.shape[1]), x.dtype) for name, x in items[0].items()}
    for row, item in enumerate(items):
        for name, x in item.items():
            arrays[name][row, : len(x)] = x
            mask[row, : len(x)] = True
    return arrays, mask


def _combine(weights: np.ndarray, windows: list[list[np.ndarray]], order: str) -> dict[str, Any]:
    """Windows of a pair -> one comparison."""
    parts = [np.asarray(part, np.float64) for part in zip(*windows, strict=True)]
    cmos_ab, p_ab, logits_ab, cmos_ba, p_ba, _ = (np.tensordot(weights, part, 1) for part in parts)
    if order == "ab":
        cmos, (a, b, tie) = cmos_ab, p_ab
    else:
        cmos = (cmos_ab - cmos_ba) / 2
        a, b, tie = (p_ab + p_ba[[1, 0, 2]]) / 2
    values: dict[str, Any] = {"cmos": float(cmos), "p_a": float(a), "p_b": float(b), "p_tie": float(tie)}
    return {**values, "logits": logits_ab.tolist()} if order == "ab" else values


def least_samples(config: ModelConfig) -> int:
    """Samples of the shortest clip that is scored: one frame of each encoder, and at least 400 (25 ms)."""
    return max(
        next(n for n in range(LEAST_SAMPLES, SAMPLE_RATE_HZ) if encoder.architecture.frame_lengths(n) > 0)
        for encoder in config.encoders
    )


def most_samples(config: ModelConfig) -> int | None:
    """Samples of the longest clip that every encoder takes, None without a limit."""
    return min((m for e in config.encoders if (m := e.architecture.max_samples) is not None), default=None)
