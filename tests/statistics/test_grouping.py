"""Significant differences of systems, and their compact letter display."""

import itertools

import numpy as np
import pytest

from urgentmos_jax.statistics.grouping import compact_letters, significantly_different


def everybody(count: int) -> np.ndarray:
    return ~np.eye(count, dtype=bool)


def test_letters_by_hand():
    # 1 is alone; 2 and 3 cannot be told apart, nor 3 and 4, but 2 and 4 can.
    apart = np.zeros((4, 4), bool)
    for one, other in ((0, 1), (0, 2), (0, 3), (1, 3)):
        apart[one, other] = apart[other, one] = True
    assert compact_letters(apart) == ["A", "B", "BC", "C"]
    assert compact_letters(np.zeros((3, 3), bool)) == ["A", "A", "A"]
    assert compact_letters(everybody(28))[25:] == ["Z", "A2", "B2"]
    assert compact_letters(np.zeros((0, 0), bool)) == []


@pytest.mark.parametrize("seed", range(20))
def test_systems_share_a_letter_just_where_they_cannot_be_told_apart(seed: int):
    rng = np.random.default_rng(seed)
    apart = np.triu(rng.random((9, 9)) < rng.uniform(0.1, 0.9), 1)
    apart |= apart.T
    found = [set(group) for group in compact_letters(apart)]
    for one, other in itertools.combinations(range(9), 2):
        assert bool(found[one] & found[other]) != apart[one, other]
    # No letter says what another says already.
    members = [{n for n in range(9) if letter in found[n]} for letter in set().union(*found)]
    assert not any(one < other for one in members for other in members)


def test_told_apart_uses_the_same_resamples_of_both():
    # Both figures move with the reference by 1, their difference by 0.01: it is clear though the intervals overlap.
    rng = np.random.default_rng(0)
    together = rng.normal(0, 1, 500)
    drawn = np.stack([together + rng.normal(0, 0.01, 500), together + 0.1 + rng.normal(0, 0.01, 500)], 1)
    assert significantly_different(np.array([0, 0.1]), drawn, np.array([30, 30]))[0, 1]
    alone = np.stack([together, rng.permutation(together) + 0.1], 1)
    assert not significantly_different(np.array([0, 0.1]), alone, np.array([30, 30])).any()
    assert not significantly_different(np.array([0, 0.1]), drawn, np.array([5, 30])).any(), (
        "five references are too few"
    )
