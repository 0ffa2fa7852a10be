"""Accuracies over pairs by hand, tie rules, and intervals of pairs that share references."""

import math

import numpy as np
import pytest
from scipy import stats

from urgentmos_jax.statistics import ranks
from urgentmos_jax.statistics.preference import (
    PAIR_STATISTICS,
    paper_accuracy,
    preference_with_intervals,
    sign_accuracy,
)

#            right   right  wrong: 0  left out  tie, tie  wrong  tie, A
LABELS = [1.0, -0.6, 0.7, 0.0, 0.5, -0.2, -0.5]
PREDICTED = [0.4, -0.9, 0.0, 2.0, 0.5, 0.1, 0.6]


def test_accuracies_by_hand():
    found = preference_with_intervals(PREDICTED, LABELS)
    values = {name: one.value for name, one in found.intervals.items()}
    assert found.n == found.clusters == 7
    # Signs: all but the label 0; right are 1.0, -0.6 and 0.5. Clear: 1.0, -0.6, 0.7, 0.5, -0.5.
    assert found.counts == {"acc_0.5": 7, "acc_0": 6, "sign_acc@0": 6, "sign_acc@0.5": 5, "tie3_acc@0.5": 7}
    assert values["sign_acc@0"] == pytest.approx(3 / 6) and values["sign_acc@0.5"] == pytest.approx(3 / 5)
    # Classes of the labels A B A - - - -, of the predictions - B - A - - A: right are -0.6, 0.5 and -0.2.
    assert values["tie3_acc@0.5"] == pytest.approx(3 / 7)
    assert values["pair_srcc"] == pytest.approx(stats.spearmanr(PREDICTED, LABELS).statistic)
    assert sign_accuracy(PREDICTED, LABELS) == {"n": 6, "accuracy": pytest.approx(0.5)}
    assert sign_accuracy(PREDICTED, LABELS, 0.5) == {"n": 5, "accuracy": pytest.approx(0.6)}


# p of A, of B, of a tie, to the labels above.
PROBABILITIES = np.array(
    [
        (0.6, 0.1, 0.3),  # A: right, right.
        (0.1, 0.6, 0.3),  # B: right, right.
        (0.4, 0.4, 0.2),  # Equal sides are a tie, and no side: wrong, wrong.
        (0.1, 0.2, 0.7),  # A tie: right, left out.
        (0.5, 0.2, 0.3),  # A, where exactly 0.5 is a tie: wrong, and the side right.
        (0.3, 0.4, 0.3),  # B, where -0.2 is a tie: wrong, right.
        (0.45, 0.1, 0.45),  # As probable as a tie is a tie, as is exactly -0.5: right; the side is wrong.
    ]
)


def test_accuracies_of_the_paper_by_head_and_by_threshold():
    found = preference_with_intervals(PREDICTED, LABELS, probabilities=PROBABILITIES)
    values = {name: one.value for name, one in found.intervals.items()}
    assert values["acc_0.5"] == pytest.approx(4 / 7) and values["acc_0"] == pytest.approx(4 / 6)
    assert paper_accuracy(PREDICTED, LABELS, PROBABILITIES) == {name: values[name] for name in ("acc_0.5", "acc_0")}
    # What does not look at the head is as without it, which the accuracies of the paper are where there is none.
    without = preference_with_intervals(PREDICTED, LABELS).intervals
    assert all(found.intervals[name].value == without[name].value for name in PAIR_STATISTICS[2:])
    assert without["acc_0.5"] == without["tie3_acc@0.5"] and without["acc_0"] == without["sign_acc@0"]
    # Of one pair no probabilities: by its CMOS 0.1 it is a tie, which is right, on the side of A, which is wrong.
    one_less = PROBABILITIES.copy()
    one_less[5] = np.nan
    assert paper_accuracy(PREDICTED, LABELS, one_less) == {
        "acc_0.5": pytest.approx(5 / 7),
        "acc_0": pytest.approx(3 / 6),
    }
    # The other order of each pair.
    swapped = paper_accuracy([-x for x in PREDICTED], [-y for y in LABELS], PROBABILITIES[:, [1, 0, 2]])
    assert swapped == paper_accuracy(PREDICTED, LABELS, PROBABILITIES)


def test_accuracies_of_the_paper_of_preferences():
    # A set without ties, as SpeechJudge's: predicted ties are wrong in acc_0.5, and sides in acc_0.
    labels, probabilities = [1.0, -1.0, 1.0], [(0.2, 0.1, 0.7), (0.1, 0.5, 0.4), (0.2, 0.3, 0.5)]
    found = paper_accuracy([0.1, -0.9, -0.1], labels, probabilities)
    assert found == {"acc_0.5": pytest.approx(1 / 3), "acc_0": pytest.approx(2 / 3)}
    # Ties of the set count in acc_0.5 alone. Random guesses read .33 and .50.
    assert paper_accuracy([0.1], [0.0], [(0.3, 0.1, 0.6)])["acc_0.5"] == 1
    assert math.isnan(paper_accuracy([0.1], [0.0], [(0.3, 0.1, 0.6)])["acc_0"])
    rng = np.random.default_rng(0)
    guesses = paper_accuracy(np.zeros(30000), rng.integers(-1, 2, 30000), rng.random((30000, 3)))
    assert guesses == {"acc_0.5": pytest.approx(0.333, abs=0.01), "acc_0": pytest.approx(0.5, abs=0.01)}
    with pytest.raises(ValueError, match=r"probabilities has shape \(2, 3\); expected \(3, 3\)"):
        paper_accuracy([0.1, -0.9, -0.1], labels, probabilities[:2])


