"""Rankings: strengths, intervals, tie groups, missing clips, and how they are shown."""

import itertools
import json
import math
from collections import Counter

import numpy as np
import pytest

from urgentmos_jax.manifests.records import Utterance
from urgentmos_jax.ranking.ranking import Ranking, rank, wins_by_score
from urgentmos_jax.ranking.systems import possible_pairs, shared_pairs
from urgentmos_jax.ranking.table import as_markdown, as_text
from urgentmos_jax.statistics.bradley_terry import bradley_terry


def recording(system: str, reference: str | None, take: int = 0) -> Utterance:
    return Utterance(f"{system}/{reference}/{take}", f"{system}/{reference}.wav", 1.0, system, reference)


def by_scores(scores: dict[tuple, float], metric: str = "mos_overall", **options: object) -> Ranking:
    """Ranking by the scores of {(system, reference) or (system, reference, take): score}; NaN: it failed."""
    recordings = [recording(*key) for key in scores]
    known = {one.uid: x for one, x in zip(recordings, scores.values(), strict=True) if not math.isnan(x)}
    pairs = shared_pairs(recordings, 10**6)
    return rank(recordings, known, pairs, wins_by_score(recordings, known, pairs, metric), metric=metric, **options)


def simulated(qualities: np.ndarray, references: int, seed: int, *, spread: float = 0.5) -> dict[tuple, float]:
    """Scores: quality of the system + how hard the reference is + chance."""
    rng = np.random.default_rng(seed)
    scores = (
        qualities[:, None] + rng.normal(0, spread, references) + rng.normal(0, spread, (len(qualities), references))
    )
    return {(f"s{s:02}", f"r{r:03}"): float(x) for (s, r), x in np.ndenumerate(scores)}


def everybody(count: int) -> np.ndarray:
    return ~np.eye(count, dtype=bool)


# Tie groups.


def test_equal_systems_are_one_group():
    rng = np.random.default_rng(1)
    same = rng.normal(3, 1, 40)
    found = by_scores({(name, f"r{r}"): x for name in "abc" for r, x in enumerate(same)})
    assert [system.group for system in found.systems] == ["A"] * 3
    assert [system.name for system in found.systems] == ["a", "b", "c"]
    assert {system.win_rate.value for system in found.systems} == {0.5}
    assert found.systems[0].strength.value == pytest.approx(0, abs=1e-9)
    noisy = by_scores(simulated(np.full(5, 3.0), 60, seed=4))
    assert [system.group for system in noisy.systems] == ["A"] * 5


# Rankings.


def test_a_small_table_by_hand():
    scores = {
        **{("a", "r1"): 4.0, ("a", "r2"): 4.0, ("a", "r3"): 2.0},
        **{("b", "r1"): 3.0, ("b", "r2"): 4.0, ("b", "r3"): 1.0, ("b", "r4"): 5.0},
        **{("c", "r1"): 1.0, ("c", "r2"): math.nan},
    }
    found = by_scores(scores)
    assert [system.name for system in found.systems] == ["a", "b", "c"]
    assert [system.clips for system in found.systems] == [3, 4, 1]
    assert [system.mean.value for system in found.systems] == pytest.approx([10 / 3, 13 / 4, 1])
    assert found.places_by_mean == (1, 2, 3)
    np.testing.assert_array_equal(found.shared, [[0, 3, 1], [3, 0, 1], [1, 1, 0]])
    np.testing.assert_allclose(found.wins, [[np.nan, 2.5 / 3, 1], [0.5 / 3, np.nan, 1], [0, 0, np.nan]])
    assert [system.win_rate.value for system in found.systems] == pytest.approx([5.5 / 6, 3.5 / 6, 0])
    wanted = bradley_terry(np.array([[0, 2.5, 1], [0.5, 0, 1], [0, 0, 0]]), everybody(3))
    assert [system.strength.value for system in found.systems] == pytest.approx(list(wanted))
    assert found.missing == (("a", "r4"), ("c", "r2"), ("c", "r3"), ("c", "r4"))
    assert found.decided_by == "strength" and found.references == 4
    assert math.isnan(found.systems[2].mean.low), "one reference has no interval"
    assert found.systems[0].mean.low < 10 / 3 < found.systems[0].mean.high
    assert any("Fewest references of a system: 1." in note for note in found.notes)


def test_less_is_better_for_some_metrics():
    scores = {(name, f"r{r}"): x + r for name, x in (("far", 3.0), ("near", 1.0)) for r in range(8)}
    found = by_scores(scores, "lsd")
    assert [system.name for system in found.systems] == ["near", "far"]
    assert found.places_by_mean == (1, 2) and found.wins[0, 1] == 1
    alone = by_scores({(name, f"{name}{r}"): x for (name, r), x in scores.items()}, "lsd")
    assert [system.name for system in alone.systems] == ["near", "far"] and alone.decided_by == "mean"


