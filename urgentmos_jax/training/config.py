"""The configuration of a run: every key is stated in the config file, and an unknown or missing one is named."""

import dataclasses
import typing
from collections.abc import Iterator, Mapping
from typing import Any, Literal

from urgentmos_jax.data.partners import PairingScope
from urgentmos_jax.encoders import ENCODERS
from urgentmos_jax.metrics import CATALOGUE, Metric
from urgentmos_jax.model.heads import HeadConfig
from urgentmos_jax.model.losses import LossConfig
from urgentmos_jax.model.transformer import TransformerConfig
from urgentmos_jax.training.sharding import MeshConfig
from urgentmos_jax.training.step import OptimizerConfig, Precision

__all__ = [
    "BatchConfig",
    "ConfigError",
    "DataConfig",
    "EncoderSettings",
    "ModelSettings",
    "TrainConfig",
    "differences",
    "read_config",
]


class ConfigError(ValueError):
    """Keys of a config that are unknown, missing or of another type; the message names all."""


@dataclasses.dataclass(frozen=True)
class DataConfig:
    """What is learnt from.

    Args:
        root: Folder that `train` and `valid` are looked up in.
        train: `corpus/split` or manifests (.jsonl).
        valid: The same, for validation.
        audio_root: Where relative audio paths are looked up that are not beside their manifest; "" = nowhere else.
        pairing_scope: Which clips are compared: of one reference, corpus, any, or none.
        max_seconds: Longer clips are cut, at a place drawn anew each epoch.
        workers: Processes that decode; 0 = threads of this one.
        most_bad: Part of the clips of an epoch that may fail to load before the run stops.
        feature_cache: Folder for the states of frozen encoders, which are then computed once; "" = computed each time.
            Its float16 changes losses in the fourth digit, so a run cannot be resumed with and without; and clips over
            `max_seconds` are cut at the same place in each epoch.
    """

    root: str
    train: tuple[str, ...]
    valid: tuple[str, ...]
    audio_root: str
    pairing_scope: PairingScope
    max_seconds: float
    workers: int
    most_bad: float
    feature_cache: str


@dataclasses.dataclass(frozen=True)
class BatchConfig:
    """One update.

    Args:
        seconds: Audio of a batch over all devices, padding included; of pairs the longer side counts.
        clips: Rows of a batch at most.
        accumulate: Batches an update.
    """

    seconds: float
    clips: int
    accumulate: int


@dataclasses.dataclass(frozen=True)
class EncoderSettings:
    """One encoder: `pretrained` (Hugging Face folder or hub id), or `architecture` (sizes, random weights).

    The rest is as in `EncoderConfig`; the rates of `noise` are those of the pretrained encoder, or are stated.
    """

    layer_aggregation: bool
    freeze: bool
    gradient_scale: float
    dtype: Literal["float32", "bfloat16"]
    noise: bool
    pretrained: str | None = None
    architecture: Any = None


@dataclasses.dataclass(frozen=True)
class ModelSettings:
    """Architecture as `ModelConfig`, encoders by a name of the user's."""

    encoders: dict[str, EncoderSettings]
    categories: dict[str, dict[str, Metric]]
    width: int
    shared: TransformerConfig | None
    category: TransformerConfig | None
    absolute: HeadConfig
    comparative: HeadConfig


@dataclasses.dataclass(frozen=True)
class TrainConfig:
    """A run.

    Args:
        seed: Of initialisation, partners, order and dropout.
        data, batch, model, mesh, loss, optimizer: See there.
        start_from: Model folder or hub id whose weights the run starts from (fine-tuning); "" = from the pretrained
            encoders, or from nothing.
        precision: "bfloat16" computes in it, with float32 parameters and losses.
        remat: Compute the layers again in the backward pass instead of keeping their activations: less memory, about a
            third more time.
        epochs: Length of the run: so many times the updates of the first epoch.
        updates: Length of the run in updates, in place of epochs; 0 = by epochs.
        validate_every, save_every, log_every: Updates between two validations, checkpoints, lines of the log.
        keep: Checkpoints kept, the newest ones.
        best: Figure of validation, `somos/dev/mos_overall/srcc`, whose best checkpoint is kept too and exported at the
            end; "" = none.
    """

    seed: int
    data: DataConfig
    batch: BatchConfig
    model: ModelSettings
    mesh: MeshConfig
    start_from: str
    precision: Precision
    remat: bool
    loss: LossConfig
    optimizer: OptimizerConfig
    epochs: float
    updates: int
    validate_every: int
    save_every: int
    log_every: int
    keep: int
    best: str


