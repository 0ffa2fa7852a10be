"""Batches to train on, as training makes them: TrainingSet -> Plan -> BatchReader.

Letters in shapes: N clips, K metrics, R rows, S sides.
"""

import itertools
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from configs.f1c1m5_d_corpus import get_config
from launch.benchmark.clips import generated
from urgentmos_jax.data.batching import BatchArrays
from urgentmos_jax.data.partners import PairingScope
from urgentmos_jax.data.plan import Plan
from urgentmos_jax.data.training_set import TrainingSet
from urgentmos_jax.metrics import Metric
from urgentmos_jax.model.cost import clip_flops
from urgentmos_jax.model.urgentmos import ModelConfig
from urgentmos_jax.training.config import read_config

RECIPE = read_config(get_config())
# Part of the labels that a corpus lacks here.
MISSING = 0.2
PLANNED_CLIPS, CLIPS_A_REFERENCE = 4000, 8


def pairs_of_clips(metrics: Mapping[str, Metric], *, rows: int, seconds: float) -> BatchArrays:
    """A batch of pairs of generated clips, each clip labelled in every metric."""
    clips = np.stack(list(generated(2 * rows, seconds=seconds)))
    data = random_set([""] * len(clips), np.full(len(clips), seconds), metrics)
    low, high = np.array([_bounds(metric) for metric in metrics.values()]).T
    labels = np.where(np.isnan(data.labels), (low + high) / 2, data.labels).astype(np.float32).reshape(rows, 2, -1)
    comparative = [list(metrics).index(name) for name in data.comparative]
    cmos = labels[:, 0, comparative] - labels[:, 1, comparative]
    return BatchArrays(
        waveform=clips.reshape(rows, 2, -1),
        states={},
        lengths=np.full((rows, 2), clips.shape[1], np.int32),
        labels=labels,
        label_mask=np.ones(labels.shape, bool),
        cmos=cmos,
        cmos_mask=np.ones(cmos.shape, bool),
    )


def random_set(
    paths: list[str], seconds: np.ndarray, metrics: Mapping[str, Metric], references: np.ndarray | None = None
) -> TrainingSet:
    """One corpus with random labels in range, a part of them missing; each clip keeps one.

    Args:
        paths: N files; an empty name serves for a plan that is never loaded.
        seconds: [N].
        metrics: Of the model.
        references: [N] numbers; None where nothing is known of them.
    """
    rng = np.random.default_rng(0)
    low, high = np.array([_bounds(metric) for metric in metrics.values()]).T
    labels = rng.uniform(low, high, (len(paths), len(metrics))).astype(np.float32)
    missing = rng.random(labels.shape) < MISSING
    missing[missing.all(1), -1] = False
    comparative = tuple(name for name, metric in metrics.items() if metric.comparative)
    return TrainingSet(
        uids=[f"{place}:{path}" for place, path in enumerate(paths)],
        paths=paths,
        seconds=seconds,
        labels=np.where(missing, np.float32(np.nan), labels),
        corpora=np.zeros(len(paths), np.int64),
        references=np.full(len(paths), -1) if references is None else references,
        systems=[None] * len(paths),
        alone=np.ones(len(paths), bool),
        pairs=np.zeros((0, 2), np.int64),
        cmos=np.zeros((0, len(comparative)), np.float32),
        metrics=tuple(metrics),
        comparative=comparative,
        clipped={},
    )


def make_plan(data: TrainingSet, scope: PairingScope, batch_seconds: float) -> Plan:
    """The plan of a run, with the published limits."""
    limits = {"max_rows": RECIPE.batch.clips, "max_seconds": RECIPE.data.max_seconds}
    return Plan(data, scope=scope, seconds=batch_seconds, seed=0, **limits)


def plan_numbers(plan: Plan, prefix: str = "") -> dict[str, Any]:
    """Padding efficiency of rows with one and with two sides, where there are such, and the shapes of an epoch."""
    sides = {"one_sided": plan.padding_efficiency(1), "two_sided": plan.padding_efficiency(2)}
    figures = {f"{prefix}padding_efficiency_{name}": value for name, value in sides.items() if not np.isnan(value)}
    return {**figures, f"{prefix}shapes": len(plan.shapes())}


def realistic_plans(metrics: Mapping[str, Metric]) -> dict[str, Any]:
    """`plan_numbers` of a few thousand clips in the published batches, for three ways of pairing.

    Lengths are log-normal around 4.5 s; those of one reference, the same sentence by several systems, differ by 5%.
    """
    rng = np.random.default_rng(0)
    references = np.repeat(np.arange(PLANNED_CLIPS // CLIPS_A_REFERENCE), CLIPS_A_REFERENCE)
    sentences = rng.lognormal(np.log(4.5), 0.45, references[-1] + 1)[references]
    seconds = np.clip(sentences * rng.normal(1, 0.05, PLANNED_CLIPS), 1, 20)
    data = random_set([""] * PLANNED_CLIPS, seconds, metrics, references)
    figures: dict[str, Any] = {"planned_clips": PLANNED_CLIPS}
    for scope in ("corpus", "reference", "none"):
        plan = make_plan(data, scope, RECIPE.batch.seconds)
        figures |= plan_numbers(plan, f"planned_{scope}_")
    return figures


def training_flops(config: ModelConfig, batches: Sequence[BatchArrays]) -> float:
    """Operations of the updates, without padding: what is needed, not what is done.

    A frozen encoder is passed forward once. All else counts three times the forward pass: backward, a matrix product
    needs one for the gradient of its input and one for that of its weights. A comparison is the cross-attention of
    both orders, each side projected to queries, keys, values and output once. Transformers of a CMOS head's own,
    pooling, dropout and the optimizer are left out.
    """
    encoders = [(3 if not encoder.freeze else 1, encoder.architecture) for encoder in config.encoders]
    width, total = config.width, 0.0
    for lengths in itertools.chain.from_iterable(batch.lengths.tolist() for batch in batches):
        for samples in filter(None, lengths):
            work = [architecture.flops(samples) for _, architecture in encoders]
            total += sum(times * one for (times, _), one in zip(encoders, work, strict=True))
            total += 3 * (clip_flops(config, samples) - sum(work))
        if len(lengths) == 2 and all(lengths):
            a, b = (max(one.frame_lengths(samples) for _, one in encoders) for samples in lengths)
            crossed = 2 * 4 * (a + b) * width**2 + 2 * 4 * a * b * width
            total += 3 * len(config.comparative_metrics) * crossed
    return total


def _bounds(metric: Metric) -> tuple[float, float]:
    """Range that labels are sampled from: the metric's, where that is finite."""
    low, high = metric.minimum, metric.maximum
    if not np.isfinite(low):
        low = high - 5 if np.isfinite(high) else -2.5
    return low, high if np.isfinite(high) else low + 5
