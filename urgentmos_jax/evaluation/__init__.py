"""Predictions against labels, and the paper's tables."""

from urgentmos_jax.lazy import public

__getattr__, __all__ = public(
    __name__,
    datasets="Dataset read_datasets",
    evaluating="EvaluationError MissingPredictions evaluate",
    paper="PaperValue beside_paper paper_section paper_values sets_of",
    predicting="predict",
    predictions="Predictions PredictionsError join read_predictions",
    results="Evaluation",
    tables="as_json as_markdown as_text",
)