# Figures of validation that a best checkpoint may be chosen by.
FIGURES = ("mse", "lcc", "srcc", "ktau", "pair_accuracy", "clear_pair_accuracy")
FIGURES += tuple(f"system_{name}" for name in FIGURES[:4])
# Keys that may be left out: the one or the other is given.
_EITHER = {"pretrained", "architecture"}
# Keys that change neither what is computed nor from what, so that a run may be resumed with others.
_FREE = ("data.root", "data.audio_root", "data.valid", "data.workers", "data.most_bad")
_FREE += ("mesh.data", "mesh.model", "mesh.fully_sharded", "remat")
_FREE += ("validate_every", "save_every", "log_every", "keep", "best")


def read_config(values: Mapping[str, Any], *, name: str = "config") -> TrainConfig:
    """A config (`ml_collections.ConfigDict` or nested dicts) as checked dataclasses.

    Args:
        values: All keys.
        name: Of the file, for messages.

    Raises:
        ConfigError: naming every key that is unknown, missing, or of another type.
    """
    faults: list[str] = []
    values = values.to_dict() if hasattr(values, "to_dict") else dict(values)
    config = _read(TrainConfig, values, "", faults)
    if not faults:
        faults += _contradictions(config)
    if faults:
        raise ConfigError(f"{name}: " + "; ".join(faults))
    return config


def differences(one: Mapping[str, Any], other: Mapping[str, Any]) -> list[str]:
    """`key: value -> value` of the keys in which two configs would train differently."""
    a, b = _flat(one), _flat(other)
    return [
        f"{key}: {a.get(key, 'absent')!r} -> {b.get(key, 'absent')!r}"
        for key in sorted(a.keys() | b.keys())
        if a.get(key) != b.get(key) and key not in _FREE
    ]


def _flat(values: Any, name: str = "") -> dict[str, Any]:
    if isinstance(values, Mapping):
        return {k: v for key, value in values.items() for k, v in _flat(value, f"{name}.{key}".strip(".")).items()}
    return {name: list(values) if isinstance(values, tuple) else values}


def _read(hint: Any, value: Any, name: str, faults: list[str]) -> Any:
    """`value` as what the annotation says; faults are gathered."""
    origin, inner = typing.get_origin(hint), typing.get_args(hint)
    if hint is Any:
        return value
    if type(None) in inner:
        return None if value is None else _read(inner[0], value, name, faults)
    if dataclasses.is_dataclass(hint):
        return _read_dataclass(hint, value, name, faults)
    if origin is dict:
        if isinstance(value, Mapping) and value:
            return {key: _read(inner[1], item, f"{name}.{key}", faults) for key, item in value.items()}
        faults.append(f"{name} is {value!r}, wanted are its entries by name")
    elif origin is tuple:
        if isinstance(value, (tuple, list)):
            return tuple(_read(inner[0], item, f"{name}[{i}]", faults) for i, item in enumerate(value))
        faults.append(f"{name} is {value!r}, wanted is a tuple")
    elif origin is Literal:
        if value not in inner:
            faults.append(f"{name} is {value!r}, choose {', '.join(map(str, inner))}")
    elif hint is float and type(value) in (int, float) and value == value:
        return float(value)
    elif type(value) is not hint:
        faults.append(f"{name} is {value!r}, wanted is {hint.__name__}")
    return value