def test_both_orders_of_the_pairs_give_the_same():
    one = preference_with_intervals(PREDICTED, LABELS)
    other = preference_with_intervals([-x for x in PREDICTED], [-y for y in LABELS])
    assert one.intervals == other.intervals and tuple(one.intervals) == PAIR_STATISTICS


@pytest.mark.parametrize(
    ("predicted", "true", "named", "defined"),
    [
        ([], [], ("few_items", "no_clear_pairs"), ()),
        ([0.3, 0.1], [0.0, 0.0], ("few_items", "no_clear_pairs"), ("acc_0.5", "tie3_acc@0.5")),
        (
            [0.3, 0.1, 0.2],
            [0.4, -0.1, 0.2],
            ("no_clear_pairs",),
            tuple(x for x in PAIR_STATISTICS if x != "sign_acc@0.5"),
        ),
        ([0.3, 0.3, 0.3], [1.0, -1.0, 2.0], ("constant_predictions",), PAIR_STATISTICS[:5]),
    ],
)
def test_what_is_not_defined_has_a_name(predicted, true, named, defined):
    found = preference_with_intervals(predicted, true)
    assert found.warnings == named
    assert tuple(name for name, one in found.intervals.items() if not math.isnan(one.value)) == defined
    assert all(one.as_json()["value"] is None for name, one in found.intervals.items() if name not in defined)


def test_pairs_of_one_reference_are_drawn_together():
    rng = np.random.default_rng(0)
    # Whether a pair is right depends on its reference alone: fifty pairs say as much as five.
    right = np.repeat(rng.permutation([1.0] * 3 + [-1.0] * 2), 10)
    labels = rng.choice([-1.0, 1.0], 50)
    references = [(f"r{place // 10}",) * 2 for place in range(50)]
    together = preference_with_intervals(right * labels, labels, references)
    alone = preference_with_intervals(right * labels, labels)
    assert together.clusters == 5 and alone.clusters == 50

    def width(found):
        return found.intervals["sign_acc@0"].high - found.intervals["sign_acc@0"].low

    assert width(together) > 2.5 * width(alone)


def test_references_of_pairs_across_them():
    labels = np.random.default_rng(1).normal(size=6)
    ring = [("a", "b"), ("b", "c"), ("c", "a")] * 2
    assert preference_with_intervals(labels, labels, ring).clusters == 3
    # Those that meet no others count once; a pair without references, or with one, by what it has.
    mixed = [("a", "b"), ("b", "a"), (None, None), (None, None), ("c", None), ("c", "c")]
    assert preference_with_intervals(labels, labels, mixed).clusters == 4


def test_resamples_without_any_pair_are_left_out(monkeypatch):
    # Three references, and a draw of one of them alone has no pair across two.
    labels = np.random.default_rng(1).normal(size=12)
    ring = [("a", "b"), ("b", "c"), ("c", "a")] * 4
    for limit in (1000, 0):
        monkeypatch.setattr(ranks, "_EXACT_CLUSTERS", limit)
        with np.errstate(all="raise"):
            found = preference_with_intervals(labels + 0.5, labels, ring)
        assert all(math.isfinite(one.low) for one in found.intervals.values())
        assert np.isnan(found.resamples["pair_srcc"]).sum() > 50


def _coverage(tests: int, across: bool) -> dict[str, float]:
    """120 pairs whose label is +-1 and whose prediction has the right sign at a rate of its own for each reference."""
    rng = np.random.default_rng(7)
    covered = {"sign_acc@0": 0, "tie3_acc@0.5": 0}
    for seed in range(tests):
        easy = rng.beta(8, 2, 120)
        a = np.repeat(np.arange(120), 2)
        b = (a + rng.integers(1, 120, 240)) % 120 if across else a
        labels = rng.choice([-1.0, 1.0], 240)
        right = rng.random(240) < (easy[a] + easy[b]) / 2
        names = [(str(one), str(other)) for one, other in zip(a, b, strict=True)]
        found = preference_with_intervals(np.where(right, labels, -labels), labels, names, seed=seed).intervals
        for name in covered:
            covered[name] += found[name].low <= 0.8 <= found[name].high
    return {name: count / tests for name, count in covered.items()}


def test_coverage_of_few_simulated_tests():
    found = _coverage(100, across=False)
    assert all(0.89 <= share <= 0.99 for share in found.values()), found


@pytest.mark.slow
@pytest.mark.long
@pytest.mark.parametrize("across", [False, True])
def test_intervals_cover(across):
    found = _coverage(1000, across)
    print(f"\npairs {'across' if across else 'within'} references: {found}")
    assert all(0.92 <= share <= 0.98 for share in found.values()), found
