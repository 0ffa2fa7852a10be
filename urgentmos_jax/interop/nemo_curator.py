"""A stage of NeMo Curator: audio tasks get scores, by which `PreserveByValueStage` filters.

>>> pipeline.add_stage(UrgentMOSStage(model="urgentmos-small"))
>>> pipeline.add_stage(PreserveByValueStage("mos_overall", 3.5, "ge"))
"""

from typing import Any

from urgentmos_jax.interop.shared import SharedModel, as_numpy, base_class, scores_or_failures

ProcessingStage: Any = base_class("nemo_curator.stages.base", "ProcessingStage", "nemo-curator")


class UrgentMOSStage(ProcessingStage):
    """Adds {metric: score} to the data of tasks; where there is none, NaN, and the reason under `score_error`.

    A task has `waveform` ([T] or [channels, T]) and `sample_rate`, or a path under `audio_filepath`.

    Args:
        model: Model folder or hub id.
        metrics: Some of the model's metrics; None = all.
        batch_size: Tasks that are scored together.
    """

    name = "UrgentMOS"

    def __init__(self, model: str, metrics: list[str] | None = None, batch_size: int = 32):
        super().__init__()
        self.shared = SharedModel(model)
        self.metrics, self.batch_size = metrics, batch_size

    def inputs(self) -> tuple[list[str], list[str]]:
        """Attributes and data that a task must have."""
        return [], []

    def outputs(self) -> tuple[list[str], list[str]]:
        """Attributes and data that it has afterwards."""
        return [], list(self.metrics or [])

    def setup(self, worker_metadata: Any = None) -> None:
        """Loads the model in the worker."""
        _ = self.shared.model

    def process(self, task: Any) -> Any:
        """Scores one task."""
        return self.process_batch([task])[0]

    def process_batch(self, tasks: list[Any]) -> list[Any]:
        """Scores tasks together."""
        names = self.metrics or self.shared.model.metrics
        found = scores_or_failures(self.shared.model, [_clip(task.data) for task in tasks], self.metrics)
        for task, (scores, failure) in zip(tasks, found, strict=True):
            task.data.update(scores or dict.fromkeys(names, float("nan")))
            task.data.pop("score_error", None)
            if failure:
                task.data["score_error"] = failure
        return tasks


def _clip(data: dict[str, Any]) -> tuple[Any, float | None] | str:
    if data.get("waveform") is not None:
        if data.get("sample_rate") is None:
            return "unreadable_input: the task has a waveform and no sample_rate"
        return as_numpy(data["waveform"]), float(data["sample_rate"])
    return data.get("audio_filepath") or "", None
