"""Calibration: a known distortion is found again, everything is odd, folds keep groups apart."""

import numpy as np
import pytest

from urgentmos_jax.schema import SchemaError, as_json, read
from urgentmos_jax.statistics.calibration import Calibration, tie_logit
from urgentmos_jax.statistics.calibration_fit import (
    SEGMENTS,
    LabelledPairs,
    choose_segments,
    cross_validate,
    fit,
    group,
    split,
)

REFERENCES, SYSTEMS = 60, 8
BY_HAND = Calibration((1.0, 2.0, 4.0), (1.0, 3.0, 4.0), 0.5, 2.0, 1.5, -0.3, 0.7, pairs=60, groups=5)


def true_score(said: np.ndarray) -> np.ndarray:
    """The known distortion: a model that says (q - 1)^2 / 4 + 1 of a quality q."""
    return 1 + 2 * np.sqrt(said - 1)


@pytest.fixture(scope="module")
def simulated() -> tuple[LabelledPairs, np.ndarray]:
    """Pairs within references with labels of listeners, and the true differences; the head says less than half."""
    rng = np.random.default_rng(0)
    quality = rng.uniform(1, 5, (REFERENCES, SYSTEMS))
    said = 1 + (quality - 1) ** 2 / 4
    chosen = [
        (r, i, j) for r in range(REFERENCES) for i in range(SYSTEMS) for j in range(i) if rng.random() < 400 / 1680
    ]
    r, i, j = np.array(chosen).T
    true = quality[r, i] - quality[r, j]
    head = 0.4 * (true + rng.normal(size=len(true)))
    probabilities = np.stack([np.exp(head), np.exp(-head), np.exp(0.5 - np.abs(true))], 1)
    names = np.char.add("r", r.astype(str))
    clips = [np.char.add(np.char.add(names, "-"), side.astype(str)) for side in (i, j)]
    pairs = LabelledPairs(
        np.stack([said[r, i], said[r, j]], 1),
        true + 0.3 * rng.normal(size=len(true)),
        head,
        tie_logit(probabilities / probabilities.sum(1, keepdims=True)),
        group(np.stack([names, names], 1), np.stack(clips, 1)),
    )
    return pairs, true


def test_a_known_distortion_is_recovered(simulated):
    pairs, true = simulated
    segments = choose_segments(pairs, seed=0)
    found = fit(pairs, segments)
    assert segments == max(SEGMENTS) and found.groups == REFERENCES and found.pairs == len(true) > 350
    said = np.linspace(1.1, 4.9, 20)
    # Differences say nothing of the level.
    shift = np.mean(found.score(said) - true_score(said))
    assert np.abs(found.score(said) - true_score(said) - shift).max() < 0.15
    assert found.score(pairs.scores).mean() == pytest.approx(pairs.scores.mean())
    assert found.difference > 0.8 and found.head < 0.3
    # What it gains on pairs that no fit has met; the noise of labels alone is 0.09.
    cmos, probabilities, differences = cross_validate(pairs, seed=0)
    before, after = (np.mean((side - pairs.labels) ** 2) for side in (pairs.head, cmos))
    assert before > 1 and after < 0.12 and np.mean((cmos - true) ** 2) < 0.03
    assert np.mean((pairs.scores[:, 0] - pairs.scores[:, 1] - pairs.labels) ** 2) > 2 * after
    assert np.allclose(probabilities.sum(1), 1) and not np.isnan(differences).any()
    classes = np.select([pairs.labels > 0.5, pairs.labels < -0.5], [0, 1], 2)
    assert np.mean(probabilities.argmax(1) == classes) > 0.85 > 0.6 > np.mean(np.sign(pairs.head) == 0)


def test_scores_that_are_right_stay_as_they_are(simulated):
    pairs, true = simulated
    right = true_score(pairs.scores)
    same = LabelledPairs(right, true, None, np.zeros(len(true)), pairs.groups)
    found = fit(same, choose_segments(same, seed=0))
    said = np.linspace(1, 5, 9)
    assert found.score(said) == pytest.approx(said, abs=1e-6)
    assert (found.head, found.difference, found.tie_head) == (0, 1, 0)


