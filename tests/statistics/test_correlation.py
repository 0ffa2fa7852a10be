"""Correlations against scipy and by hand; intervals against simulated tests whose truth is known."""

import tracemalloc
import warnings

import numpy as np
import pytest
from scipy import stats

from urgentmos_jax.statistics import ranks
from urgentmos_jax.statistics.bootstrap import average, cluster_numbers, paired_differences, resampled_counts
from urgentmos_jax.statistics.correlation import STATISTICS, agreement, agreement_with_intervals, system_means


@pytest.fixture(autouse=True)
def _no_warnings():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        yield


def _tied(items: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    true = rng.integers(1, 6, items).astype(np.float64)
    return true + rng.integers(-2, 3, items), true


def _by_scipy(x: np.ndarray, y: np.ndarray) -> dict[str, float]:
    line = stats.linregress(x, y)
    return {
        "mse": np.mean((x - y) ** 2),
        "lcc": stats.pearsonr(x, y).statistic,
        "srcc": stats.spearmanr(x, y).statistic,
        "ktau": stats.kendalltau(x, y).statistic,
        "rmse_mapped": np.sqrt(np.sum((y - line.intercept - line.slope * x) ** 2) / (len(x) - 2)),
    }


@pytest.mark.parametrize("items", [3, 4, 17, 64, 65, 301])
def test_figures_equal_those_of_scipy_with_ties(items):
    x, y = _tied(items, seed=items)
    found = agreement(x, y)
    assert found.pop("n") == items
    assert found == pytest.approx(_by_scipy(x, y), abs=1e-12)
    assert found == pytest.approx({name: one.value for name, one in agreement_with_intervals(x, y).intervals.items()})


def test_figures_by_hand():
    # y = x but for one swap: 5 of 6 pairs concordant; squared rank differences 2: 1 - 6 * 2 / 60.
    found = agreement([1, 2, 3, 4], [1, 3, 2, 4])
    assert found == pytest.approx(
        {"n": 4, "mse": 0.5, "lcc": 0.8, "srcc": 0.8, "ktau": 4 / 6, "rmse_mapped": np.sqrt(5 * 0.36 / 2)}
    )


@pytest.mark.parametrize(
    ("predicted", "true", "named"),
    [
        ([], [], ("few_items",)),
        ([3.0], [2.0], ("few_items", "one_cluster")),
        ([3.0, 2.0], [2.0, 1.0], ("few_items",)),
        ([3.0, 3.0, 3.0, 3.0], [1.0, 2.0, 3.0, 5.0], ("constant_predictions",)),
        ([0.1 + 0.2, 0.3, 0.3], [1.0, 2.0, 3.0], ("constant_predictions",)),
        ([1.0, 2.0, 3.0], [4.0, 4.0, 4.0], ("constant_labels",)),
        ([1.0, 1.0, 1.0], [4.0, 4.0, 4.0], ("constant_predictions", "constant_labels")),
    ],
)
def test_what_is_not_defined_has_a_name(predicted, true, named):
    found = agreement_with_intervals(predicted, true)
    assert found.warnings == named
    for name in STATISTICS[1:]:
        assert found.intervals[name].as_json() == {"value": None, "low": None, "high": None}
        assert str(found.intervals[name]) == "n/a"
    if predicted:
        assert found.intervals["mse"].value == pytest.approx(np.mean(np.square(np.subtract(predicted, true))))


def test_perfect_agreement_up_to_a_line():
    y = np.array([1.0, 2.0, 2.5, 4.7])
    found = agreement_with_intervals(0.1 * y + 2, y)
    for name, value in {"lcc": 1, "srcc": 1, "ktau": 1, "rmse_mapped": 0}.items():
        one = found.intervals[name]
        assert (one.value, one.low, one.high) == pytest.approx((value, value, value), abs=1e-7), name


def test_one_unit_has_no_interval():
    x, y = _tied(9)
    found = agreement_with_intervals(x, y, ["r"] * 9)
    assert found.warnings == ("one_cluster",) and found.clusters == 1
    assert found.intervals["srcc"].as_json()["low"] is None and found.intervals["srcc"].value > 0


def test_system_means_leave_out_clips_without_a_system():
    predicted, true = system_means([1.0, 2.0, 3.0, 9.0], [4.0, 2.0, 2.0, 9.0], ["b", "a", "b", None])
    assert predicted.tolist() == [2.0, 2.0] and true.tolist() == [2.0, 3.0]
    # 0.1 + 0.2 + 0.3 in two orders: equal but for rounding, so tied.
    predicted, _ = system_means([0.1, 0.2, 0.3, 0.3, 0.2, 0.1], range(6), list("aaabbb"))
    assert predicted[0] == predicted[1]
    assert [len(side) for side in system_means([], [], [])] == [0, 0]


@pytest.mark.parametrize("exact", [True, False])
def test_resamples_equal_those_with_copied_items(monkeypatch, exact):
    if not exact:
        monkeypatch.setattr(ranks, "_EXACT_CLUSTERS", 0)
    x, y = _tied(400, seed=3) if not exact else _tied(40, seed=3)
    x = x + np.linspace(0, 1, len(x))
    names = [f"r{place % (len(x) // 3)}" if place % 5 else None for place in range(len(x))]
    cluster = cluster_numbers(names)
    found = agreement_with_intervals(x, y, names, resamples=20, seed=5)
    assert found.clusters == cluster.max() + 1
    (counts,) = resampled_counts(found.clusters, resamples=20, seed=5)
    for place, weights in enumerate(counts.astype(int)):
        copied = np.repeat(np.arange(len(x)), weights[cluster])
        for name, value in _by_scipy(x[copied], y[copied]).items():
            near = 1e-9 if exact or name not in ("srcc", "ktau") else 0.02
            assert found.resamples[name][place] == pytest.approx(value, abs=near), name


def test_concordance_by_comparing_all_pairs():
    for items in (1, 2, 3, 31, 64, 100):
        x, y = _tied(items, seed=items)
        signs = np.sign(x[:, None] - x) * np.sign(y[:, None] - y)
        assert ranks.concordance(x, y).tolist() == signs.sum(1).tolist()


def test_influence_is_the_derivative_by_weight(monkeypatch):
    monkeypatch.setattr(ranks, "_EXACT_CLUSTERS", 0)
    x, y = _tied(30, seed=2)
    cluster = np.arange(30)
    for projected, value in ((ranks.resampled_spearman, ranks.spearman), (ranks.resampled_kendall, ranks.kendall)):
        # One item a thousand and one times among a thousand copies of all.
        for place in (0, 11, 29):
            weights = np.full(30, 1000)
            weights[place] += 1
            moved = value(np.repeat(x, weights), np.repeat(y, weights))
            assert projected(x, y, cluster)(weights[None].astype(float))[0] == pytest.approx(moved, abs=1e-6)
            assert abs(moved - value(x, y)) > 1e-6


def test_seed_decides_and_memory_does_not():
    x, y = _tied(50)
    one, same, other = (agreement_with_intervals(x, y, seed=seed) for seed in (1, 1, 2))
    assert one.intervals == same.intervals != other.intervals
    wide, narrow = (np.concatenate(list(resampled_counts(30, resamples=9, width=width))) for width in (10**7, None))
    assert (wide == narrow).all() and (wide.sum(1) == 30).all() and wide.shape == (9, 30)


def test_memory_does_not_grow_with_the_draws():
    x, y = np.random.default_rng(0).normal(size=(2, 20_000))
    peaks = []
    for resamples in (250, 1000):
        tracemalloc.start()
        agreement_with_intervals(x, y, resamples=resamples)
        peaks.append(tracemalloc.get_traced_memory()[1] / 2**20)
        tracemalloc.stop()
    # All counts of 1,000 resamples would take 153 MB.
    assert peaks[1] < 1.1 * peaks[0] < 100


def test_paired_differences():
    rng = np.random.default_rng(0)
    y = rng.normal(size=120)
    good, bad, like_good = (y + spread * rng.normal(size=120) for spread in (0.5, 2.0, 0.5))
    first, worse, equal = (agreement_with_intervals(x, y) for x in (good, bad, like_good))
    found = paired_differences(first, worse)
    for name in ("lcc", "srcc", "ktau"):
        assert found[name].interval.value == pytest.approx(worse.intervals[name].value - first.intervals[name].value)
        assert found[name].interval.high < 0 and found[name].p == pytest.approx(2 / 1001)
    assert found["mse"].interval.low > 0
    for one in paired_differences(first, equal).values():
        assert one.p > 0.05 and one.interval.low < 0 < one.interval.high
    with pytest.raises(ValueError, match="give the same"):
        paired_differences(first, agreement_with_intervals(good[:50], y[:50]))


def test_average_counts_each_set_alike():
    sets = [agreement_with_intervals(*_tied(items, seed=items), seed=items) for items in (20, 200)]
    found = average(sets, "srcc")
    assert found.value == pytest.approx((sets[0].intervals["srcc"].value + sets[1].intervals["srcc"].value) / 2)
    widths = [one.high - one.low for one in (*(part.intervals["srcc"] for part in sets), found)]
    # Of two independent errors, each halved.
    assert widths[2] == pytest.approx(np.hypot(widths[0], widths[1]) / 2, rel=0.15)


SPREADS, MEANS = (0.6, 0.8), (3.2, 3.0)


def _coverage(clusters: int, clips: int, rho: float, tests: int, resamples: int = 1000) -> dict[str, float]:
    """Share of simulated tests whose interval holds the statistic of the population.

    Predictions and labels are normal with correlation `rho`. Clips of a cluster share two fifths of their variance,
    which leaves the statistics of the population as they are.
    """
    truth = {
        "mse": SPREADS[0] ** 2 + SPREADS[1] ** 2 - 2 * rho * SPREADS[0] * SPREADS[1] + (MEANS[0] - MEANS[1]) ** 2,
        "lcc": rho,
        "srcc": 6 / np.pi * np.arcsin(rho / 2),
        "ktau": 2 / np.pi * np.arcsin(rho),
        "rmse_mapped": SPREADS[1] * np.sqrt(1 - rho**2),
    }
    rng = np.random.default_rng(clusters)
    cluster = np.repeat(np.arange(clusters), clips)
    names = [str(number) for number in cluster]
    covered = dict.fromkeys(STATISTICS, 0)
    for seed in range(tests):
        shared, own = rng.normal(size=(2, clusters))[:, cluster], rng.normal(size=(2, clusters * clips))
        z = np.sqrt(0.4) * shared + np.sqrt(0.6) * own
        true = MEANS[1] + SPREADS[1] * z[0]
        predicted = MEANS[0] + SPREADS[0] * (rho * z[0] + np.sqrt(1 - rho**2) * z[1])
        found = agreement_with_intervals(predicted, true, names, seed=seed, resamples=resamples).intervals
        for name in STATISTICS:
            covered[name] += bool(found[name].low <= truth[name] <= found[name].high)
    return {name: count / tests for name, count in covered.items()}


def test_coverage_of_few_simulated_tests():
    found = _coverage(clusters=100, clips=1, rho=0.7, tests=100, resamples=500)
    assert all(0.89 <= share <= 0.99 for share in found.values()), found


@pytest.mark.slow
@pytest.mark.long
@pytest.mark.parametrize(("clips", "rho", "exact"), [(1, 0.8, True), (3, 0.5, True), (1, 0.8, False)])
def test_intervals_cover(monkeypatch, clips, rho, exact):
    if not exact:
        monkeypatch.setattr(ranks, "_EXACT_CLUSTERS", 0)
    found = _coverage(clusters=100, clips=clips, rho=rho, tests=1000)
    print(f"\n100 clusters of {clips} clips, correlation {rho}, exact {exact}: {found}")
    assert all(0.92 <= share <= 0.98 for share in found.values()), found


@pytest.mark.slow
@pytest.mark.long
def test_coverage_of_small_samples():
    for clusters, least in ((10, 0.8), (20, 0.88), (50, 0.9)):
        found = _coverage(clusters=clusters, clips=1, rho=0.8, tests=1000)
        print(f"\n{clusters} clusters of 1 clip, correlation 0.8: {found}")
        assert min(found.values()) >= least
        assert min(found[name] for name in ("lcc", "srcc", "ktau")) >= 0.92
