"""The model as a whole: keys of dropout for any number of parts."""

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from tests.helpers.models import architecture
from urgentmos_jax.metrics import Metric
from urgentmos_jax.model.fusion import Fusion
from urgentmos_jax.model.urgentmos import EncoderConfig, ModelConfig, UrgentMOS
from urgentmos_jax.nn.blocks import dropout, split_key


class Dropped(nnx.Module):
    """In place of a category's encoder, whose 120 compilations take minutes."""

    def __call__(self, x: jax.Array, mask: jax.Array, *, dropout_key: jax.Array | None = None) -> jax.Array:
        return dropout(x, 0.5, dropout_key)


def test_dropout_in_many_categories():
    """Each of 120 categories has a key of its own, and none in evaluation."""
    config = ModelConfig(
        encoders=(EncoderConfig(architecture("compact"), layer_aggregation=False),),
        categories={f"c{i}": {f"m{i}": Metric(1, 5)} for i in range(120)},
        width=4,
        category=None,
    )
    module = nnx.eval_shape(lambda: UrgentMOS(config, rngs=nnx.Rngs(0)))
    module.fusion = Fusion(config.encoder_widths, config.width, rngs=nnx.Rngs(0))
    module.categories = nnx.Dict({category: Dropped() for category in config.categories})
    lengths = jnp.array([4000])
    states = jax.random.normal(jax.random.key(1), (1, config.encoders[0].architecture.frame_lengths(4000), 24))

    def encode(key: jax.Array | None) -> np.ndarray:
        features = module.encode(None, lengths, states={0: states}, dropout_key=key)
        return np.stack(list(features.by_category.values()))

    assert (encode(None) == encode(None)[0]).all()
    found = encode(jax.random.key(0))
    assert len(found) == len(np.unique((found != 0).reshape(120, -1), axis=0)) == 120


def test_split_key():
    assert list(split_key(None, 3)) == [None] * 3
    keys = split_key(jax.random.key(0), 200)
    assert len({tuple(jax.random.key_data(key).tolist()) for key in keys}) == 200
