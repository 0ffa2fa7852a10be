"""The model card of a model, with the tables of an evaluation of it."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from huggingface_hub import EvalResult

from urgentmos_jax.evaluation.results import PREFIXED
from urgentmos_jax.evaluation.tables import TITLES
from urgentmos_jax.tables import markdown_table
from urgentmos_jax.weights.cache import find_model
from urgentmos_jax.weights.model_card import STATISTICS, model_card
from urgentmos_jax.weights.model_folder import read_folder_config


class CardError(ValueError):
    """A file is not an evaluation of the model; the message names it."""


def card_of(source: str | Path, *, revision: str | None = None, evaluation: Path | None = None) -> str:
    """A model card in the hub's format.

    Args:
        source: Model folder or hub id.
        revision: Of the hub repository.
        evaluation: What `urgentmos evaluate --json` wrote.

    Raises:
        ModelNotFound, HubFileChanged, ModelFolderError: as `Model.from_pretrained`.
        CardError: that is no evaluation, or not of this model.
    """
    content = read_folder_config(find_model(source, revision=revision))[1]
    name = str(source) if revision is None else f"{source}@{revision}"
    if evaluation is None:
        return model_card(content, name)
    tables, results = read_evaluation(evaluation, name)
    return model_card(content, name, evaluation=tables, results=results)


def read_evaluation(path: Path, name: str) -> tuple[str, list[EvalResult]]:
    """The tables of an evaluation, and its results for the metadata of a card.

    Args:
        path: What `urgentmos evaluate --json` wrote.
        name: Of the model; it counts where several were evaluated.

    Raises:
        CardError: see there.
    """
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise CardError(f"{path}: cannot be read ({error})") from None
    try:
        models = list(found["predictors"])
        model = models[0] if len(models) == 1 else _same(name, models)
        if model is None:
            raise CardError(f"{path}: evaluates {', '.join(models)}; give an evaluation of {name} alone")
        rows = [row for one in found["results"] if one["predictor"] == model for row in _rows(one)]
        results = [result for one in found["results"] if one["predictor"] == model for result in _results(one)]
        note = (
            f"In brackets {100 * found['confidence']:.0f} % bootstrap intervals ({found['draws']:,} resamples, seed "
            f"{found['seed']}). LCC is Pearson's, SRCC Spearman's correlation, KTAU Kendall's tau; pairs are compared "
            "by the CMOS head."
        )
    except (AttributeError, LookupError, TypeError, ValueError) as error:
        if isinstance(error, CardError):
            raise
        raise CardError(f"{path}: not what `urgentmos evaluate --json` writes ({error!r})") from None
    if not rows:
        raise CardError(f"{path}: holds no result of {model}")
    table = markdown_table([("data", "metric", "level", "n", "statistics"), *rows], text_columns=(0, 1, 2, 4))
    return f"{table}\n\n{note}", results


def _same(name: str, models: list[str]) -> str | None:
    """The one of the models that has this name, whole or its last part, as `evaluate` shortens names."""
    found = [one for one in models if one == name or Path(one).name == Path(name).name]
    return found[0] if len(found) == 1 else None


def _rows(one: Mapping[str, Any]) -> list[list[str]]:
    rows = []
    for level, found in one["levels"].items():
        numbers = [
            f"{TITLES.get(statistic, statistic)} {_interval(value)}"
            for statistic, value in found["figures"].items()
            if value["value"] is not None
        ]
        if numbers:
            title = level.replace("_", " ") if level in PREFIXED else one["kind"]
            rows.append([one["corpus"], one["metric"], title, f"{found['n']:,}", ", ".join(numbers)])
    return rows


def _interval(value: Mapping[str, Any]) -> str:
    number = f"{value['value']:.3f}"
    return number if value["low"] is None else f"{number} [{value['low']:.3f}, {value['high']:.3f}]"


def _results(one: Mapping[str, Any]) -> list[EvalResult]:
    """Correlations and errors by utterance; the hub has no names for the others."""
    figures = one["levels"].get("utterance", {"figures": {}})["figures"]
    return [
        EvalResult(
            task_type="audio-classification",
            task_name="Speech quality assessment",
            dataset_type=one["corpus"],
            dataset_name=one["corpus"],
            metric_type=kind,
            metric_name=f"{TITLES[statistic]} of {one['metric']}",
            metric_value=figures[statistic]["value"],
        )
        for statistic, kind in STATISTICS.items()
        if figures.get(statistic, {"value": None})["value"] is not None
    ]
