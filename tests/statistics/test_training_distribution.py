"""Distance from the clips of training: by hand, of Gaussian features, and what cannot be fitted."""

import numpy as np
import pytest

from urgentmos_jax.statistics.training_distribution import TrainingDistribution, fit


def test_distance_by_hand():
    found = TrainingDistribution(np.array([1.0, 2.0]), np.array([[0.5, 0.0], [0.0, 2.0]]))
    np.testing.assert_allclose(found.distance(np.array([[1, 2], [3, 2], [1, 3], [5, 0.5]])), [0, 1, 2, np.sqrt(13)])
    assert found.distance(np.array([3.0, 2.0])) == 1


def test_one_in_a_hundred_held_out_clips_is_unlike_and_correlations_count():
    rng = np.random.default_rng(0)
    mixing = np.array([[1.0, 0.9, 0], [0, 0.2, 0], [0, 0, 1]])
    train, held_out = (rng.standard_normal((n, 3)) @ mixing + 5 for n in (4000, 1000))
    found = fit(train, held_out)
    assert (found.distance(held_out) > 1).sum() == 10
    # As far from the mean each, along the first two features' common direction and across it.
    along, across = found.distance(5 + 2 * np.array([[1, 1, 0], [1, -1, 0]]) / np.sqrt(2))
    assert along < 0.7 and across > 1
    np.testing.assert_allclose(found.distance(held_out), fit(train[::-1], held_out).distance(held_out), rtol=1e-5)


def test_more_features_than_clips():
    rng = np.random.default_rng(0)
    found = fit(rng.standard_normal((5, 40)), rng.standard_normal((5, 40)))
    assert np.isfinite(found.whitening).all() and found.distance(10 * np.ones(40)) > 1


@pytest.mark.parametrize("clips", [np.zeros((0, 3)), np.ones((1, 3)), np.ones((9, 3))])
def test_clips_that_say_nothing(clips):
    with pytest.raises(ValueError, match=r"expected two or more|the same features"):
        fit(clips, np.eye(3))


def test_a_distribution_of_no_sense():
    with pytest.raises(ValueError, match=r"whitening \(2, 3\)"):
        TrainingDistribution(np.zeros(3), np.zeros((2, 3)))
    with pytest.raises(ValueError, match="not finite"):
        TrainingDistribution(np.array([np.nan]), np.ones((1, 1)))
