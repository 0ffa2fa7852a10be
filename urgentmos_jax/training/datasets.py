"""The data of a run, as its config names them: what it learns from, in which batches, and what it is validated on."""

import hashlib
import json
import logging
import math
from collections.abc import Sequence
from pathlib import Path

from urgentmos_jax.audio.loading import SAMPLE_RATE_HZ
from urgentmos_jax.data.plan import Plan
from urgentmos_jax.data.training_set import TrainingSet, find_source, read_training_set
from urgentmos_jax.files import absolute_path
from urgentmos_jax.manifests.overlap import overlaps
from urgentmos_jax.manifests.records import ManifestError
from urgentmos_jax.model.urgentmos import ModelConfig
from urgentmos_jax.scoring.windows import max_samples
from urgentmos_jax.training.config import ConfigError, TrainConfig
from urgentmos_jax.training.validation import ValidationSet, read_validation_sets

logger = logging.getLogger(__name__)


def read_datasets(config: TrainConfig) -> tuple[TrainingSet, list[ValidationSet]]:
    """Reads the manifests of a config.

    Raises:
        ConfigError: a manifest is both in data.train and in data.valid.
        FileNotFoundError: one is not there.
        ManifestError: naming the lines of all faults, or what both parts hold.
    """
    data = config.data
    metrics = config.model.metrics
    root, audio_root = absolute_path(data.root), Path(data.audio_root) if data.audio_root else None
    train, valid = ([find_source(name, root) for name in names] for names in (data.train, data.valid))
    if both := {str(s.path.resolve()) for s in train} & {str(s.path.resolve()) for s in valid}:
        raise ConfigError(f"data: {', '.join(sorted(both))} in both data.train and data.valid")
    found = read_training_set(train, metrics, audio_root=audio_root)
    validation = read_validation_sets(valid, metrics, audio_root=audio_root, scope=data.pairing_scope, seed=config.seed)
    if faults := overlaps([[source.path for source in part] for part in (train, valid)], audio_root=audio_root):
        raise ManifestError(faults)
    labels = ", ".join(f"{name} {count}" for name, count in found.label_counts().items())
    logger.info("%d clips, %.2f h, labels: %s", len(found.uids), found.hours, labels)
    if found.clipped:
        logger.warning("labels outside their range, clipped: %s", dict(found.clipped))
    if cut := int((found.seconds > data.max_seconds).sum()):
        logger.warning("%d clips are longer than %g s and are cut", cut, data.max_seconds)
    return found, validation


def fingerprint(data: TrainingSet, validation: Sequence[ValidationSet]) -> dict[str, str]:
    """What hosts must have in common to form the same batches and the same validation: a hash by the name of a set."""
    sets = {"data.train": data} | {one.name: one.data for one in validation}
    arrays = ("seconds", "labels", "corpora", "references", "pairs", "cmos")
    return {
        name: hashlib.sha256(
            json.dumps(one.uids).encode() + b"".join(getattr(one, array).tobytes() for array in arrays)
        ).hexdigest()[:16]
        for name, one in sets.items()
    }


def check_lengths(config: TrainConfig, model: ModelConfig) -> None:
    """Compares data.max_seconds with the longest clip that every encoder takes.

    Raises:
        ConfigError: it is longer.
    """
    longest, max_seconds = max_samples(model), config.data.max_seconds
    if longest is not None and max_seconds * SAMPLE_RATE_HZ > longest:
        raise ConfigError(
            f"data.max_seconds is {max_seconds:g}, an encoder takes {longest / SAMPLE_RATE_HZ:g} s; set it to that: "
            f"longer clips are then cut, at another position in each epoch"
        )


def make_plan(config: TrainConfig, data: TrainingSet, axis: int) -> Plan:
    """The batches of a run; logs their padding.

    Args:
        config: Of the run.
        data: Of `read_datasets`.
        axis: Length of the mesh axis `data`, which shares the rows of a batch.
    """
    plan = Plan(
        data,
        scope=config.data.pairing_scope,
        seconds=config.batch.seconds,
        max_rows=config.batch.clips,
        max_seconds=config.data.max_seconds,
        seed=config.seed,
    )
    shapes = plan.shapes()
    found = {name: plan.padding_efficiency(sides) for sides, name in ((1, "one-sided"), (2, "two-sided"))}
    padding = ", ".join(f"{value:.2f} {name}" for name, value in found.items() if math.isfinite(value))
    logger.info("%d batches an epoch, %d shapes, padding efficiency %s", len(plan.epoch(0)), len(shapes), padding)
    if wasted := max(-shape.rows % axis / shape.rows for shape in shapes):
        logger.warning(
            "up to %.0f %% empty rows, since %d devices share batches of few rows; raise batch.seconds",
            *(100 * wasted, axis),
        )
    return plan
