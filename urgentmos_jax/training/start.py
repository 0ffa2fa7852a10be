"""The model a run starts from: pretrained encoders, everything else drawn from the seed."""

import dataclasses
import logging

import jax
import numpy as np
from flax import nnx

from urgentmos_jax.model.urgentmos import EncoderConfig, ModelConfig, UrgentMOS
from urgentmos_jax.scoring.loading import find_model
from urgentmos_jax.training.config import ModelSettings
from urgentmos_jax.weights.encoder_folder import find_config, load_encoder
from urgentmos_jax.weights.model_folder import load_folder
from urgentmos_jax.weights.published import KNOWN_ENCODERS
from urgentmos_jax.weights.rules import WeightsError, fill, flat_state

__all__ = ["fine_tuned_module", "initial_module", "model_config"]

logger = logging.getLogger(__name__)


def model_config(settings: ModelSettings, *, offline: bool = False) -> ModelConfig:
    """Architecture, sizes of pretrained encoders read from their folders.

    Args:
        settings: Of the config file.
        offline: Take the sizes of encoders of the published models as they are known, and download nothing for them.

    Raises:
        ModelNotFound: an encoder's folder or hub repository cannot be found.
        ValueError: its config is not supported.
    """
    encoders = []
    for encoder in settings.encoders.values():
        architecture = encoder.architecture
        if encoder.pretrained is not None:
            known = KNOWN_ENCODERS.get(encoder.pretrained) if offline else None
            architecture = known or find_config(encoder.pretrained, noise=encoder.noise)[1]
        shared = (encoder.layer_aggregation, encoder.freeze, encoder.gradient_scale, encoder.dtype, encoder.noise)
        encoders.append(EncoderConfig(architecture, *shared))
    return ModelConfig(
        encoders=tuple(encoders),
        categories=settings.categories,
        width=settings.width,
        shared=settings.shared,
        category=settings.category,
        absolute=settings.absolute,
        comparative=settings.comparative,
    )


def initial_module(settings: ModelSettings, seed: int) -> UrgentMOS:
    """The model before the first update.

    Raises:
        ModelNotFound, ValueError, WeightsError: a pretrained encoder cannot be loaded.
    """
    module = _random_module(model_config(settings), seed)
    for place, encoder in enumerate(settings.encoders.values()):
        if encoder.pretrained is not None:
            loaded = load_encoder(encoder.pretrained, dtype=encoder.dtype, noise=encoder.noise)
            nnx.update(module.encoders[place], nnx.state(loaded))
    return jax.tree.map(jax.numpy.asarray, module)


def fine_tuned_module(settings: ModelSettings, seed: int, source: str) -> UrgentMOS:
    """The model before the first update of a run that starts from another model.

    Encoders and trunk are taken from it and must be of the same sizes; heads of metrics that it does not have are drawn
    from the seed.

    Args:
        settings: Of the config file; the sizes of its pretrained encoders are taken from the other model, and where
            that was made without training noise, its rates and learnt vector from the pretrained encoder.
        seed: Of what is drawn.
        source: Model folder or hub id.

    Raises:
        ModelNotFound, ModelFolderError, DamagedFile: it cannot be loaded.
        ModelNotFound, ValueError: the pretrained encoder that noise is taken from cannot.
        WeightsError: that is not the model's encoder; or naming every parameter outside the heads that the model lacks
            or has in another shape.
    """
    given, _ = load_folder(find_model(source))
    encoders = list(settings.encoders.items())
    if len(encoders) != len(given.config.encoders):
        raise WeightsError(f"{source} has {len(given.config.encoders)} encoders, the config {len(encoders)}")
    sizes, weights = dict(encoders), flat_state(given)
    for place, ((name, encoder), theirs) in enumerate(zip(encoders, given.config.encoders, strict=True)):
        if encoder.pretrained is None:
            continue
        architecture = theirs.architecture if encoder.noise else theirs.architecture.without_noise()
        if encoder.noise and not theirs.noise:
            lender = load_encoder(encoder.pretrained, noise=True)
            architecture = lender.config
            if architecture.without_noise() != theirs.architecture.without_noise():
                raise WeightsError(f"{encoder.pretrained}: not the encoder of {source}, so its noise is not taken")
            weights = {f"encoders.{place}.{path}": x for path, x in flat_state(lender).items()} | weights
        sizes[name] = dataclasses.replace(encoder, pretrained=None, architecture=architecture)
    module = _random_module(model_config(dataclasses.replace(settings, encoders=sizes)), seed)
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
