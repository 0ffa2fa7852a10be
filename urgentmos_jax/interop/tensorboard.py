"""The scores of audio in TensorBoard, from any training loop.

>>> log = ScoreLog("urgentmos-small", sample_rate=24000)
>>> for batch in validation:
...     log.add(network(batch))
>>> log.write(writer, step)                            # SummaryWriter of torch.utils.tensorboard or tensorboardX
"""

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from urgentmos_jax.interop.shared import SharedModel, clips_of, score_each
from urgentmos_jax.scoring.model import Model


class ScoreLog:
    """Gathers the scores of clips until they are written.

    Args:
        model: Model folder, hub id, or a `Model`.
        sample_rate: Of the audio, in Hz.
        metrics: Some of the model's metrics; None = all. The clip that is worst by the first of them can be heard.
        prefix: Of the tags: `urgentmos/mos_overall`, `urgentmos/failed`, `urgentmos/worst`.
    """

    def __init__(
        self,
        model: str | Path | Model,
        sample_rate: int,
        *,
        metrics: Sequence[str] | None = None,
        prefix: str = "urgentmos",
    ):
        self._model, self._metrics = SharedModel(model), metrics
        self.sample_rate, self.prefix = sample_rate, prefix
        self._clear()

    def _clear(self) -> None:
        self.scores: dict[str, list[float]] = {}
        self.failed = 0
        self._worst: tuple[float, np.ndarray] | None = None

    def add(self, audio: Any, lengths: Any = None) -> None:
        """Scores clips.

        Args:
            audio: [B, T], [B, 1, T], [T], or a list of such; torch tensors or arrays.
            lengths: [B] samples; None: whole rows.
        """
        clips = clips_of(audio, lengths)
        rows = score_each(self._model.model, [(clip, self.sample_rate) for clip in clips], self._metrics)
        for clip, row in zip(clips, rows, strict=True):
            if row["scores"] is None:
                self.failed += 1
                continue
            for name, score in row["scores"].items():
                self.scores.setdefault(name, []).append(score)
            first = next(iter(row["scores"].values()))
            if self._worst is None or first < self._worst[0]:
                self._worst = first, clip.copy()

    @property
    def metrics(self) -> Sequence[str]:
        """Names of the scores."""
        return self._metrics or self._model.model.metrics

    def means(self) -> dict[str, float]:
        """{tag: mean of the clips}, and under `failed` the number of those that have no scores."""
        found = {f"{self.prefix}/{name}": math.fsum(values) / len(values) for name, values in self.scores.items()}
        return found | {f"{self.prefix}/failed": float(self.failed)}

    def write(self, writer: Any, step: int) -> dict[str, float]:
        """Writes means, distributions and the worst clip, and begins anew.

        Args:
            writer: With `add_scalar`, and perhaps `add_histogram` and `add_audio`.
            step: Of the training.

        Returns:
            What `means` gives.
        """
        means = self.means()
        for tag, value in means.items():
            writer.add_scalar(tag, value, step)
        if hasattr(writer, "add_histogram"):
            for name, values in self.scores.items():
                writer.add_histogram(f"{self.prefix}/clips/{name}", np.array(values, np.float32), step)
        if self._worst is not None and hasattr(writer, "add_audio"):
            clip = self._worst[1].astype(np.float32)
            writer.add_audio(f"{self.prefix}/worst", clip, step, sample_rate=self.sample_rate)
        self._clear()
        return means
