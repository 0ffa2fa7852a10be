"""Plans of batches: every clip once, within the budget, few shapes, little padding."""

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from urgentmos_jax.scoring.batching import Batch, BatchPlanner, bucket_of, bucket_sizes, plan_batches

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


def planner(price_seconds: float, multiple: int = 1) -> BatchPlanner:
    return BatchPlanner(SIZES, multiple=multiple, shape_cost=price_seconds * 16000)


def lengths_of_speech(count: int, seed: int = 0) -> list[int]:
    lengths = np.random.default_rng(seed).lognormal(np.log(4.5), 0.45, count)
    return (np.clip(lengths, 0.5, 20) * 16000).astype(int).tolist()


def shapes(batches: list[Batch]) -> set[tuple[int, int]]:
    return {(batch.rows, batch.size) for batch in batches}


def padding_efficiency(lengths: list[int], batches: list[Batch]) -> float:
    return sum(lengths) / sum(batch.rows * batch.size for batch in batches)


@settings(max_examples=200, deadline=None)
@given(
    st.lists(st.lists(st.integers(1, 960000), max_size=40), max_size=4),
    st.lists(st.integers(1, 2_000_000), min_size=4, max_size=4),
    st.sampled_from([1, 2, 8]),
    st.floats(0, 1000),
)
def test_every_clip_of_every_group_has_one_place(
    groups: list[list[int]], budgets: list[int], multiple: int, price: float
):
    plan = planner(price, multiple)
    for lengths, budget in zip(groups, budgets, strict=False):
        batches = plan(lengths, budget)
        assert sorted(i for batch in batches for i in batch.indices) == list(range(len(lengths)))
        for batch in batches:
            assert 0 < len(batch.indices) <= batch.rows and batch.rows % multiple == 0
            assert max(lengths[i] for i in batch.indices) <= batch.size in SIZES
            assert batch.rows == multiple or batch.rows * batch.size <= budget


def test_a_few_clips_are_computed_in_few_shapes():
    lengths, budget = lengths_of_speech(48), 24 * 16000
    finest = plan_batches(lengths, SIZES, budget=budget)
    for price in (5.0, 20.0, 100.0):
        batches = planner(price)(lengths, budget)
        fewer = len(shapes(finest)) - len(shapes(batches))
        more = sum(b.rows * b.size for b in batches) - sum(b.rows * b.size for b in finest)
        assert fewer >= 3 and more <= fewer * price * 16000


def test_two_clips_that_are_far_apart_are_not_padded_to_each_other():
    lengths = [60 * 16000, *[16000] * 64]
    batches = planner(100.0)(lengths, 64 * 16000)
    assert len(shapes(batches)) == 2
    assert padding_efficiency(lengths, batches) > 0.8


def test_a_stream_is_computed_in_as_many_shapes_as_pay():
    plan, budget = planner(20.0), 24 * 16000
    found = []
    for seed in range(30):
        lengths = lengths_of_speech(256, seed)
        batches = plan(lengths, budget)
        found.append((len(shapes(batches)), padding_efficiency(lengths, batches)))
    finest = padding_efficiency(lengths, plan_batches(lengths, SIZES, budget=budget))
    assert found[0][1] < finest - 0.02 and found[0][0] < found[-1][0]
    assert found[-1][1] > finest - 0.01


def test_a_plan_depends_on_the_lengths_alone():
    groups = [lengths_of_speech(64, seed) for seed in range(3)]
    first, second = planner(20.0), planner(20.0)
    for lengths in groups:
        assert first(lengths, 24 * 16000) == second(lengths, 24 * 16000)
