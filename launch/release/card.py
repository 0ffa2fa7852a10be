"""The card of urgentmos-small: what it agrees with, where it fails, and how fast it is."""

from collections.abc import Mapping
from typing import Any

from launch.release.evaluate import table
from launch.release.listeners import RATING
from launch.release.speed import speed_text
from urgentmos_jax.tables import markdown_table

__all__ = ["agreement_text", "unlike_table"]


def agreement_text(evaluation: Mapping[str, Any], rated: Mapping[str, Any] | None) -> str:
    """The section of agreement, in Markdown.

    Args:
        evaluation: Of `evaluate.evaluate`.
        rated: Of `listeners.beside_teachers`, or None where there was no second stage.
    """
    pairs = evaluation["pairs"]
    parts = [
        f"On {evaluation['clips']} clips of voices and languages that were never met in training, some of degradations "
        "that were not either: Spearman's correlation with the metric or predictor itself, in groups of at least 20.",
        table(evaluation),
        f"Of {pairs['n']} pairs apart by at least half a standard deviation of {pairs['metric']} "
        f"({pairs['min_difference']:.2f}), the CMOS head finds the better one in {100 * pairs['accuracy']:.1f} %.",
        "None of these is a listener's opinion: a score named after a predictor is what that predictor would say.",
        "Recordings of other kinds, 20 each, by Distill-MOS itself and by the head of that name:",
        evaluation["limits"],
        "Rows of recordings unlike those of the training have the flag `unlike_training`:",
        unlike_table(evaluation),
        speed_text(evaluation["speed"]),
    ]
    if rated is not None:
        parts += _rated(rated)
    return "\n\n".join(parts)


def unlike_table(evaluation: Mapping[str, Any]) -> str:
    """How many recordings of each kind are flagged, and how well the distance tells them from held-out clips."""
    rows = [["recordings", "number", "flagged", "AUROC"]]
    for kind, found in evaluation["unlike"].items():
        auroc = f"{found['auroc']:.2f}" if "auroc" in found else ""
        rows.append([kind, str(found["n"]), f"{100 * found['flagged']:.0f} %", auroc])
    return markdown_table(rows, {0})


def _rated(rated: Mapping[str, Any]) -> list[str]:
    sets = {name: one for name, one in rated.items() if name != "differences"}
    rows = [["correlation with listeners", *(f"{name}, {one['clips']} clips" for name, one in sets.items())]]
    first = next(iter(sets.values()))
    for kind, title in (("ours", "urgentmos-small"), ("teachers", "the predictor itself")):
        rows += [
            [f"{metric}, {title}", *(_figures(one[kind][metric]) for one in sets.values())] for metric in first[kind]
        ]
    differences = ", ".join(
        f"{name.replace(' - ', ' less ')} {found['value']:+.3f} [{found['low']:+.3f}, {found['high']:+.3f}]"
        for name, found in rated["differences"].items()
    )
    return [
        f"`{RATING}` was learnt from {sum(one['clips'] for one in sets.values())} rated recordings of two kinds, noise "
        "and speech codecs, and is not a general MOS. Its figures here are of models that had not heard the talker "
        "(five folds); the one that is shipped has learnt them all. The other heads never met these clips. SRCC by "
        "clip with its 95 % interval, and by system:",
        markdown_table(rows, {0}),
        f"Differences of SRCC by clip, mean of both sets, paired bootstrap over talkers or signals: {differences}.",
    ]


def _figures(found: Mapping[str, float]) -> str:
    return f"{found['clip']:.3f} [{found['low']:.3f}, {found['high']:.3f}], {found['system']:.3f}"
