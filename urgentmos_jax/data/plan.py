"""Batches of training: a plan that depends on data, settings and seed alone, and what it names, loaded."""

import dataclasses
import functools
import threading
from typing import Any

import numpy as np

from urgentmos_jax.audio.loading import SAMPLE_RATE_HZ, AudioError, load_audio
from urgentmos_jax.data.partners import PairingScope, Partners
from urgentmos_jax.data.stored_states import StoredStates
from urgentmos_jax.data.training_set import TrainingSet, samples
from urgentmos_jax.manifests.durations import DURATION_TOLERANCE_SECONDS
from urgentmos_jax.manifests.sampling import stable_uniform
from urgentmos_jax.scoring.batching import bucket_sizes, cut_batches

__all__ = ["HostRows", "Plan", "PlannedBatch"]

SHORTEST_SECONDS = 1.0
# A training step compiles slowly, so its bucket sizes are coarser than that of scoring.
RATIO = 1.2


@dataclasses.dataclass(frozen=True)
class PlannedBatch:
    """What a batch holds, before anything is loaded.

    Args:
        clips: [n, sides] clips of the training set; sides is 1, or 2 for (A, B).
        cmos: [n, C] labels of the pairs, NaN where missing.
        rows: Rows of the batch, at least n; the others are empty.
        size: Samples of a row.
        epoch: Epoch it belongs to.
    """

    clips: np.ndarray
    cmos: np.ndarray
    rows: int
    size: int
    epoch: int