def test_by_hand():
    assert BY_HAND.score(np.array([1.5, 2.0, 3.0])).tolist() == [2.0, 3.0, 3.5]
    assert BY_HAND.score(np.array([0.0, 6.0])).tolist() == [-1.0, 5.0]  # Beyond the knots.
    assert BY_HAND.compare(0.6, -0.2) == pytest.approx(-0.1)
    head = np.array([0.5, 0.2, 0.3])
    tie = -0.3 + 0.7 * (np.log(0.3) - np.log(0.5 * 0.2) / 2)
    wanted = np.exp([-0.15, 0.15, tie])
    assert BY_HAND.probabilities(-0.1, head) == pytest.approx(wanted / wanted.sum())


def test_all_of_it_is_odd():
    rng = np.random.default_rng(1)
    head, difference = rng.normal(size=(2, 50))
    p = rng.dirichlet((1, 1, 1), 50)
    one, other = BY_HAND.compare(head, difference), BY_HAND.compare(-head, -difference)
    assert (one == -other).all()
    swapped = BY_HAND.probabilities(other, p[:, [1, 0, 2]])
    assert BY_HAND.probabilities(one, p) == pytest.approx(swapped[:, [1, 0, 2]])
    assert (np.sign(swapped[:, 0] - swapped[:, 1]) == np.sign(other)).all()
    # The fit does not depend on which side is called A.
    scores, labels = rng.uniform(1, 5, (80, 2)), rng.normal(size=80)
    labels += scores[:, 0] - scores[:, 1]
    groups = np.repeat(np.arange(8), 10)[:, None].repeat(2, 1)
    fits = [
        fit(LabelledPairs(side, sign * labels, sign * labels / 2, np.zeros(80), groups), 3)
        for side, sign in ((scores, 1), (scores[:, ::-1], -1))
    ]
    for name in ("scores", "mapped", "head", "difference", "steepness", "tie"):
        assert getattr(fits[0], name) == pytest.approx(getattr(fits[1], name), abs=1e-3), name


def test_folds_keep_groups_apart():
    names = np.array([[f"r{i % 11}"] * 2 for i in range(120)])
    clips = np.array([[f"{i}a", f"{i}b"] for i in range(120)])
    within = group(names, clips)
    seen = []
    for train, test in split(within, seed=3):
        assert not set(within[train].ravel()) & set(within[test].ravel()) and len(train) + len(test) == 120
        seen += test.tolist()
    assert sorted(seen) == list(range(120))
    # Pairs across references that all meet: those between folds are left out.
    rng = np.random.default_rng(0)
    across = group(
        np.array([[f"r{i}", f"r{j}"] for i, j in rng.integers(0, 12, (200, 2))]), np.tile(clips[:1], (200, 1))
    )
    assert len(np.unique(across)) == 12
    for train, test in split(across, seed=0):
        assert len(test) and not set(across[train].ravel()) & set(across[test].ravel())
    # References that meet in one pair are one group; one reference alone: each recording is.
    chains = group(np.array([[f"r{i}", f"r{i + i % 2}"] for i in range(12)]), clips[:12])
    assert len(np.unique(chains)) == 12 - 6 + 1 or (chains[:, 0] == chains[:, 1]).all()
    assert len(np.unique(group(np.full((120, 2), "r"), clips))) == 120


def test_nothing_to_fit():
    groups = np.arange(60)[:, None].repeat(2, 1)
    rng = np.random.default_rng(0)
    scores, labels, ties = rng.uniform(1, 5, (60, 2)), rng.normal(size=60), np.zeros(60)
    with pytest.raises(ValueError, match="all recordings have the same score"):
        fit(LabelledPairs(np.full((60, 2), 3.0), labels, None, ties, groups), 2)
    against = scores[:, 1] - scores[:, 0]
    with pytest.raises(ValueError, match="neither the head nor the difference of scores agrees"):
        fit(LabelledPairs(scores, against, -against, ties, groups), 2)


def test_a_file_of_it_is_checked():
    assert read(Calibration, as_json(BY_HAND)) == BY_HAND
    for change, message in (
        ({"mapped": [1.0, 1.0, 4.0]}, "must be increasing"),
        ({"scores": [1.0, 2.0]}, "of one length"),
        ({"head": -0.1}, "head is -0.1, expected a number of at least 0"),
        ({"head": 0.0, "difference": 0.0}, "head and difference are both 0"),
        ({"tie": float("inf")}, "a number is not finite"),
    ):
        with pytest.raises(SchemaError, match=message):
            read(Calibration, as_json(BY_HAND) | change)
