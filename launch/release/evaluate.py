"""Agreement of the model with its teachers, on voices, languages and degradations that it never met."""

from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from launch.release.recipes import HELD_OUT
from urgentmos_jax.manifests.reading import read_utterances
from urgentmos_jax.manifests.records import Utterance
from urgentmos_jax.scoring.model import Model
from urgentmos_jax.scoring.rows import Compared, Scored
from urgentmos_jax.statistics.correlation import agreement
from urgentmos_jax.statistics.preference import sign_accuracy
from urgentmos_jax.tables import markdown_table

__all__ = ["evaluate", "table"]

_MIN_CLIPS = 20  # Of a group that has a correlation.


def evaluate(model: Model, manifests: Sequence[Path], seed: int = 0) -> dict[str, Any]:
    """Scores held-out clips and compares pairs of them.

    Args:
        model: That is evaluated.
        manifests: Of labelled clips, as `labels.label_shard` writes them.
        seed: Of the pairs: each clip meets two others.

    Returns:
        `clips`; `metrics` {metric: n, lcc, srcc, mse, ...}; `families` and `voices` {group: {metric: SRCC}};
        `pairs`: accuracy of the CMOS head on pairs apart by at least half a standard deviation.
    """
    clips = [clip for manifest in manifests for clip in read_utterances(manifest)[0]]
    rng = np.random.default_rng(seed)
    pairs = [(a, int(b)) for a in range(len(clips)) for b in rng.choice(len(clips), 2, replace=False) if a != b]
    found = list(model.assess([clip.audio_path for clip in clips], pairs))
    scores = {one.index: one.row["scores"] for one in found if isinstance(one, Scored)}
    compared = {one.index: one.row["comparison"] for one in found if isinstance(one, Compared)}
    (name,) = model.comparative_metrics
    true = np.array([clip.metrics.get(name, np.nan) for clip in clips])
    differences = np.array([true[a] - true[b] for a, b in pairs])
    known = [i for i in range(len(pairs)) if np.isfinite(differences[i])]
    minimum = float(np.nanstd(true)) / 2
    accuracy = sign_accuracy([compared[i][name]["cmos"] for i in known], differences[known].tolist(), minimum)
    metrics = list(scores[0])
    return {
        "clips": len(clips),
        "metrics": {metric: _agreement(clips, scores, metric, range(len(clips))) for metric in metrics},
        "families": _by(clips, scores, metrics, lambda clip: _named(clip.meta["family"])),
        "voices": _by(clips, scores, metrics, lambda clip: clip.meta["voice"]),
        "pairs": {"metric": name, "min_difference": minimum, **accuracy},
    }


def _named(family: str) -> str:
    return f"{family} (never met)" if family in HELD_OUT.values() else family


def _agreement(clips: Sequence[Utterance], scores: dict[int, dict[str, float]], metric: str, chosen: Any) -> Any:
    here = [i for i in chosen if metric in clips[i].metrics]
    if len(here) < _MIN_CLIPS:
        return None
    return agreement([scores[i][metric] for i in here], [clips[i].metrics[metric] for i in here])


def _by(clips: Sequence[Utterance], scores: Any, metrics: Sequence[str], group_of: Any) -> dict[str, Any]:
    groups = defaultdict(list)
    for i, clip in enumerate(clips):
        groups[group_of(clip)].append(i)
    return {
        group: {"clips": len(chosen)}
        | {m: found["srcc"] for m in metrics if (found := _agreement(clips, scores, m, chosen))}
        for group, chosen in sorted(groups.items())
    }


def table(results: dict[str, Any]) -> str:
    """SRCC as a Markdown table: all clips, then family by family."""
    metrics = list(results["metrics"])
    overall = {m: found["srcc"] for m, found in results["metrics"].items() if found}
    groups = {"all": {"clips": results["clips"]} | overall, **results["families"], **results["voices"]}
    rows = [[group, str(found["clips"]), *(_text(found.get(m)) for m in metrics)] for group, found in groups.items()]
    return markdown_table([["SRCC", "clips", *metrics], *rows], {0})


def _text(value: float | None) -> str:
    return "" if value is None else f"{value:.3f}"