def test_comparisons_decide_against_the_means():
    # b has one awful clip, and wins everywhere else.
    scores = {("a", f"r{r:02}"): 3.0 for r in range(12)} | {("b", f"r{r:02}"): 3.2 - 2.9 * (r == 0) for r in range(12)}
    found = by_scores(scores)
    assert [system.name for system in found.systems] == ["b", "a"] and found.places_by_mean == (2, 1)


def test_comparisons_that_are_shares():
    recordings = [recording(s, f"r{r}") for s in "ab" for r in range(20)]
    pairs = np.array([(r, 20 + r) if r % 2 else (20 + r, r) for r in range(20)])
    shares = np.where(np.arange(20) % 2, 0.7, 0.4)  # a is given 0.7 and 0.6 of a win.
    found = rank(recordings, {one.uid: 3.0 for one in recordings}, pairs, shares, metric="mos_overall")
    assert found.systems[0].name == "a" and found.wins[0, 1] == pytest.approx(0.65)
    difference = found.systems[0].strength.value - found.systems[1].strength.value
    assert difference == pytest.approx(math.log(13.5 / 7.5))
    assert [system.group for system in found.systems] == ["A", "B"]
    failed = rank(recordings, {}, pairs, np.full(20, np.nan), metric="mos_overall")
    assert not failed.shared.any() and len(failed.missing) == 40
    assert [(system.clips, system.group) for system in failed.systems] == [(0, "")] * 2


def test_systems_without_shared_references():
    scores = simulated(np.array([2.0, 4.0, 3.0]), 30, seed=2)
    # The third has references of its own.
    own = {(s, f"own{r}" if s == "s02" else r): x for (s, r), x in scores.items()}
    found = by_scores(own)
    assert found.decided_by == "mean" and [system.name for system in found.systems] == ["s01", "s02", "s00"]
    assert [math.isnan(system.strength.value) for system in found.systems] == [False, True, False]
    assert math.isnan(found.systems[1].win_rate.value) and np.isnan(found.wins[1]).all()
    assert [system.group for system in found.systems] == ["A", "B", "C"]
    assert any("no shared references join s02" in note for note in found.notes)
    assert len(found.missing) == 3 * 60 - 90


def test_a_system_that_failed_comes_last_and_changes_nothing():
    scores = simulated(np.array([2.0, 4.0]), 20, seed=3)
    found = by_scores(scores | {("broken", f"r{r:03}"): math.nan for r in range(20)})
    assert [system.name for system in found.systems] == ["s01", "s00", "broken"]
    assert found.decided_by == "strength" and [system.group for system in found.systems] == ["A", "B", ""]
    assert found.systems[2].clips == 0 and len(found.missing) == 20
    assert found.systems[:2] == by_scores(scores).systems


def test_recordings_without_reference_and_several_with_one():
    scores = {("a", "r1", 0): 4.0, ("a", "r1", 1): 2.0, ("b", "r1", 0): 3.0, ("b", "r2", 0): 3.0, ("a", "r2", 0): 5.0}
    scores |= {("a", None, 0): 1.0, ("b", None, 0): math.nan}
    found = by_scores(scores)
    # With r1 a wins once and loses once: half a win, of one meeting.
    np.testing.assert_array_equal(found.shared, [[0, 2], [2, 0]])
    assert found.wins[0, 1] == 0.75 and found.systems[0].mean.value == 3.0 and found.systems[0].clips == 4
    assert found.references == 4 and found.missing == (("b", "b/None/0"),)


def test_one_system():
    (system,) = by_scores({("a", "r1"): 3.0, ("a", "r2"): 4.0}).systems
    assert system.mean.value == 3.5 and system.group == "A" and math.isnan(system.strength.value)


def test_intervals_of_means_are_those_of_the_bootstrap():
    scores = simulated(np.array([3.0, 4.0]), 400, seed=5)
    values = np.array([x for (system, _), x in scores.items() if system == "s01"])
    found = by_scores(scores, resamples=4000).systems[0].mean
    rng = np.random.default_rng(9)
    means = rng.choice(values, (4000, 400)).mean(1)
    # Percentiles of 4,000 draws vary by a twentieth of the deviation.
    np.testing.assert_allclose([found.low, found.high], np.percentile(means, [2.5, 97.5]), atol=0.2 * means.std())
    assert by_scores(scores, seed=1) != by_scores(scores, seed=2)
    assert by_scores(scores, seed=1).systems == by_scores(scores, seed=1).systems


# Simulated systems of known quality.


def coverage(qualities: np.ndarray, references: int, simulations: int) -> tuple[float, float]:
    """How often intervals hold the true mean, and the true strength where chances of winning follow from it."""
    count = len(qualities)
    recordings = [recording(f"s{s:02}", f"r{r:03}") for s in range(count) for r in range(references)]
    pairs = shared_pairs(recordings, 10**6)
    quality = np.repeat(qualities, references)
    chance = 1 / (1 + np.exp(quality[pairs[:, 1]] - quality[pairs[:, 0]]))
    held = np.zeros(2)
    for seed in range(simulations):
        rng = np.random.default_rng(seed)
        scores = dict(zip((r.uid for r in recordings), simulated(qualities, references, seed).values(), strict=True))
        shares = (rng.random(len(pairs)) < chance).astype(float)
        found = rank(recordings, scores, pairs, shares, metric="mos_overall", seed=seed, resamples=300)
        for system in found.systems:
            truth = qualities[int(system.name[1:])]
            held[0] += system.mean.low <= truth <= system.mean.high
            held[1] += system.strength.low <= truth - qualities.mean() <= system.strength.high
    return tuple(held / (simulations * count))


