"""The second stage: `mos_overall`, a head on the features of the first, from recordings that listeners rated.

166 ratings are few: all that is learnt is a weight of each feature, averaged over the clip, by ridge regression. What
the first stage has learnt stays as it is.
"""

import dataclasses
import itertools
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import jax.numpy as jnp
import numpy as np
from flax import nnx

from launch.supervision.study import FOLDS, RATED, assign_folds, talker_of
from urgentmos_jax.corpora.custom import prepare_table
from urgentmos_jax.labels.labelling import label_manifest
from urgentmos_jax.manifests.reading import read_utterances
from urgentmos_jax.manifests.records import Utterance
from urgentmos_jax.metrics import Metric
from urgentmos_jax.model.urgentmos import UrgentMOS
from urgentmos_jax.scoring.model import Model
from urgentmos_jax.scoring.unlike import recording_features
from urgentmos_jax.statistics.bootstrap import Estimates, paired_differences
from urgentmos_jax.statistics.correlation import agreement_with_intervals, system_means
from urgentmos_jax.statistics.ranks import spearman
from urgentmos_jax.weights.rules import flat_state

__all__ = ["RATING", "TEACHERS", "Rated", "beside_teachers", "predicted_by_folds", "rated", "with_rating"]

RATING = "mos_overall"
TEACHERS = ("distill_mos", "dnsmos_ovrl")
_SCALE = (1.0, 5.0)
# Penalty of the regression, as a part of the largest eigenvalue of the features' products. 166 ratings are too few to
# choose it: chosen anew in each fold it lay anywhere between 1 and 10,000, and the folds' scales with it.
_PENALTY = 0.3


@dataclasses.dataclass(frozen=True)
class Rated:
    """Rated clips and what the first stage makes of them.

    Args:
        clips: With `mos_overall` from 1 to 5, and the teachers' own scores where these are known.
        sets: Set of each clip.
        features: [N, D] float64, features before the heads, averaged over the clip.
    """

    clips: Sequence[Utterance]
    sets: np.ndarray
    features: np.ndarray

    @property
    def ratings(self) -> np.ndarray:
        """[N] mean opinion of each clip."""
        return np.array([clip.metrics[RATING] for clip in self.clips])

    @property
    def folds(self) -> np.ndarray:
        """[N] the fold that the clip's talker is tested in."""
        by_set = {str(name): [c for c, s in zip(self.clips, self.sets, strict=True) if s == name] for name in self.sets}
        fold_of = assign_folds(by_set)
        return np.array([fold_of[talker_of(clip.reference_id or clip.uid)] for clip in self.clips])


def rated(module: UrgentMOS, ratings: Path, folder: Path, distill_mos: Path | None = None) -> Rated:
    """Reads the rated sets.

    Args:
        module: The first stage.
        ratings: Folder of the sets, each with `ratings.csv`.
        folder: Where their manifests and the teachers' scores go.
        distill_mos: Folder of that teacher; where it is given, DNSMOS is computed too.

    Raises:
        FileNotFoundError: A set is not there.
    """
    clips, sets = [], []
    for name, (columns, _) in RATED.items():
        table = ratings / name / "ratings.csv"
        if not table.is_file():
            raise FileNotFoundError(f"--ratings: no {table}; give the folder of {name}")
        manifest = folder / name / "data.jsonl"
        if not manifest.exists():
            prepare_table(table, folder / name, columns)
        if distill_mos is not None:
            taught = manifest.with_name("taught.jsonl")
            label_manifest(manifest, taught, metrics=TEACHERS, model=distill_mos)
            manifest = taught
        part, _ = read_utterances(manifest)
        clips += part
        sets += [name] * len(part)
    features = recording_features(Model(module), [clip.audio_path for clip in clips])
    return Rated(clips, np.array(sets), features.astype(np.float64))


def _fit(features: np.ndarray, targets: np.ndarray, sets: np.ndarray) -> tuple[np.ndarray, float]:
    """Weights and bias; each set is centred by itself, since the scale of one listening test is not that of another.

    The bias is that of the first set, whose scale is that of a MOS.
    """
    x, y = features.copy(), targets.copy()
    for name in np.unique(sets):
        x[sets == name] -= x[sets == name].mean(0)
        y[sets == name] -= y[sets == name].mean()
    spread = x.std(0) + 1e-6
    x /= spread
    products = x.T @ x
    penalty = _PENALTY * np.linalg.eigvalsh(products)[-1]
    weights = np.linalg.solve(products + penalty * np.eye(x.shape[1]), x.T @ y) / spread
    first = sets == sets[0]
    return weights, float(targets[first].mean() - features[first].mean(0) @ weights)


