"""Predictions against labels, and the paper's tables."""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from urgentmos_jax.evaluation.datasets import Dataset, read_datasets
    from urgentmos_jax.evaluation.evaluating import EvaluationError, MissingPredictions, evaluate
    from urgentmos_jax.evaluation.predicting import predict
    from urgentmos_jax.evaluation.predictions import Predictions, PredictionsError, join, read_predictions
    from urgentmos_jax.evaluation.results import Evaluation
    from urgentmos_jax.evaluation.tables import as_json, as_markdown, as_text

_FILES = {
    "datasets": ("Dataset", "read_datasets"),
    "evaluating": ("EvaluationError", "MissingPredictions", "evaluate"),
    "predicting": ("predict",),
    "predictions": ("Predictions", "PredictionsError", "join", "read_predictions"),
    "results": ("Evaluation",),
    "tables": ("as_json", "as_markdown", "as_text"),
}
__all__ = [
    "Dataset",
    "Evaluation",
    "EvaluationError",
    "MissingPredictions",
    "Predictions",
    "PredictionsError",
    "as_json",
    "as_markdown",
    "as_text",
    "evaluate",
    "join",
    "predict",
    "read_datasets",
    "read_predictions",
]


def __getattr__(name: str) -> Any:
    for file, names in _FILES.items():
        if name in names:
            return getattr(importlib.import_module(f"{__name__}.{file}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
