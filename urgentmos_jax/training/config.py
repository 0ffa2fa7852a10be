"""The configuration of a run: every key is stated in the config file, and an unknown or missing one is named.

What the keys mean is told in `configs/common.py`.
"""

import dataclasses
from collections.abc import Iterator, Mapping
from dataclasses import field
from typing import Any, ClassVar

from urgentmos_jax.data.partners import PairingScope
from urgentmos_jax.encoders.encoder import Architecture
from urgentmos_jax.metrics import CATALOGUE
from urgentmos_jax.model.losses import LossConfig
from urgentmos_jax.model.urgentmos import ModelConfig
from urgentmos_jax.schema import SchemaError, at_least, read
from urgentmos_jax.training.mesh import MeshConfig
from urgentmos_jax.training.step import OptimizerConfig, Precision


class ConfigError(ValueError):
    """Keys of a config that are unknown, missing or of another type; the message names all."""


@dataclasses.dataclass(frozen=True)
class DataConfig:
    """What is learnt from."""

    root: str
    train: tuple[str, ...]
    valid: tuple[str, ...]
    audio_root: str
    pairing_scope: PairingScope
    max_seconds: float = field(metadata={"above": 0})
    workers: int = field(metadata=at_least(0))
    most_bad: float = field(metadata=at_least(0))
    feature_cache: str


@dataclasses.dataclass(frozen=True)
class BatchConfig:
    """One update."""

    seconds: float = field(metadata={"above": 0})
    clips: int = field(metadata=at_least(1))
    accumulate: int = field(metadata=at_least(1))


@dataclasses.dataclass(frozen=True)
class Pretrained(Architecture):
    """Stands for the architecture of an encoder, in a Hugging Face folder or on the hub, until it is read."""

    has_regularisation: ClassVar[bool] = True

    source: str
    own_length: bool | None = None


@dataclasses.dataclass(frozen=True)
class TrainConfig:
    """A run.

    The config file names the encoders of `model`, and gives each either `pretrained`, its source, and for Whisper's
    perhaps `own_length`; or `architecture`, which starts from random weights.
    """

    seed: int = field(metadata={"min": 0, "max": 2**32 - 1})
    data: DataConfig
    batch: BatchConfig
    model: ModelConfig
    mesh: MeshConfig
    start_from: str
    precision: Precision
    remat: bool
    loss: LossConfig
    optimizer: OptimizerConfig
    epochs: float = field(metadata=at_least(0))
    updates: int = field(metadata=at_least(0))
    validate_every: int = field(metadata=at_least(1))
    save_every: int = field(metadata=at_least(1))
    log_every: int = field(metadata=at_least(1))
    keep: int = field(metadata=at_least(1))
    best: str


# Statistics of validation that a best checkpoint may be chosen by.
_OF_UTTERANCES = ("mse", "lcc", "srcc", "ktau")
_OF_PAIRS = ("pair_accuracy", "clear_pair_accuracy", "acc_0.5", "acc_0")
STATISTICS = (*_OF_UTTERANCES, *_OF_PAIRS, *(f"system_{name}" for name in _OF_UTTERANCES))
# Keys that change neither what is computed nor from what, so that a run may be resumed with others.
_FREE = (
    *("data.root", "data.audio_root", "data.valid", "data.workers", "data.most_bad"),
    *("mesh.data", "mesh.model", "mesh.fully_sharded", "remat"),
    *("validate_every", "save_every", "log_every", "keep", "best"),
)
# Keys that runs from before they existed lack, and what they mean there.
_LATER = {"loss.mean_over": "categories"}


def read_config(values: Mapping[str, Any], *, name: str = "config") -> TrainConfig:
    """A config (`ml_collections.ConfigDict` or nested dicts) as checked dataclasses; `name` of the file for messages.

    Raises:
        ConfigError: naming every key that is unknown, missing, or of another type.
    """
    values = values.to_dict() if hasattr(values, "to_dict") else dict(values)
    faults, values = _with_sources(values)
    try:
        config = read(TrainConfig, values, defaults=False)
    except SchemaError as error:
        faults += error.faults
    else:
        faults = faults or list(_contradictions(config, list(values["model"]["encoders"])))
    if faults:
        raise ConfigError(f"{name}: " + "; ".join(faults))
    return config


def _with_sources(values: dict[str, Any]) -> tuple[list[str], dict[str, Any]]:
    """Faults, and the values with `Pretrained` as architecture where `pretrained` stands."""
    model = values.get("model")
    if not isinstance(model, Mapping):
        return [], values
    encoders = model.get("encoders")
    if not isinstance(encoders, Mapping):
        fault = f"model.encoders is {encoders!r}, expected entries by name"
        return [fault] if "encoders" in model else [], values
    faults, found = [], {}
    for name, encoder in encoders.items():
        if isinstance(encoder, Mapping):
            if len({"architecture", "pretrained"} & encoder.keys()) != 1:
                faults.append(f"model.encoders.{name}: give one of architecture and pretrained")
            if "pretrained" in encoder:
                rest = {key: value for key, value in encoder.items() if key not in ("pretrained", "own_length")}
                encoder = {"architecture": Pretrained(encoder["pretrained"], encoder.get("own_length"))} | rest
        found[name] = encoder
    return faults, {**values, "model": {**model, "encoders": found}}


def differences(one: Mapping[str, Any], other: Mapping[str, Any]) -> list[str]:
    """`key: value -> value` of the keys in which two configs would train differently."""
    a, b = (_LATER | _flat(values) for values in (one, other))
    return [
        f"{key}: {a.get(key, 'absent')!r} -> {b.get(key, 'absent')!r}"
        for key in sorted(a.keys() | b.keys())
        if a.get(key) != b.get(key) and key not in _FREE
    ]


def _flat(values: Any, name: str = "") -> dict[str, Any]:
    if isinstance(values, Mapping):
        return {k: v for key, value in values.items() for k, v in _flat(value, f"{name}.{key}".strip(".")).items()}
    return {name: list(values) if isinstance(values, tuple) else values}


def _contradictions(config: TrainConfig, encoders: list[str]) -> Iterator[str]:
    if config.data.feature_cache:
        frozen = {name: one for name, one in zip(encoders, config.model.encoders, strict=True) if one.freeze}
        if not frozen:
            yield "data.feature_cache: no encoder is frozen, so there is nothing to store; leave it empty"
        for name in (name for name, encoder in frozen.items() if encoder.noise):
            yield f"data.feature_cache: the states of {name} change in each epoch; set its noise to False"
    if config.best:
        yield from _unknown_statistic(config)
    if not config.data.train:
        yield "data.train is empty"
    if not config.updates and not config.epochs:
        yield "updates and epochs are both 0"
    for name, metric in config.model.metrics.items():
        if metric.comparative and name in CATALOGUE and not CATALOGUE[name].higher_is_better:
            yield f"model.categories: {name} is better when it is lower, so it cannot be comparative"
    if odd := [name for name in config.model.metrics if "." in name]:
        yield f"model.categories: a metric's name has no dot, found {odd}"


def _unknown_statistic(config: TrainConfig) -> Iterator[str]:
    source, _, metric = config.best.rpartition("/")[0].rpartition("/")
    statistic = config.best.rpartition("/")[2]
    if source not in config.data.valid or metric not in config.model.metrics or statistic not in STATISTICS:
        yield (
            f"best is {config.best!r}, expected set/metric/statistic with a set of data.valid, a metric of the model "
            f"and one of {', '.join(STATISTICS)}"
        )
