"""Plans of batches: every clip once, within the budget, few shapes, little padding."""

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from urgentmos_jax.scoring.batching import bucket_of, bucket_sizes, plan_batches

SIZES = bucket_sizes(8000, 960000, multiple=1600)


def test_sizes():
    assert SIZES[0] == 8000 and SIZES[-1] == 960000 and len(SIZES) < 45
    assert all(size % 1600 == 0 for size in SIZES)
    assert all(b <= max(1.15 * a, a + 1600) and b > a for a, b in itertools.pairwise(SIZES))


def test_bucket_of():
    assert bucket_of(1, SIZES) == 8000 and bucket_of(8000, SIZES) == 8000 and bucket_of(8001, SIZES) == 9600
    with pytest.raises(ValueError, match="960001"):
        bucket_of(960001, SIZES)


@settings(max_examples=200, deadline=None)
@given(
    st.lists(st.integers(1, 960000), max_size=60),
    st.integers(1, 2_000_000),
    st.sampled_from([1, 2, 8]),
    st.sampled_from([SIZES, (960000,), (8000, 960000)]),
)
def test_every_clip_has_one_place(lengths: list[int], budget: int, multiple: int, sizes: tuple[int, ...]):
    batches = plan_batches(lengths, sizes, budget=budget, multiple=multiple)
    assert sorted(i for batch in batches for i in batch.indices) == list(range(len(lengths)))
    for batch in batches:
        assert 0 < len(batch.indices) <= batch.rows and batch.rows % multiple == 0 and batch.size in sizes
        assert max(lengths[i] for i in batch.indices) <= batch.size
        assert batch.rows == multiple or batch.rows * batch.size <= budget


def test_little_padding_and_few_shapes_on_a_speech_corpus():
    rng = np.random.default_rng(0)
    lengths = np.clip(rng.lognormal(np.log(4.5), 0.45, 2000) * 16000, 8000, 320000).astype(int)
    batches = plan_batches(lengths, SIZES, budget=24 * 16000)
    assert lengths.sum() / sum(batch.rows * batch.size for batch in batches) > 0.9
    assert len({(batch.rows, batch.size) for batch in batches}) < 80
