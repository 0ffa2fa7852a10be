"""What config.json says of a model, in words: facts for `urgentmos info`, and the model card, README.md on the hub.

The card is in the hub's format, with metadata in YAML at its top (https://huggingface.co/docs/hub/model-cards).
"""

import math
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import huggingface_hub

from urgentmos_jax.metrics import CATALOGUE
from urgentmos_jax.tables import markdown_table

# Keys of `origin` that have a line of their own.
_TOLD = ("licence", "licences", "data", "speech", "evaluation")
# The hub's identifiers of statistics.
STATISTICS = {"lcc": "pearsonr", "srcc": "spearmanr", "mse": "mse"}


def facts(content: Mapping[str, Any]) -> dict[str, str]:
    """What is known of where a model comes from: origin, licence, training data, agreement with labels.

    Args:
        content: Of config.json.
    """
    origin = content.get("origin") or {}
    plain = [f"{key} {_number(value)}" for key, value in origin.items() if key not in _TOLD and _is_plain(value)]
    found = {
        "origin": ", ".join(plain),
        "licence": str(origin.get("licence") or ""),
        "training data": "; ".join(_training_data(origin)),
        "agreement": "; ".join(_agreement(origin)),
    }
    return {key: text for key, text in found.items() if text}


def licence_id(name: str) -> str:
    """The hub's identifier of a licence: `cc-by-nc-sa-4.0` of "CC BY-NC-SA 4.0"."""
    return re.sub(r"[^a-z0-9.]+", "-", name.lower()).strip("-")


def model_card(
    content: Mapping[str, Any], name: str, *, evaluation: str = "", results: Sequence[huggingface_hub.EvalResult] = ()
) -> str:
    """A model card in Markdown, made from what is known; what is not known is said not to be.

    Args:
        content: Of config.json.
        name: Folder or hub id that the model is loaded by.
        evaluation: A section of the card: tables of agreement with labels.
        results: Of the evaluation, for the metadata.
    """
    about = facts(content)
    metrics = {name: one for category in content["model"]["categories"].values() for name, one in category.items()}
    compared = [name for name, one in metrics.items() if one["comparative"]]
    title = name.rstrip("/").rpartition("/")[2].partition("@")[0]
    parts = [
        f"---\n{_metadata(content, title, results)}\n---",
        f"# {title}",
        "Speech quality assessment: a recording of speech in, scores out, without a clean reference."
        + (" Of two recordings it tells which is better, and by how much." if compared else "")
        + " The architecture is [UrgentMOS](https://arxiv.org/abs/2601.18438), the program urgentmos_jax.",
        "## Use",
        _use(name, list(metrics), compared),
        "## What it predicts",
        markdown_table([_HEADER, *_rows(metrics)], text_columns=range(len(_HEADER))),
        _how_to_read(metrics, compared),
        "## Agreement with labels",
        evaluation or _own_evaluation(content) or "Not evaluated here; `urgentmos evaluate DATA.jsonl --model M` does.",
        "## Training",
        _training(content, about),
        "## Licence",
        about.get("licence")
        or "Not stated. Whoever publishes the model chooses one that the licences of its training data, and of the "
        "model it was made from, allow.",
    ]
    return "\n\n".join(parts) + "\n"


_HEADER = ("metric", "from", "to", "better", "what it is", "known from")


def _rows(metrics: Mapping[str, Any]) -> Iterator[list[str]]:
    for name, one in metrics.items():
        known = CATALOGUE.get(name)
        bounds = ["open" if one[side] is None else f"{one[side]:g}" for side in ("minimum", "maximum")]
        if known is None:
            yield [name, *bounds, "", "", ""]
            continue
        source = "listeners" if known.human else "a clean reference" if known.needs_reference else "a predictor"
        yield [name, *bounds, "higher" if known.higher_is_better else "lower", known.description, source]


