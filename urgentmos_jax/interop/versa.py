"""A metric of VERSA (wavlab-speech/versa), by its classes `BaseMetric` and `MetricRegistry`.

>>> registry = MetricRegistry()
>>> register_urgentmos_metric(registry)
>>> scorer = VersaScorer(registry)                     # and in score.yaml: - name: urgentmos
                                                       #                     model: urgentmos-small
"""

import importlib
from typing import Any

from urgentmos_jax.interop.shared import SharedModel, base_class, failure_of, score_each

_PACKAGE = "git+https://github.com/wavlab-speech/versa"
BaseMetric: Any = base_class("versa.definition", "BaseMetric", _PACKAGE)


class UrgentMOSMetric(BaseMetric):
    """Scores as `urgentmos_METRIC`.

    The config has `model` (folder or hub id), and perhaps `metrics`, a list.
    """

    def _setup(self) -> None:
        if "model" not in self.config:
            raise ValueError("urgentmos: the config names no model; add `model: FOLDER_OR_HUB_ID`")
        self.shared = SharedModel(self.config["model"])

    def compute(
        self, predictions: Any, references: Any = None, metadata: dict[str, Any] | None = None
    ) -> dict[str, float]:
        """Scores one waveform [T] at `metadata["sample_rate"]`, or 16 kHz.

        Raises:
            ValueError: It cannot be scored; the message says why.
        """
        clip = predictions, (metadata or {}).get("sample_rate", 16000)
        (row,) = score_each(self.shared.model, [clip], self.config.get("metrics"))
        if row["scores"] is None:
            raise ValueError(f"urgentmos: {failure_of(row)}")
        return {f"urgentmos_{name}": score for name, score in row["scores"].items()}

    def get_metadata(self) -> Any:
        """What VERSA lists of it."""
        return _metadata()


def register_urgentmos_metric(registry: Any) -> None:
    """Adds `urgentmos` to a `MetricRegistry`."""
    registry.register(UrgentMOSMetric, _metadata(), aliases=["urgent_mos"])


def _metadata() -> Any:
    versa = importlib.import_module("versa.definition")
    return versa.MetricMetadata(
        name="urgentmos",
        category=versa.MetricCategory.INDEPENDENT,
        metric_type=versa.MetricType.DICT,
        requires_reference=False,
        requires_text=False,
        gpu_compatible=True,
        auto_install=False,
        dependencies=["urgentmos_jax"],
        description="Speech quality by UrgentMOS: opinion scores and objective metrics without a reference",
        paper_reference="https://arxiv.org/abs/2601.18438",
        implementation_source="urgentmos_jax",
    )
