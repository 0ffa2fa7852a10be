"""The plan of a run: its global batches, a pure function of data, settings and seed; nothing is read here."""

import dataclasses
import functools
import threading
from collections import Counter
from typing import Any

import numpy as np

from urgentmos_jax.audio.loading import SAMPLE_RATE_HZ
from urgentmos_jax.data.batching import BatchShape, cut_batches
from urgentmos_jax.data.partners import PairingScope, Partners
from urgentmos_jax.data.training_set import TrainingSet
from urgentmos_jax.scoring.batching import bucket_sizes

MIN_SECONDS = 1.0
# A training step compiles slowly, so its buckets are coarser than those of scoring.
RATIO = 1.2


@dataclasses.dataclass(frozen=True)
class PlannedBatch:
    """What a batch holds.

    Args:
        clips: [n, S] indices of clips in the training set; S is 1, or 2 for (A, B).
        cmos: [n, C] labels of the pairs, NaN where missing.
        rows: Rows of the batch, at least n; the others are empty.
        samples: Of a row.
        epoch: Epoch it belongs to.
    """

    clips: np.ndarray
    cmos: np.ndarray
    rows: int
    samples: int
    epoch: int

    @property
    def shape(self) -> BatchShape:
        """Rows, sides and samples."""
        return BatchShape(self.rows, self.clips.shape[1], self.samples)


class Plan:
    """The batches of a run, one after the other.

    Args:
        data: Clips and labels.
        scope: Who is compared with whom.
        seconds: Audio of a batch, padding included; of two-sided rows the longer side counts, as in the published
            recipe.
        max_rows: Rows of a batch at most.
        max_seconds: Longer clips are cut to this length.
        seed: Of partners and order, and of the cuts that `reading.BatchReader` makes.
    """

    def __init__(
        self, data: TrainingSet, *, scope: PairingScope, seconds: float, max_rows: int, max_seconds: float, seed: int
    ):
        self.data, self.seed, self.max_seconds = data, seed, max_seconds
        self.lengths = np.maximum(1, np.rint(np.minimum(data.seconds, max_seconds) * SAMPLE_RATE_HZ)).astype(np.int64)
        self._budget, self._max_rows = round(seconds * SAMPLE_RATE_HZ), max_rows
        shortest = round(MIN_SECONDS * SAMPLE_RATE_HZ)
        longest = max(shortest, int(self.lengths.max()))
        self.sizes = bucket_sizes(shortest, longest, ratio=RATIO, multiple=SAMPLE_RATE_HZ // 10)
        self._labels = data.comparative_labels
        eligible = data.alone & (~np.isnan(self._labels)).any(1)
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
        cmos = self._labels[alone] - self._labels[partners]
        shared = (partners >= 0) & (~np.isnan(cmos)).any(1)
        single = alone[~shared][:, None]
        double = np.concatenate([np.stack([alone, partners], 1)[shared], self.data.pairs])
        double_cmos = np.concatenate([cmos[shared], self.data.cmos])
        rng = np.random.default_rng([self.seed, epoch])
        batches = []
        for clips, differences in ((single, np.full((len(single), cmos.shape[1]), np.nan)), (double, double_cmos)):
            longest = self.lengths[clips].max(1, initial=0)
            for cut in cut_batches(longest, self.sizes, budget=self._budget, max_rows=self._max_rows, rng=rng):
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

    def shapes(self, epochs: int = 1) -> dict[BatchShape, int]:
        """Shapes of the batches in the first epochs, and how many have that shape."""
        return Counter(batch.shape for epoch in range(epochs) for batch in self.epoch(epoch))

    def padding_efficiency(self, sides: int) -> float:
        """Part of the computed samples that is audio, in the batches with one or two sides; NaN without any."""
        batches = [batch for batch in self.epoch(0) if batch.shape.sides == sides]
        computed = sum(batch.rows * sides * batch.samples for batch in batches)
        return sum(int(self.lengths[b.clips].sum()) for b in batches) / computed if batches else float("nan")
