"""Strengths from comparisons: closed forms, a general optimiser, and systems that win everything."""

import math

import numpy as np
import pytest
from scipy import optimize

from urgentmos_jax.statistics.bradley_terry import bradley_terry


def everybody(count: int) -> np.ndarray:
    return ~np.eye(count, dtype=bool)


def test_strengths_of_two_systems_have_a_closed_form():
    wins = np.array([[[0, 7.0], [3.0, 0]], [[0, 12.0], [0, 0]]])
    found = bradley_terry(wins, everybody(2))
    np.testing.assert_allclose(found[:, 0] - found[:, 1], np.log([7.5 / 3.5, 12.5 / 0.5]), atol=1e-9)
    plain = bradley_terry(wins[0], everybody(2), added_ties=0)
    np.testing.assert_allclose(plain, [math.log(7 / 3) / 2, -math.log(7 / 3) / 2], atol=1e-9)


def test_strengths_of_three_systems_by_hand():
    # Strengths ln 1, ln 2 and ln 4: the chances are 1/3, 1/5 and 1/3; wins are just as expected.
    wins = np.array([[0, 1.0, 2.0], [2.0, 0, 5.0], [8.0, 10.0, 0]])
    found = bradley_terry(wins, everybody(3), added_ties=0)
    np.testing.assert_allclose(found, np.log([1, 2, 4]) - math.log(2), atol=1e-9)


@pytest.mark.parametrize("seed", range(3))
def test_strengths_equal_those_of_a_general_optimiser(seed: int):
    rng = np.random.default_rng(seed)
    count = 6
    meetings = np.triu(rng.integers(0, 9, (count, count)), 1)
    meetings[np.arange(count - 1), np.arange(1, count)] += 1  # Joined, but not everybody has met.
    wins = np.zeros((4, count, count))
    for table in wins:
        table += np.triu(rng.binomial(meetings, 0.5) + rng.random(meetings.shape) * (meetings > 0) / 3, 1)
        table += np.triu(meetings - np.triu(table), 1).T
    compared = meetings + meetings.T > 0
    found = bradley_terry(wins, compared)
    assert found.shape == (4, count)
    for table, strengths in zip(wins + compared / count, found, strict=True):  # 2/S ties: 1/S wins for each.

        def loss(free: np.ndarray, table: np.ndarray = table) -> float:
            theta = np.append(free, -free.sum())
            return float((table * np.logaddexp(0, theta[None, :] - theta[:, None])).sum())

        wanted = optimize.minimize(loss, np.zeros(count - 1), method="BFGS", options={"gtol": 1e-9}).x
        np.testing.assert_allclose(strengths[:-1], wanted, atol=1e-5)
        assert strengths.sum() == pytest.approx(0, abs=1e-9)


def test_a_system_that_wins_everything_has_a_finite_strength_with_added_ties_alone():
    wins = np.array([[0, 20.0, 20.0], [0, 0, 9.0], [0, 11.0, 0]])
    found = bradley_terry(wins, everybody(3))
    assert np.isfinite(found).all() and 2.5 < found[0] < 3
    with pytest.raises(ValueError, match="no finite strengths"):
        bradley_terry(wins, everybody(3), added_ties=0)
