"""A metric of torchmetrics: the mean scores of the audio of an epoch.

>>> metric = SpeechQuality("urgentmos-small", sample_rate=16000)
>>> metric.update(enhanced)                            # [B, T]
>>> metric.compute()                                   # {"mos_overall": tensor(3.61), ...}
"""

import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from urgentmos_jax.interop.shared import SharedModel, base_class, clips_of, failure_of, score_each
from urgentmos_jax.scoring.model import Model

Metric: Any = base_class("torchmetrics", "Metric", "torchmetrics")


class SpeechQuality(Metric):
    """Mean scores of clips; those that have none (empty, too short, not finite) are left out, with a warning.

    It has no gradient: `urgentmos_jax.interop.torch.Scorer` has.

    Args:
        model: Model folder, hub id, or a `Model`.
        sample_rate: Of the audio, in Hz.
        metrics: Some of the model's metrics; None = all.
        kwargs: Of `torchmetrics.Metric`.

    Attributes:
        total: [K] sums of the scores.
        count: Clips in them.
    """

    is_differentiable = False
    full_state_update = False

    def __init__(
        self, model: str | Path | Model, sample_rate: int, *, metrics: Sequence[str] | None = None, **kwargs: Any
    ):
        super().__init__(**kwargs)
        import torch

        self.shared = SharedModel(model)
        self.sample_rate = sample_rate
        self.metrics = tuple(metrics or self.shared.model.metrics)
        self.add_state("total", torch.zeros(len(self.metrics), dtype=torch.float64), dist_reduce_fx="sum")
        self.add_state("count", torch.tensor(0), dist_reduce_fx="sum")

    def update(self, preds: Any, lengths: Any = None) -> None:
        """Scores clips.

        Args:
            preds: [..., T].
            lengths: [...] samples; None: whole rows.
        """
        clips = [(clip, self.sample_rate) for clip in clips_of(preds, lengths)]
        for row in score_each(self.shared.model, clips, self.metrics):
            if row["scores"] is None:
                warnings.warn(f"a clip is left out: {failure_of(row)}", stacklevel=2)
                continue
            self.total += self.total.new_tensor([row["scores"][name] for name in self.metrics])
            self.count += 1

    def compute(self) -> dict[str, Any]:
        """{metric: mean}, NaN where there was no clip."""
        return dict(zip(self.metrics, (self.total / self.count).float(), strict=True))
