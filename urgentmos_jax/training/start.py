"""What a run starts from, the first of these that there is:

1. The run in its own folder: its newest checkpoint (`checkpoints`), and the model before its first update (`start`),
   so that resuming needs neither network nor the folders below. Its config must be the same (`check_same_config`).
2. `start_from`: a model whose weights are taken over, but for the heads of metrics that it does not have.
3. Pretrained encoders, the rest of the model random.
4. Nothing: everything is drawn from the seed.
"""

import dataclasses
import json
import logging
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jax
import numpy as np
from flax import nnx

from urgentmos_jax.files import copy_files, is_remote
from urgentmos_jax.model.urgentmos import ModelConfig, UrgentMOS
from urgentmos_jax.training.config import ConfigError, Pretrained, TrainConfig, differences
from urgentmos_jax.weights.cache import find_model
from urgentmos_jax.weights.encoder_folder import find_config, load_encoder
from urgentmos_jax.weights.model_folder import is_model_folder, load_folder, read_folder_config, save_folder
from urgentmos_jax.weights.published import PUBLISHED_ENCODERS
from urgentmos_jax.weights.rules import WeightsError, fill, flat_state

logger = logging.getLogger(__name__)


def check_same_config(workdir: Path, values: Mapping[str, Any]) -> None:
    """Refuses to resume a run with a config, as it comes back from JSON, that would train differently.

    Raises:
        ConfigError: naming the keys that differ.
    """
    path = workdir / "config.json"
    if path.exists() and (changed := differences(json.loads(path.read_text()), values)):
        text = f"{workdir} holds a run of another config; give another --workdir, or set back: {'; '.join(changed)}"
        if any(change.startswith(("updates:", "epochs:")) for change in changed):
            longer = "To train longer, end this run as it was begun, with --export DIR, and begin another"
            text += f". {longer}, in another --workdir, with --config.start_from=DIR"
        raise ConfigError(text)


def start_model(config: TrainConfig, workdir: Path) -> UrgentMOS:
    """The model before the first update: that in the run's folder, local or remote, else it is made and kept there.

    Raises:
        ModelNotFound, ValueError, WeightsError: a pretrained encoder or the model of `start_from` cannot be loaded.
    """
    kept = workdir / "start"
    if not is_remote(kept):
        if not is_model_folder(kept):
            _save_start(config, kept)
        return load_folder(kept)[0]
    with tempfile.TemporaryDirectory() as scratch:
        local = Path(scratch, "start")
        if is_model_folder(kept):
            copy_files(kept, local)
        else:
            _save_start(config, local)
            copy_files(local, kept)
        return load_folder(local)[0]


def _save_start(config: TrainConfig, folder: Path) -> None:
    origin = {"kind": "before training"}
    if config.start_from:
        origin["start_from"] = config.start_from
        module = fine_tuned_module(config.model, config.seed, config.start_from)
    else:
        module = initial_module(config.model, config.seed)
    save_folder(folder, module, origin)


def with_sizes(config: ModelConfig, *, offline: bool = False, start_from: str = "") -> ModelConfig:
    """The architecture with the sizes of pretrained encoders, which are read from their folders.

    If `offline`, those of encoders of the published models are taken as they are known, and nothing is downloaded. A
    run that starts from another model has that one's.

    Raises:
        ModelNotFound: an encoder's folder or hub repository cannot be found.
        ValueError: its config is not supported.
    """
    given = read_folder_config(find_model(start_from))[0].encoders if start_from else ()
    encoders = []
    for index, encoder in enumerate(config.encoders):
        if isinstance(encoder.architecture, Pretrained):
            source, own_length = encoder.architecture.source, encoder.architecture.own_length
            known = PUBLISHED_ENCODERS.get(source.partition("@")[0]) if offline else None
            if index < len(given):
                known = given[index].architecture
            if known:
                architecture = known.with_own_length(own_length)
            else:
                architecture = find_config(source, regularisation=encoder.noise, own_length=own_length)[1]
            encoder = dataclasses.replace(encoder, architecture=architecture)
        encoders.append(encoder)
    return dataclasses.replace(config, encoders=tuple(encoders))


