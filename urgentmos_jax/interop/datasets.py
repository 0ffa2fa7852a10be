"""A function for `Dataset.map` of Hugging Face datasets: columns of scores.

>>> dataset = dataset.cast_column("audio", Audio(decode=False))     # decoded here, by one reader for all formats
>>> dataset = dataset.map(ScoreColumns("urgentmos-small"), batched=True, batch_size=64)
"""

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from urgentmos_jax.interop.shared import SharedModel, as_numpy, failure_of, score_each
from urgentmos_jax.scoring.model import Model


class ScoreColumns:
    """Adds a column for each metric, NaN for a recording that has none, and `score_error`, which says why, or is empty.

    (A column whose first batch is all None takes no values later.)

    Args:
        model: Model folder or hub id; or a `Model`, for `num_proc=None`.
        column: Of the audio: {"bytes", "path"}, decoded ({"array", "sampling_rate"} or torchcodec's), or a path.
        metrics: Some of the model's metrics; None = all.
        prefix: Before the names of the metrics.
    """

    def __init__(
        self,
        model: str | Path | Model,
        *,
        column: str = "audio",
        metrics: Sequence[str] | None = None,
        prefix: str = "",
    ):
        self.shared = SharedModel(model)
        self.column, self.prefix = column, prefix
        self.metrics = None if metrics is None else tuple(metrics)

    def __call__(self, batch: Mapping[str, Any]) -> dict[str, Any]:
        """The new columns of a batch, or of one example."""
        value = batch[self.column]
        several = isinstance(value, list)
        clips = [_clip(one) for one in (value if several else [value])]
        rows = score_each(self.shared.model, clips, self.metrics)
        found: dict[str, list[Any]] = {
            self.prefix + name: [math.nan if row["scores"] is None else row["scores"][name] for row in rows]
            for name in self.metrics or self.shared.model.metrics
        }
        found[f"{self.prefix}score_error"] = [failure_of(row) or "" for row in rows]
        return found if several else {name: values[0] for name, values in found.items()}


def _clip(value: Any) -> tuple[Any, float | None]:
    if hasattr(value, "get_all_samples"):
        samples = value.get_all_samples()
        return as_numpy(samples.data), float(samples.sample_rate)
    if isinstance(value, Mapping) and "array" in value:
        return as_numpy(value["array"]), float(value["sampling_rate"])
    return value, None