def test_order_is_recovered_and_intervals_cover():
    found = by_scores(simulated(np.array([3.0, 4.2, 2.4, 3.6]), 100, seed=0))
    assert [system.name for system in found.systems] == ["s01", "s03", "s00", "s02"]
    assert [system.group for system in found.systems] == ["A", "B", "C", "D"]
    mean, strength = coverage(np.array([3.5, 2.0, 3.0, 2.8]), 40, 40)
    assert 0.89 < mean < 0.99 and 0.89 < strength < 0.99


@pytest.mark.slow
@pytest.mark.parametrize("references", [11, 30, 100])
def test_intervals_cover_in_many_simulations(references: int):
    mean, strength = coverage(np.array([4.0, 1.5, 3.0, 2.8, 2.5]), references, 400)
    assert 0.92 < mean < 0.97 and 0.92 < strength < 0.97


@pytest.mark.slow
@pytest.mark.parametrize("systems, references", [(2, 11), (5, 6), (5, 11), (9, 11), (10, 30)])
def test_equal_systems_are_seldom_told_apart(systems: int, references: int):
    told = [
        any(
            system.group != "A"
            for system in by_scores(simulated(np.zeros(systems), references, seed), resamples=300).systems
        )
        for seed in range(300)
    ]
    assert np.mean(told) < 0.09, "5 % are wanted; three deviations of 300 are 4 %"


# Who meets whom.


def test_pairs_are_drawn_as_often_for_each_reference_and_recording():
    recordings = [recording(f"s{s}", f"r{r}") for s in range(10) for r in range(20)] + [recording("s0", None)]
    assert possible_pairs(recordings) == 20 * 45
    every = shared_pairs(recordings, 900)
    assert len(every) == 900 == len({frozenset(pair) for pair in every.tolist()})
    drawn = shared_pairs(recordings, 300, seed=1)
    assert len(drawn) == 300 == len({frozenset(pair) for pair in drawn.tolist()})
    references = [recordings[a].reference_id for a, b in drawn.tolist() if recordings[b].reference_id]
    assert set(Counter(references).values()) == {15}
    assert set(Counter(drawn.ravel().tolist()).values()) <= {2, 3, 4}
    assert len(list(itertools.groupby(references))) == 20, "ordered by reference"
    assert not np.array_equal(drawn, shared_pairs(recordings, 300, seed=2))


def test_recordings_of_one_system_do_not_meet():
    recordings = [recording("a", "r", take) for take in range(3)] + [recording("b", "r", take) for take in range(2)]
    pairs = shared_pairs(recordings, 100)
    assert len(pairs) == 6 == possible_pairs(recordings)
    assert all({recordings[a].system_id, recordings[b].system_id} == {"a", "b"} for a, b in pairs.tolist())
    assert shared_pairs([recording("a", "r1"), recording("b", "r2")], 5).shape == (0, 2)


# What is shown.


def test_the_text_fits_and_says_what_is_missing():
    rng = np.random.default_rng(0)
    scores = simulated(rng.uniform(2, 4, 40), 12, seed=0)
    long = {
        (f"{system}-with-a-very-long-name-that-nobody-can-read-{system}", r): x for (system, r), x in scores.items()
    }
    del long[next(iter(long))]
    found = by_scores(long, notes=["Said before."])
    text = as_text(found)
    lines = text.splitlines()
    assert max(map(len, lines)) <= 120 and len(lines) < 60
    assert len({line.split()[1] for line in lines[1:41]}) == 40, "names that are cut still differ"
    assert any(system.group.startswith("ABCD") for system in found.systems)
    assert "  A-" in text, "long lists of letters are shown as ranges"
    assert "no score: 1\n" in text and "r000" in text and "Said before." in text
    markdown = as_markdown(found)
    assert markdown.count("\n|") == 41 and found.systems[0].name in markdown


def test_json_has_null_for_what_is_not_defined():
    found = by_scores({("a", "r1"): 3.0, ("b", "r2"): 4.0, ("c", "r3"): math.nan})
    content = json.loads(json.dumps(found.as_json(), allow_nan=False))
    assert [system["name"] for system in content["systems"]] == ["b", "a", "c"]
    assert content["systems"][0]["strength"] == {"value": None, "low": None, "high": None}
    assert content["wins"] == [[None] * 3] * 3 and content["shared"] == [[0] * 3] * 3
    assert {"system": "a", "reference": "r2"} in content["missing"] and len(content["missing"]) == 7
    assert "n/a" not in as_text(found).splitlines()[1]
