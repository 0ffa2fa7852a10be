"""Evaluations: statistics against scipy, missing predictions, averages, paired differences, distance to the best."""

import json
import warnings

import numpy as np
import pytest
from scipy import stats

from tests.helpers.evaluations import evaluate_records, pairs_of, predicted_scores, utterances
from urgentmos_jax.evaluation.evaluating import MissingPredictions
from urgentmos_jax.evaluation.predictions import HeadValue, Predictions
from urgentmos_jax.evaluation.tables import as_json, as_text
from urgentmos_jax.manifests.records import Pair, Utterance

SCORES = ("mse", "lcc", "srcc", "ktau", "rmse_mapped")


@pytest.fixture(autouse=True)
def _no_warnings_of_numpy():
    with warnings.catch_warnings():
        warnings.simplefilter("error", RuntimeWarning)
        yield


def test_figures_of_utterances_and_systems_equal_those_of_scipy():
    records = utterances(43)
    predicted = predicted_scores(records, 0.8)
    (found,) = evaluate_records(records, predicted).results
    x = np.array([predicted[one.uid]["mos_overall"] for one in records])
    y = np.array([one.metrics["mos_overall"] for one in records])
    systems = np.array([one.system_id for one in records])
    names = sorted(set(systems))
    means = [np.array([side[systems == name].mean() for name in names]) for side in (x, y)]
    assert (found.n, found.missing, found.references, found.systems, found.warnings) == (43, 0, 9, 4, ())
    for prefix, (a, b) in {"": (x, y), "system_": means}.items():
        assert found.intervals[f"{prefix}mse"].value == pytest.approx(np.mean((a - b) ** 2))
        assert found.intervals[f"{prefix}lcc"].value == pytest.approx(stats.pearsonr(a, b).statistic)
        assert found.intervals[f"{prefix}srcc"].value == pytest.approx(stats.spearmanr(a, b).statistic)
        assert found.intervals[f"{prefix}ktau"].value == pytest.approx(stats.kendalltau(a, b).statistic)
    assert found.levels["utterance"].clusters == 9 and found.levels["system"].clusters == 4


def test_missing_predictions_stop_or_are_counted():
    records = utterances(20)
    predicted = predicted_scores(records, 0.5)
    del predicted["c003"]
    predicted["c007"] = {}
    with pytest.raises(MissingPredictions, match=r"no mos_overall of 2 of 20 records of all: 'c003', 'c007'$"):
        evaluate_records(records, predicted)
    (found,) = evaluate_records(records, predicted, allow_missing=True).results
    kept = [one for one in records if one.uid not in ("c003", "c007")]
    (wanted,) = evaluate_records(kept, {one.uid: predicted[one.uid] for one in kept}).results
    assert (found.n, found.missing) == (18, 2)
    assert found.intervals == wanted.intervals


def test_labels_that_are_missing_are_no_missing_predictions():
    records = utterances(12)
    for one in records[:4]:
        one.metrics.clear()
    (found,) = evaluate_records(records, predicted_scores(records[4:], 0.5)).results
    assert (found.n, found.missing) == (8, 0)


def test_one_system_constant_predictions_and_no_system():
    records = utterances(10, systems=1)
    (found,) = evaluate_records(records, {one.uid: {"mos_overall": 3.0} for one in records}).results
    assert found.warnings == ("constant_predictions", "few_systems", "one_system")
    assert found.intervals["srcc"].as_json() == {"value": None, "low": None, "high": None}
    assert found.intervals["system_lcc"].as_json()["value"] is None
    records = [Utterance(one.uid, one.audio_path, 1.0, None, None, one.metrics) for one in records]
    found = evaluate_records(records, predicted_scores(records, 0.5))
    assert found.results[0].systems == 0 and "system" not in found.results[0].levels
    assert found.results[0].levels["utterance"].clusters == 10
    json.dumps(as_json(found), allow_nan=False)


def test_pairs_by_comparisons_and_by_differences_of_scores():
    records = utterances(21)
    pairs, scores = pairs_of(records), predicted_scores(records, 0.4)
    compared = {
        " ".join(pair.uids): {"mos_overall": scores[pair.uids[0]]["mos_overall"] - scores[pair.uids[1]]["mos_overall"]}
        for pair in pairs
    }
    by_head, by_score = (evaluate_records(pairs, predicted).results[0] for predicted in (compared, scores))
    assert by_head.intervals == by_score.intervals and by_head.pairs and by_head.n == 20 and by_head.references == 5
    x = np.array([compared[" ".join(pair.uids)]["mos_overall"] for pair in pairs])
    y = np.array([pair.metrics["mos_overall"] for pair in pairs])
    clear = np.abs(y) >= 0.5
    assert by_head.intervals["sign_acc@0"].value == pytest.approx(np.mean((x * y > 0)[y != 0]))
    assert by_head.intervals["sign_acc@0.5"].value == pytest.approx(np.mean((x * y > 0)[clear]))
    assert by_head.intervals["pair_srcc"].value == pytest.approx(stats.spearmanr(x, y).statistic)


