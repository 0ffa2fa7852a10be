"""What a plan names, read: the audio of a batch, or the stored encoder states of its clips, and its labels."""

import jax
import numpy as np

from urgentmos_jax.audio.loading import SAMPLE_RATE_HZ, AudioError, load_audio
from urgentmos_jax.data.batching import BatchArrays, BatchShape, HostRows, LoadedBatch, SkippedClip, array_shapes
from urgentmos_jax.data.feature_cache import StoredStates
from urgentmos_jax.data.plan import Plan
from urgentmos_jax.manifests.durations import DURATION_TOLERANCE_SECONDS
from urgentmos_jax.manifests.sampling import stable_uniform


class BatchReader:
    """Reads the batches of a plan. Letters in shapes as in `data.batching`.

    Args:
        plan: What the batches hold.
        min_samples: Least length of a clip, at 16 kHz.
        states: Stored states of its clips, which the batches then carry; None = waveforms alone. With states, a clip
            longer than `plan.max_seconds` is cut at the same position in every epoch, else at another one in each.
    """

    def __init__(self, plan: Plan, *, min_samples: int, states: StoredStates | None = None):
        self.plan, self.states, self._min_samples = plan, states, min_samples

    def with_states(self, states: StoredStates) -> "BatchReader":
        """The same with stored states."""
        return BatchReader(self.plan, min_samples=self._min_samples, states=states)

    def load(self, index: int, rows: HostRows | None = None) -> LoadedBatch:
        """Loads a batch, or the rows of it that a host has.

        Args:
            index: Of the batch, counted over all epochs.
            rows: Of a host; None = all.

        Raises:
            DamagedStates: stored states are not what was written.
        """
        batch, data = self.plan[index], self.plan.data
        mine = (rows or HostRows())(batch.rows)
        filled = np.flatnonzero(mine < len(batch.clips))
        clips = batch.clips[mine[filled]]
        shapes = self.array_shapes(batch.shape._replace(rows=len(mine)))
        arrays = jax.tree.map(lambda x: np.zeros(x.shape, x.dtype), shapes)
        labels, cmos = np.full_like(arrays.labels, np.nan), np.full_like(arrays.cmos, np.nan)
        labels[filled], cmos[filled] = data.labels[clips], batch.cmos[mine[filled]]
        skipped = []
        for position, side in np.ndindex(*clips.shape):
            clip, row = int(clips[position, side]), int(filled[position])
            try:
                arrays.lengths[row, side] = self._fill(arrays, (row, side), clip, batch.epoch)
            except AudioError as error:
                skipped.append(
                    SkippedClip(uid=data.uids[clip], path=data.paths[clip], code=error.code, message=str(error))
                )
                labels[row, side] = cmos[row] = np.nan
        for values, numbers, mask in (
            (labels, arrays.labels, arrays.label_mask),
            (cmos, arrays.cmos, arrays.cmos_mask),
        ):
            numbers[:], mask[:] = np.nan_to_num(values), ~np.isnan(values)
        return LoadedBatch(
            arrays=arrays,
            skipped=skipped,
            uids=[[data.uids[clip] for clip in row] for row in batch.clips],
            shape=batch.shape,
            audio_seconds=float(self.plan.lengths[batch.clips].sum()) / SAMPLE_RATE_HZ,
        )

    def array_shapes(self, shape: BatchShape) -> BatchArrays:
        """Shapes and dtypes of the arrays of a batch."""
        data, stored = self.plan.data, () if self.states is None else self.states.shapes
        return array_shapes(
            shape,
            len(data.metrics),
            len(data.comparative),
            {one.encoder: one.shape(shape.samples) for one in stored},
            waveform=not (self.states and self.states.whole),
        )

    def _fill(self, arrays: BatchArrays, at: tuple[int, int], clip: int, epoch: int) -> int:
        """Puts a clip into (row, side); its samples."""
        length = 0
        if self.states is not None:
            epoch = 0  # Where the stored states are cut.
            length, states = self.states.read(self.states.names[clip])
            for one, values in zip(self.states.shapes, states, strict=True):
                arrays.states[one.encoder][at][..., : values.shape[-2], :] = values
        if arrays.waveform is not None:
            found = self.waveform(clip, epoch)
            arrays.waveform[at][: len(found)] = found
            length = len(found)
        return length

    def waveform(self, clip: int, epoch: int) -> np.ndarray:
        """A clip: [T] float32 at 16 kHz, cut to its length in the plan.

        Raises:
            AudioError: it cannot be decoded, or does not last as long as its manifest says.
        """
        data = self.plan.data
        path, declared = data.paths[clip], float(data.seconds[clip])
        audio = load_audio(path, min_samples=self._min_samples)
        if abs(audio.duration_s - declared) > DURATION_TOLERANCE_SECONDS:
            found = f"it lasts {audio.duration_s:.2f} s, its manifest says {declared:.2f} s; correct the manifest"
            raise AudioError("truncated" if audio.duration_s < declared else "too_large", f"{path}: {found}", path)
        samples = int(self.plan.lengths[clip])
        cut = float(stable_uniform(data.keys[clip : clip + 1], "cut", self.plan.seed, epoch)[0])
        start = round(cut * max(0, len(audio.waveform) - samples))
        return audio.waveform[start : start + samples]