def _read_dataclass(hint: Any, value: Any, name: str, faults: list[str]) -> Any:
    if not isinstance(value, Mapping):
        faults.append(f"{name} is {value!r}, wanted are the keys {[f.name for f in dataclasses.fields(hint)]}")
        return None
    hints = typing.get_type_hints(hint)
    hints = {field.name: hints[field.name] for field in dataclasses.fields(hint)}
    either = _EITHER & hints.keys()
    faults += [f"unknown key {f'{name}.{key}'.strip('.')}" for key in value if key not in hints]
    wanted = hints.keys() - either
    faults += [f"missing key {f'{name}.{key}'.strip('.')}" for key in hints if key in wanted and key not in value]
    if either and len(either & value.keys()) != 1:
        faults.append(f"{name}: give one of {' and '.join(sorted(either))}")
    before = len(faults)
    found = {key: _read(hints[key], value[key], f"{name}.{key}".strip("."), faults) for key in hints if key in value}
    if len(faults) > before or wanted - found.keys():
        return None
    if found.get("architecture") is not None and either:
        found["architecture"] = _architecture(found["architecture"], f"{name}.architecture", faults)
    return hint(**found)


def _architecture(value: Any, name: str, faults: list[str]) -> Any:
    kind = value.get("model_type") if isinstance(value, Mapping) else None
    if kind not in ENCODERS:
        faults.append(f"{name}.model_type is {kind!r}, known are {', '.join(ENCODERS)}")
        return None
    return _read_dataclass(ENCODERS[kind].config_class, value, name, faults)


def _contradictions(config: TrainConfig) -> Iterator[str]:
    above_zero = {
        "batch.seconds": config.batch.seconds,
        "batch.clips": config.batch.clips,
        "batch.accumulate": config.batch.accumulate,
        "data.max_seconds": config.data.max_seconds,
        "model.width": config.model.width,
        "optimizer.clip_norm": config.optimizer.clip_norm,
        "optimizer.learning_rate": config.optimizer.learning_rate,
        "validate_every": config.validate_every,
        "save_every": config.save_every,
        "log_every": config.log_every,
        "keep": config.keep,
    }
    yield from (f"{name} is {value}, wanted is a number above 0" for name, value in above_zero.items() if value <= 0)
    if config.data.feature_cache:
        frozen = {name: encoder for name, encoder in config.model.encoders.items() if encoder.freeze}
        if not frozen:
            yield "data.feature_cache: no encoder is frozen, so there is nothing to store; leave it empty"
        for name in (name for name, encoder in frozen.items() if encoder.noise):
            yield f"data.feature_cache: the states of {name} change in each epoch; set its noise to False"
    if config.best:
        yield from _unknown_figure(config)
    if not config.data.train:
        yield "data.train is empty"
    if config.updates < 0 or config.data.workers < 0 or (config.updates == 0 and config.epochs <= 0):
        yield "updates, epochs or data.workers are negative, or both updates and epochs are 0"
    for name, encoder in config.model.encoders.items():
        if encoder.dtype == "bfloat16" and not encoder.freeze:
            yield f"model.encoders.{name}: an encoder in bfloat16 cannot be trained; set freeze, or take float32"
    names = [name for metrics in config.model.categories.values() for name in metrics]
    if repeated := {name for name in names if names.count(name) > 1}:
        yield f"model.categories: {sorted(repeated)} in two categories"
    for metrics in config.model.categories.values():
        for name, metric in metrics.items():
            if metric.comparative and name in CATALOGUE and not CATALOGUE[name].higher_is_better:
                yield f"model.categories: {name} is better when it is lower, so it cannot be comparative"
    if odd := [name for name in names if "." in name]:
        yield f"model.categories: a metric's name has no dot, found {odd}"


def _unknown_figure(config: TrainConfig) -> Iterator[str]:
    source, _, rest = config.best.rpartition("/")[0].rpartition("/")
    figure = config.best.rpartition("/")[2]
    metrics = [name for metrics in config.model.categories.values() for name in metrics]
    if source not in config.data.valid or rest not in metrics or figure not in FIGURES:
        yield (
            f"best is {config.best!r}, wanted is set/metric/figure with a set of data.valid, a metric of the model and "
            f"one of {', '.join(FIGURES)}"
        )