def initial_module(config: ModelConfig, seed: int) -> UrgentMOS:
    """The model of a run that starts from pretrained encoders or from nothing.

    Raises:
        ModelNotFound, ValueError, WeightsError: a pretrained encoder cannot be loaded.
    """
    module = _random_module(with_sizes(config), seed)
    for index, encoder in enumerate(config.encoders):
        if isinstance(encoder.architecture, Pretrained):
            loaded = load_encoder(encoder.architecture.source, dtype=encoder.dtype, regularisation=encoder.noise)
            nnx.update(module.encoders[index], nnx.state(loaded))
    return jax.tree.map(jax.numpy.asarray, module)


def fine_tuned_module(config: ModelConfig, seed: int, source: str) -> UrgentMOS:
    """The model before the first update of a run that starts from another model.

    Encoders and trunk are taken from it and must be of the same sizes; heads of metrics that it does not have are drawn
    from the seed.

    Args:
        config: Of the run; the sizes of its pretrained encoders are taken from the other model, so is `own_length`
            where the config does not state it; and where that was made without train-time regularisation, its rates
            and learnt vector from the pretrained encoder.
        seed: Of what is drawn.
        source: Model folder or hub id.

    Raises:
        ModelNotFound, ModelFolderError, DamagedFile: it cannot be loaded.
        ModelNotFound, ValueError: the pretrained encoder that regularisation is taken from cannot.
        WeightsError: that is not the model's encoder; or naming every parameter outside the heads that the model lacks
            or has in another shape.
    """
    given, _ = load_folder(find_model(source))
    if len(config.encoders) != len(given.config.encoders):
        raise WeightsError(f"{source} has {len(given.config.encoders)} encoders, the config {len(config.encoders)}")
    encoders, weights = list(config.encoders), flat_state(given)
    for index, (encoder, theirs) in enumerate(zip(config.encoders, given.config.encoders, strict=True)):
        if not isinstance(encoder.architecture, Pretrained):
            continue
        pretrained = encoder.architecture.source
        architecture = theirs.architecture if encoder.noise else theirs.architecture.without_regularisation()
        if encoder.noise and not theirs.noise:
            lender = load_encoder(pretrained, regularisation=True)
            architecture = lender.config
            if architecture.without_regularisation() != theirs.architecture.without_regularisation():
                raise WeightsError(f"{pretrained}: not the encoder of {source}, so its regularisation is not taken")
            weights = {f"encoders.{index}.{path}": x for path, x in flat_state(lender).items()} | weights
        architecture = architecture.with_own_length(encoder.architecture.own_length)
        encoders[index] = dataclasses.replace(encoder, architecture=architecture)
    module = _random_module(dataclasses.replace(config, encoders=tuple(encoders)), seed)
    ours = flat_state(module)
    fits = {path for path, x in ours.items() if path in weights and weights[path].shape == x.shape}
    anew = sorted(ours.keys() - fits)
    if wrong := [path for path in anew if not path.startswith(("absolute_heads.", "cmos_heads."))]:
        raise WeightsError(f"{source} does not fit the model of the config: it lacks or has in another shape: {wrong}")
    fill(module, {path: np.asarray((weights if path in fits else ours)[path][...]) for path in ours}, origin=source)
    heads = sorted({".".join(path.split(".")[:2]) for path in anew})
    logger.info("weights of %s, %s", source, f"but anew: {', '.join(heads)}" if heads else "all of them")
    return module


def _random_module(config: ModelConfig, seed: int) -> UrgentMOS:
    # Compiled, since drawing parameter by parameter takes ten seconds for the published sizes.
    return nnx.jit(lambda: UrgentMOS(config, rngs=nnx.Rngs(seed)))()