def test_accuracy_of_pairs_is_the_heads_where_there_is_one():
    pairs = [
        Pair((f"{n}a", f"{n}b"), (f"{n}a.wav", f"{n}b.wav"), (1.0, 1.0), {"mos_overall": label})
        for n, label in enumerate((1.0, -1.0, 0.5, 0.0))
    ]
    # By the CMOS three ties and a wrong side; by the head right, right, a wrong A, a tie.
    heads = ((0.1, 0.8, 0.1, 0.1), (0.2, 0.1, 0.6, 0.3), (0.3, 0.5, 0.2, 0.3), (0.4, 0.3, 0.2, 0.5))
    compared = {
        " ".join(pair.uids): {"mos_overall": HeadValue(cmos, p)} for pair, (cmos, *p) in zip(pairs, heads, strict=True)
    }
    found = evaluate_records(pairs, compared).results[0].intervals
    assert (found["acc_0.5"].value, found["acc_0"].value) == (3 / 4, 1)
    assert (found["tie3_acc@0.5"].value, found["sign_acc@0"].value) == (2 / 4, 2 / 3)
    plain = {uid: {"mos_overall": float(one["mos_overall"])} for uid, one in compared.items()}
    found = evaluate_records(pairs, plain).results[0].intervals
    assert (found["acc_0.5"].value, found["acc_0"].value) == (2 / 4, 2 / 3)


def test_pairs_are_evaluated_by_head_and_by_difference_of_scores():
    pairs = [
        Pair((f"{n}a", f"{n}b"), (f"{n}a.wav", f"{n}b.wav"), (1.0, 1.0), {"mos_overall": label})
        for n, label in enumerate((1.0, -1.0, 0.5, 0.0))
    ]
    # The head is always for A; the scores are right about every side, and 0.5 and more apart for the first two.
    differences = (0.6, -0.9, 0.3, 0.2)
    compared = {
        " ".join(pair.uids): {"mos_overall": HeadValue(1.0, (0.8, 0.1, 0.1), one)}
        for pair, one in zip(pairs, differences, strict=True)
    }
    evaluation = evaluate_records(
        {"one": pairs, "two": pairs}, [Predictions(compared, "m"), Predictions(compared, "n")]
    )
    first = evaluation.results[0]
    assert list(first.levels) == ["pair", "score_difference"]
    assert (first.intervals["acc_0.5"].value, first.intervals["acc_0"].value) == (1 / 4, 2 / 3)
    assert first.intervals["score_difference_acc_0.5"].value == first.intervals["score_difference_acc_0"].value == 1
    averages = {one.statistic: one.interval.value for one in evaluation.averages}
    assert averages["score_difference_acc_0"] == 1 and averages["acc_0"] == pytest.approx(2 / 3)
    assert set(evaluation.results[1].differences) == {"pair", "score_difference"}
    text = as_text(evaluation)
    assert text.count("score difference acc_0 ") == text.count("score difference acc_0.5") == 4
    # Where a difference is not known there is the head alone.
    compared["0a 0b"] = {"mos_overall": HeadValue(1.0, (0.8, 0.1, 0.1))}
    assert list(evaluate_records(pairs, compared).results[0].levels) == ["pair"]


def test_average_and_distance_to_the_best():
    corpora = {"a": utterances(30, "a"), "b": utterances(55, "b")}
    every = [one for records in corpora.values() for one in records]
    names = ("first", "second")
    predictions = [
        Predictions(predicted_scores(every, spread, seed), name)
        for name, spread, seed in zip(names, (0.4, 1.2), (1, 2), strict=True)
    ]
    found = evaluate_records(corpora, predictions)
    values = {
        (one.dataset, one.model, figure): one.intervals[figure].value for one in found.results for figure in SCORES
    }
    averages = {(one.statistic, one.model): one for one in found.averages}
    best = {(one.statistic, one.model): one for one in found.best_scores}
    for figure in SCORES:
        lower = figure in ("mse", "rmse_mapped")
        bests = [(min if lower else max)(values[corpus, name, figure] for name in names) for corpus in corpora]
        for name in names:
            mine = [values[corpus, name, figure] for corpus in corpora]
            assert averages[figure, name].interval.value == pytest.approx(np.mean(mine))
            assert averages[figure, name].datasets == 2 and averages[figure, name].n == 85
            assert best[figure, name].difference == pytest.approx(np.mean(np.subtract(mine, bests)))
            ratios = np.divide(bests, mine) if lower else np.divide(mine, bests)
            assert best[figure, name].ratio == pytest.approx(np.mean(ratios))
    assert best["srcc", "first"].difference == 0 and best["srcc", "first"].ratio == 1
    second = next(one for one in found.results if one.dataset == "b" and one.model == "second")
    apart = second.differences["utterance"]["srcc"]
    assert apart.interval.value == pytest.approx(values["b", "second", "srcc"] - values["b", "first", "srcc"])
    assert apart.interval.high < 0 and apart.p < 0.05


def test_paired_differences_are_of_what_both_predict():
    records = utterances(40)
    first, second = predicted_scores(records, 0.4, 1), predicted_scores(records, 0.9, 2)
    del first["c001"], second["c002"]
    predictions = [Predictions(first, "first"), Predictions(second, "second")]
    found = evaluate_records(records, predictions, allow_missing=True)
    kept = [one for one in records if one.uid not in ("c001", "c002")]
    both = [Predictions({one.uid: side[one.uid] for one in kept}, side.name) for side in predictions]
    assert [one.n for one in found.results] == [39, 39]
    assert found.results[1].differences == evaluate_records(kept, both).results[1].differences
