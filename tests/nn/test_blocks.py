"""Dropout."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from urgentmos_jax.nn.blocks import dropout

SHAPE = (64, 256, 64)


def kept(seed: int, rate: float = 0.1) -> np.ndarray:
    return np.asarray(dropout(jnp.ones(SHAPE), rate, jax.random.key(seed)) != 0)


@pytest.mark.parametrize("rate", [0.05, 0.1, 0.5])
def test_values_are_dropped_at_the_rate_and_the_others_scaled(rate):
    x = jax.random.normal(jax.random.key(5), SHAPE) + 10
    y = np.asarray(dropout(x, rate, jax.random.key(0)))
    stays = y != 0
    np.testing.assert_allclose(y[stays], np.asarray(x)[stays] / (1 - rate), rtol=1e-6)
    # Five standard deviations, over all and by row and by column.
    for axes in (None, (0, 1), (1, 2), (0, 2)):
        dropped = 1 - stays.mean(axes)
        draws = stays.size / dropped.size
        assert np.abs(dropped - rate).max() < 5 * np.sqrt(rate * (1 - rate) / draws)


def test_draws_are_independent():
    """Of the neighbours on each axis, of other keys, and of neighbours under another key (lags up to a row)."""
    one, other = (kept(seed).reshape(-1) - 0.9 for seed in (0, 1))
    deviation = 0.09 / np.sqrt(one.size)
    for lag in (1, 2, 3, 63, 64, 65, 16384):
        assert abs((one[lag:] * one[:-lag]).mean()) < 5 * deviation
        assert abs((one[lag:] * other[:-lag]).mean()) < 5 * deviation
    assert abs((one * other).mean()) < 5 * deviation
    np.testing.assert_array_equal(kept(0), kept(0))


def test_no_key_and_no_rate_are_the_identity():
    x = jnp.arange(6.0)
    assert dropout(x, 0.5, None) is x and dropout(x, 0.0, jax.random.key(0)) is x