def _logit(ratings: np.ndarray) -> np.ndarray:
    """What a head gives before its sigmoid."""
    low, high = _SCALE
    part = np.clip((ratings - low) / (high - low), 0.02, 0.98)
    return np.log(part / (1 - part))


def predicted_by_folds(data: Rated) -> np.ndarray:
    """[N] `mos_overall` of each clip from the clips of other talkers alone."""
    low, high = _SCALE
    found = np.zeros(len(data.clips))
    for fold in range(FOLDS):
        train, test = np.flatnonzero(data.folds != fold), np.flatnonzero(data.folds == fold)
        weights, bias = _fit(data.features[train], _logit(data.ratings[train]), data.sets[train])
        found[test] = low + (high - low) / (1 + np.exp(-(data.features[test] @ weights + bias)))
    return found


def with_rating(module: UrgentMOS, data: Rated) -> UrgentMOS:
    """The model with a head of `mos_overall` that has learnt all rated clips."""
    weights, bias = _fit(data.features, _logit(data.ratings), data.sets)
    config = module.config
    (category, metrics), *others = config.categories.items()
    categories = {category: metrics | {RATING: Metric(*_SCALE)}, **dict(others)}
    wider = UrgentMOS(dataclasses.replace(config, categories=categories), rngs=nnx.Rngs(0))
    known = flat_state(module)
    for path, x in flat_state(wider).items():
        if path in known:
            x[...] = known[path][...]
    head = wider.absolute_heads[RATING]
    # Every frame weighs the same, as in the regression.
    head.pool.score_out.kernel[...] = jnp.zeros_like(head.pool.score_out.kernel[...])
    head.score.kernel[...] = jnp.asarray(weights[:, None], jnp.float32)
    head.score.bias[...] = jnp.asarray([bias], jnp.float32)
    return wider


def beside_teachers(data: Rated, scores: Mapping[str, np.ndarray]) -> dict[str, Any]:
    """SRCC with the listeners by clip and by system, of our heads and of the teachers themselves.

    Args:
        data: Rated clips with the teachers' scores.
        scores: {metric: [N] of ours}.

    Returns:
        {set: {"clips", "systems", "ours": {metric: {"clip", "low", "high", "system"}}, "teachers": the same}}, and
        "differences": {"metric - teacher": {"value", "low", "high"}}, means over the sets by the paired bootstrap.
    """
    own = {name: np.array([clip.metrics[name] for clip in data.clips]) for name in TEACHERS}
    found: dict[str, Any] = {}
    parts: dict[tuple[str, str], list[Estimates]] = {}
    for name in dict.fromkeys(data.sets.tolist()):
        here = np.flatnonzero(data.sets == name)
        clips = [data.clips[i] for i in here]
        systems = [clip.system_id for clip in clips]
        row: dict[str, Any] = {"clips": len(here), "systems": len(set(systems))}
        for kind, values in (("ours", scores), ("teachers", own)):
            row[kind] = {}
            for metric, numbers in values.items():
                estimate = agreement_with_intervals(
                    numbers[here], data.ratings[here], [clip.reference_id for clip in clips]
                )
                parts.setdefault((kind, metric), []).append(estimate)
                interval = estimate.intervals["srcc"]
                by_system = spearman(*system_means(numbers[here], data.ratings[here], systems))
                row[kind][metric] = {
                    "clip": interval.value, "low": interval.low, "high": interval.high, "system": by_system,
                }  # fmt: skip
        found[name] = row
    found["differences"] = {
        f"{metric} - {teacher}": _difference(parts["ours", metric], parts["teachers", teacher])
        for metric, teacher in itertools.product(scores, TEACHERS)
        if metric in (teacher, RATING)
    }
    return found


def _difference(ours: Sequence[Estimates], theirs: Sequence[Estimates]) -> dict[str, float]:
    """Mean over the sets of ours less theirs, resampled together."""
    value = np.mean([paired_differences(b, a)["srcc"].interval.value for a, b in zip(ours, theirs, strict=True)])
    moved = np.mean([a.resamples["srcc"] - b.resamples["srcc"] for a, b in zip(ours, theirs, strict=True)], axis=0)
    low, high = np.nanpercentile(moved, [2.5, 97.5])
    return {"value": float(value), "low": float(low), "high": float(high)}
