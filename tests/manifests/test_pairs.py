"""Sampling of pairs: how often groups and their members come."""

import itertools
from collections import Counter

import numpy as np
import pytest

from urgentmos_jax.manifests.pairs import sample_pairs


@pytest.mark.parametrize(("sizes", "limit"), [([23] * 300, 1000), ([2, 3, 50, 9], 40), ([7], 10), ([8], 26)])
def test_groups_and_members_have_their_share(sizes, limit):
    starts = np.cumsum([0, *sizes])
    groups = [np.arange(a, b) for a, b in itertools.pairwise(starts)]
    pairs = sample_pairs(groups, limit, seed=1)
    assert len(pairs) == limit == len({frozenset(pair) for pair in pairs.tolist()})
    group_of = np.repeat(np.arange(len(sizes)), sizes)
    assert (group_of[pairs[:, 0]] == group_of[pairs[:, 1]]).all() and (pairs[:, 0] != pairs[:, 1]).all()
    counts = Counter(group_of[pairs[:, 0]].tolist())
    assert len(counts) == len(sizes)
    if len(set(sizes)) == 1:
        assert max(counts.values()) - min(counts.values()) <= 1
    for group in groups:
        met = np.bincount(pairs[np.isin(pairs, group)], minlength=starts[-1])[group]
        assert met.max() - met.min() <= 2


@pytest.mark.parametrize("sizes", [[2], [3], [4, 5], [6, 2, 7]])
def test_without_a_limit_all_pairs_are_there(sizes):
    starts = np.cumsum([0, *sizes])
    groups = [np.arange(a, b) for a, b in itertools.pairwise(starts)]
    expected = {frozenset(pair) for group in groups for pair in itertools.combinations(group.tolist(), 2)}
    pairs = sample_pairs(groups, 10**9, seed=0)
    assert len(pairs) == len(expected) and {frozenset(pair) for pair in pairs.tolist()} == expected


def test_each_pair_is_equally_likely():
    counts = Counter(frozenset(pair) for seed in range(3000) for pair in sample_pairs([np.arange(7)], 4, seed).tolist())
    assert len(counts) == 21
    # 3000 x 4 / 21 = 571 each; five sigma.
    assert max(abs(count - 571) for count in counts.values()) < 5 * np.sqrt(571)
