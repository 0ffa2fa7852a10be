"""The model a run starts from: pretrained encoders, everything else drawn from the seed."""

import jax
from flax import nnx

from urgentmos_jax.encoders.known import KNOWN_ENCODERS
from urgentmos_jax.encoders.pretrained import find_config, load_encoder
from urgentmos_jax.model.urgentmos import EncoderConfig, ModelConfig, UrgentMOS
from urgentmos_jax.training.config import ModelSettings

__all__ = ["initial_module", "model_config"]


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
            architecture = known or find_config(encoder.pretrained)[1]
        shared = (encoder.layer_aggregation, encoder.freeze, encoder.gradient_scale, encoder.dtype)
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
    config = model_config(settings)
    # Compiled, since drawing parameter by parameter takes ten seconds for the published sizes.
    module = nnx.jit(lambda: UrgentMOS(config, rngs=nnx.Rngs(seed)))()
    for place, encoder in enumerate(settings.encoders.values()):
        if encoder.pretrained is not None:
            nnx.update(module.encoders[place], nnx.state(load_encoder(encoder.pretrained, dtype=encoder.dtype)))
    return jax.tree.map(jax.numpy.asarray, module)
