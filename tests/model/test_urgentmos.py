"""The model as a whole: keys of dropout for any number of parts."""

from types import SimpleNamespace

import jax
import jax.numpy as jnp
from flax import nnx

from tests.helpers.models import architecture
from urgentmos_jax.metrics import Metric
from urgentmos_jax.model.fusion import Fusion
from urgentmos_jax.model.urgentmos import EncoderConfig, ModelConfig, UrgentMOS
from urgentmos_jax.nn.blocks import split_key


def test_dropout_in_many_categories():
    """Each of 120 categories has a key of its own, and none in evaluation."""
    config = ModelConfig(
        encoders=(EncoderConfig(architecture("compact"), layer_aggregation=False),),
        categories={f"c{i}": {f"m{i}": Metric(1, 5)} for i in range(120)},
        width=4,
    )
    # In place of a module whose 120 transformers take minutes to compile: they hand on their keys.
    module = SimpleNamespace(
        config=config,
        encoders=[None],
        layer_weights=[None],
        fusion=Fusion(config.encoder_widths, config.width, rngs=nnx.Rngs(0)),
        shared=lambda x, mask, dropout_key: x,
        categories=dict.fromkeys(config.categories, lambda x, mask, dropout_key: dropout_key),
    )

    def keys(key: jax.Array | None) -> list[jax.Array | None]:
        features = UrgentMOS.encode(module, None, jnp.array([800]), states={0: jnp.ones((1, 2, 24))}, dropout_key=key)
        return list(features.by_category.values())

    assert keys(None) == [None] * 120
    assert len({tuple(jax.random.key_data(key).tolist()) for key in keys(jax.random.key(0))}) == 120


def test_split_key():
    assert list(split_key(None, 3)) == [None] * 3
    keys = split_key(jax.random.key(0), 200)
    assert len({tuple(jax.random.key_data(key).tolist()) for key in keys}) == 200