@dataclasses.dataclass(frozen=True)
class HostRows:
    """The rows of global batches that this host loads.

    Args:
        axis: Length of the mesh axis `data`.
        places: Places on it that this host's devices have, ascending.
    """

    axis: int = 1
    places: tuple[int, ...] = (0,)

    def __call__(self, rows: int) -> np.ndarray:
        """Numbers of this host's rows of a batch of so many, which is filled up to a multiple of the axis."""
        each = -(-rows // self.axis)
        return np.concatenate([np.arange(place * each, (place + 1) * each) for place in self.places])


class Plan:
    """The batches of a run, one after the other: a pure function of its arguments.

    Args:
        data: Clips and labels.
        scope: Who is compared with whom.
        seconds: Audio of a batch, padding included; of two-sided rows the longer side counts, as in the published
            recipe.
        most: Rows of a batch at most.
        max_seconds: Longer clips are cut to this length, at a place drawn anew each epoch.
        min_samples: Least length at 16 kHz.
        seed: Of partners, cuts and order.

    Where `states` is set, afterwards, to stored states of the clips, batches carry them, and long clips are cut at the
    same place in every epoch.
    """

    def __init__(
        self,
        data: TrainingSet,
        *,
        scope: PairingScope,
        seconds: float,
        most: int,
        max_seconds: float,
        min_samples: int,
        seed: int,
    ):
        self.data, self.seed, self.min_samples = data, seed, min_samples
        self.max_seconds = max_seconds
        self.states: StoredStates | None = None
        self.lengths = samples(data.seconds, max_seconds)
        self._budget, self._most = round(seconds * SAMPLE_RATE_HZ), most
        shortest = round(SHORTEST_SECONDS * SAMPLE_RATE_HZ)
        longest = max(shortest, int(self.lengths.max()))
        self.sizes = bucket_sizes(shortest, longest, ratio=RATIO, multiple=SAMPLE_RATE_HZ // 10)
        comparative = [data.metrics.index(name) for name in data.comparative]
        self._comparative_labels = data.labels[:, comparative]
        eligible = data.alone & (~np.isnan(self._comparative_labels)).any(1)
        self._partners = Partners(scope, self.lengths, data.corpora, data.references, data.keys, eligible)
        self._ends = [0]
        self._add_unpicklable()

    def _add_unpicklable(self) -> None:
        self.epoch = functools.lru_cache(maxsize=2)(self._epoch)
        self._ends_lock = threading.Lock()

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in self.__dict__.items() if name not in ("epoch", "_ends_lock")}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__ |= state
        self._add_unpicklable()

    def _epoch(self, epoch: int) -> list[PlannedBatch]:
        """Batches of an epoch: each clip once as A, and each given pair once."""
        alone = np.flatnonzero(self.data.alone)
        partners = self._partners.draw(self.seed, epoch)[alone]
        labels = self._comparative_labels
        cmos = labels[alone] - labels[partners]
        shared = (partners >= 0) & (~np.isnan(cmos)).any(1)
        single = alone[~shared][:, None]
        double = np.concatenate([np.stack([alone, partners], 1)[shared], self.data.pairs])
        double_cmos = np.concatenate([cmos[shared], self.data.cmos])
        rng = np.random.default_rng([self.seed, epoch])
        batches = []
        for clips, differences in ((single, np.full((len(single), labels.shape[1]), np.nan)), (double, double_cmos)):
            longest = self.lengths[clips].max(1, initial=0)
            for cut in cut_batches(longest, self.sizes, budget=self._budget, most=self._most, rng=rng):
                rows = list(cut.indices)
                batches.append(PlannedBatch(clips[rows], differences[rows], cut.rows, cut.size, epoch))
        return [batches[i] for i in rng.permutation(len(batches))]

    def __getitem__(self, index: int) -> PlannedBatch:
        """Batch `index` of the run, counted over all epochs."""
        with self._ends_lock:  # Threads of the loader share the plan.
            while index >= self._ends[-1]:
                self._ends.append(self._ends[-1] + len(self.epoch(len(self._ends) - 1)))
        epoch = int(np.searchsorted(self._ends, index, side="right")) - 1
        return self.epoch(epoch)[index - self._ends[epoch]]

    def shapes(self, epochs: int = 1) -> dict[tuple[int, int, int], int]:
        """(rows, sides, samples) of the batches in the first epochs, and how many have that shape."""
        found: dict[tuple[int, int, int], int] = {}
        for epoch in range(epochs):
            for batch in self.epoch(epoch):
                shape = (batch.rows, batch.clips.shape[1], batch.size)
                found[shape] = found.get(shape, 0) + 1
        return found

    def padding_efficiency(self, sides: int, epoch: int = 0) -> float:
        """Part of the computed samples that is audio, in the batches with one or two sides; NaN without any."""
        batches = [batch for batch in self.epoch(epoch) if batch.clips.shape[1] == sides]
        computed = sum(batch.rows * sides * batch.size for batch in batches)
        return sum(int(self.lengths[b.clips].sum()) for b in batches) / computed if batches else float("nan")

    def load(self, index: int, rows: HostRows = HostRows()) -> dict[str, Any]:
        """Loads a batch, or the rows of it that a host has.

        Args:
            index: Of the batch, counted over all epochs.
            rows: Of a host; by default all.

        Returns:
            `arrays` of R rows: waveform [R, S, T] float32 at 16 kHz, lengths [R, S] int32 (0 where empty), labels
            [R, S, K] and label_mask, cmos [R, C] and cmos_mask; masks are True where there is a label, labels 0 where
            there is none; of stored states `states.<encoder>` [R, S, ...] float16, and no waveform where it is not
            needed. `skipped`: clips of these rows that could not be loaded: uid, path, code, message; their
            labels are masked, and those of their pair. Of the whole batch: `uids` of the rows, A and B;
            `shape` (rows, sides, samples), `audio_seconds`, and `computed_seconds` with the padding.
        """
        batch, data = self[index], self.data
        mine = rows(batch.rows)
        filled = np.flatnonzero(mine < len(batch.clips))
        clips = batch.clips[mine[filled]]
        count, sides = len(mine), clips.shape[1]
        inputs = self._inputs(count, sides, batch.size)
        lengths = np.zeros((count, sides), np.int32)
        labels = np.full((count, sides, len(data.metrics)), np.nan, np.float32)
        cmos = np.full((count, len(data.comparative)), np.nan, np.float32)
        labels[filled], cmos[filled] = data.labels[clips], batch.cmos[mine[filled]]
        skipped = []
        for place, side in np.ndindex(*clips.shape):
            clip, row = int(clips[place, side]), filled[place]
            try:
                lengths[row, side] = self._fill(inputs, (row, side), clip, batch)
            except AudioError as error:
                skipped.append(
                    {"uid": data.uids[clip], "path": data.paths[clip], "code": error.code, "message": str(error)}
                )
                labels[row, side] = cmos[row] = np.nan
        masks = {"label_mask": ~np.isnan(labels), "cmos_mask": ~np.isnan(cmos)}
        numbers = {"labels": np.nan_to_num(labels), "cmos": np.nan_to_num(cmos)}
        return {
            "arrays": {**inputs, "lengths": lengths, **numbers, **masks},
            "skipped": skipped,
            "uids": [[data.uids[clip] for clip in row] for row in batch.clips],
            "shape": (batch.rows, sides, batch.size),
            "audio_seconds": float(self.lengths[batch.clips].sum()) / SAMPLE_RATE_HZ,
            "computed_seconds": batch.rows * sides * batch.size / SAMPLE_RATE_HZ,
        }

    def input_shapes(self, size: int) -> dict[str, tuple[tuple[int, ...], Any]]:
        """Shape and dtype, for a clip of a row of so many samples, of the arrays that the model is fed with."""
        stored = () if self.states is None else self.states.shapes
        shapes = {f"states.{one.encoder}": (one.shape(size), np.float16) for one in stored}
        return shapes if self.states and self.states.whole else {"waveform": ((size,), np.float32), **shapes}

    def _inputs(self, rows: int, sides: int, size: int) -> dict[str, np.ndarray]:
        return {
            name: np.zeros((rows, sides, *shape), dtype) for name, (shape, dtype) in self.input_shapes(size).items()
        }

    def _fill(self, inputs: dict[str, np.ndarray], at: tuple[int, int], clip: int, batch: PlannedBatch) -> int:
        """Puts a clip into a row; its samples."""
        length = min(batch.size, int(self.lengths[clip]))
        if self.states is not None:
            name = self.states.name(self.data.paths[clip], self.data.seconds[clip])
            length, found = self.states.read(name)
            for one, values in zip(self.states.shapes, found, strict=True):
                inputs[f"states.{one.encoder}"][at][..., : values.shape[-2], :] = values
        if "waveform" in inputs:
            found = self.decode(clip, self.cut(clip, 0 if self.states is not None else batch.epoch), length)
            inputs["waveform"][at][: len(found)] = found
            length = len(found)
        return length

    def cut(self, clip: int, epoch: int) -> float:
        """Where a long clip is cut: from 0, its start, to 1, its end."""
        return float(stable_uniform(self.data.keys[clip : clip + 1], "cut", self.seed, epoch)[0])

    def decode(self, clip: int, cut: float, most: int) -> np.ndarray:
        """Samples of a clip, at most so many.

        Raises:
            AudioError: it cannot be decoded, or does not last as long as its manifest says.
        """
        path, declared = self.data.paths[clip], float(self.data.seconds[clip])
        audio = load_audio(path, min_samples=self.min_samples)
        if abs(audio.duration_s - declared) > DURATION_TOLERANCE_SECONDS:
            found = f"it lasts {audio.duration_s:.2f} s, its manifest says {declared:.2f} s; correct the manifest"
            raise AudioError("truncated" if audio.duration_s < declared else "too_large", f"{path}: {found}", path)
        start = round(cut * max(0, len(audio.waveform) - most))
        return audio.waveform[start : start + most]
