"""Who is compared with whom in training."""

import numpy as np
import pytest

from urgentmos_jax.data.partners import Partners
from urgentmos_jax.manifests.sampling import stable_hash, stable_uniform

RNG = np.random.default_rng(0)
N = 300
LENGTHS = RNG.integers(100, 140, N)
CORPORA = RNG.integers(0, 4, N)
REFERENCES = np.where(RNG.random(N) < 0.2, -1, CORPORA * 1000 + RNG.integers(0, 20, N))
KEYS = np.array([stable_hash(f"clip {i}") for i in range(N)], np.uint64)
ELIGIBLE = RNG.random(N) < 0.8


def partners(scope: str, order: np.ndarray | None = None) -> Partners:
    order = np.arange(N) if order is None else order
    return Partners(scope, LENGTHS[order], CORPORA[order], REFERENCES[order], KEYS[order], ELIGIBLE[order])


@pytest.mark.parametrize("scope", ["reference", "corpus", "any", "none"])
def test_partners_are_of_the_scope(scope: str):
    group = {"reference": REFERENCES, "corpus": CORPORA, "any": np.zeros(N), "none": np.arange(N)}[scope]
    for epoch in range(20):
        drawn = partners(scope).draw(7, epoch)
        for clip, partner in enumerate(drawn):
            others = ELIGIBLE & (group == group[clip]) & (LENGTHS[clip] >= LENGTHS) & (np.arange(N) != clip)
            able = ELIGIBLE[clip] and others.any() and not (scope == "reference" and group[clip] < 0)
            assert (partner >= 0) == able
            assert partner < 0 or others[partner]  # Never the clip itself.


def test_each_candidate_is_equally_likely():
    draws_ = np.stack([partners("corpus").draw(1, epoch) for epoch in range(3000)])
    clip = int(np.argmax(np.where(ELIGIBLE, LENGTHS, 0)))
    others = np.flatnonzero(ELIGIBLE & (CORPORA[clip] == CORPORA) & (np.arange(N) != clip))
    counts = np.bincount(draws_[:, clip], minlength=N)
    assert counts.sum() == counts[others].sum() == 3000
    expected = 3000 / len(others)
    assert np.abs(counts[others] - expected).max() < 5 * np.sqrt(expected)


def test_draws_depend_on_seed_epoch_and_uid_alone():
    order = RNG.permutation(N)
    names, shuffled = partners("corpus").draw(3, 5), partners("corpus", order).draw(3, 5)
    back = np.where(shuffled >= 0, order[shuffled], -1)
    assert (back == names[order]).all()
    assert (partners("corpus").draw(3, 6) != names).any() and (partners("corpus").draw(4, 5) != names).any()


def test_numbers_are_uniform_and_salted():
    x = stable_uniform(KEYS, "a", 1)
    assert ((x >= 0) & (x < 1)).all() and abs(x.mean() - 0.5) < 0.06
    assert (
        abs(np.corrcoef(x, stable_uniform(KEYS, "a", 2))[0, 1]) < 0.2
        and abs(np.corrcoef(x, stable_uniform(KEYS, "b", 1))[0, 1]) < 0.2
    )