def _how_to_read(metrics: Mapping[str, Any], compared: list[str]) -> str:
    lines = ["Scores known from listeners estimate their average; a single listener differs from that."]
    if any(not CATALOGUE[name].human for name in metrics if name in CATALOGUE):
        lines.append(
            "Those known from a clean reference, or from a predictor, estimate that metric from the recording alone: "
            "they are not listeners' opinion, and share the errors of what they were learnt from."
        )
    if compared:
        lines.append(
            f"Comparisons ({', '.join(compared)}): `cmos` is by how much the first recording is better, negative "
            "where it is worse; `p_a`, `p_b` and `p_tie` are the probabilities that it is better, worse, or neither."
        )
    return " ".join(lines)


def _use(name: str, metrics: list[str], compared: list[str]) -> str:
    lines = [
        "import urgentmos_jax",
        "",
        f'model = urgentmos_jax.load_model("{name}")',
        f'model.score(["a.wav", "b.flac"])[0]["scores"]  # {{"{metrics[0]}": ..., ...}}',
    ]
    if compared:
        row = f'{{"{compared[0]}": {{"cmos": ..., "p_a": ..., ...}}}}'
        lines.append(f'model.compare([("a.wav", "b.flac")])[0]["comparison"]  # {row}')
    code = "\n".join(lines)
    return (
        f"```python\n{code}\n```\n\nIn the shell: `urgentmos score recordings/ --model {name} --output scores.jsonl`. "
        "Recordings of any sample rate are mixed to mono and resampled to 16 kHz; what lies above 8 kHz is not heard."
    )


def _training(content: Mapping[str, Any], about: Mapping[str, str]) -> str:
    lines = [f"- {key}: {about[key]}" for key in ("origin", "training data") if key in about]
    encoders = [
        f"{one['architecture']['model_type']} ({'frozen' if one['freeze'] else 'trained'})"
        for one in content["model"]["encoders"]
    ]
    lines.append(f"- encoders: {', '.join(encoders)}")
    if content.get("calibration"):
        lines.append(f"- calibrated by labelled pairs: {', '.join(content['calibration'])}")
    lines.append(f"- written by urgentmos_jax {content['tool_version']}")
    return "\n".join(lines)


def _own_evaluation(content: Mapping[str, Any]) -> str:
    lines = _agreement(content.get("origin") or {})
    return "\n".join(f"- {line}" for line in lines)


def _agreement(origin: Mapping[str, Any]) -> list[str]:
    """Of `origin.evaluation`, {metric: {statistic: number}}; a line for each metric."""
    found = []
    given = origin.get("evaluation")
    for metric, values in given.items() if isinstance(given, Mapping) else ():
        if isinstance(values, Mapping):
            numbers = [f"{key.upper()} {values[key]:.3f}" for key in STATISTICS if _is_number(values.get(key))]
            clips = [f"{values['n']:,} clips"] if isinstance(values.get("n"), int) else []
            found += [f"{metric}: {', '.join([*numbers, *clips])}"] if numbers else []
    return found


def _training_data(origin: Mapping[str, Any]) -> list[str]:
    licences = origin.get("licences")
    licences = licences if isinstance(licences, Mapping) else {}
    data = [f"{name} ({licences[name]})" if name in licences else str(name) for name in _list(origin.get("data"))]
    return data + list(map(str, _list(origin.get("speech"))))


def _metadata(content: Mapping[str, Any], title: str, results: Sequence[huggingface_hub.EvalResult]) -> str:
    origin = content.get("origin") or {}
    datasets = dict.fromkeys(str(name).partition("/")[0] for name in _list(origin.get("data")))
    statistics = dict.fromkeys(one.metric_type for one in results)
    card = huggingface_hub.ModelCardData(
        license=licence_id(str(origin["licence"])) if origin.get("licence") else None,
        library_name="urgentmos_jax",
        pipeline_tag="audio-classification",
        tags=["speech", "speech-quality-assessment", "mos", "jax", "flax"],
        datasets=[name for name in datasets if not name.endswith(".jsonl")] or None,
        metrics=list(statistics) or None,
        model_name=title if results else None,
        eval_results=list(results) or None,
    )
    return str(card.to_yaml()).strip()


def _list(value: Any) -> list[Any]:
    return list(value) if isinstance(value, (list, tuple)) else []


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)


def _is_plain(value: Any) -> bool:
    return isinstance(value, str) or _is_number(value)


def _number(value: Any) -> str:
    return value if isinstance(value, str) else f"{value:,}"
