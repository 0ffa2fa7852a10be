"""Rows made by hand."""

import numpy as np
import pytest

from urgentmos_jax.scoring.rows import Encoded, EncodedWindow, WindowComparison, comparison_row, score_row
from urgentmos_jax.statistics.calibration import Calibration

HEAD = (np.float32(0.5), np.array([0.6, 0.1, 0.3]), np.zeros(3))
BACK = (np.float32(-0.3), np.array([0.2, 0.5, 0.3]), np.zeros(3))


def encoded(*windows: tuple[int, float]) -> Encoded:
    return Encoded(1.0, [], [EncodedWindow(samples, {"mos_overall": score}, {}, {}) for samples, score in windows])


@pytest.mark.parametrize(("metric", "start_s", "score"), [("mos_overall", 62.0, 1.5), ("lsd", 3.2, 5.0)])
def test_the_worst_second(metric, start_s, score):
    """The lowest, or of a distance the highest; over two windows, the second of which begins at 60 s."""
    first, second = np.full(600, 3.0, np.float32), np.full(100, 3.0, np.float32)
    first[32:42], second[20:30] = 5.0, 1.5
    windows = [
        EncodedWindow(samples, {metric: 3.0}, {metric: (scores, np.full(len(scores), 1e-3))}, {})
        for samples, scores in ((960000, first), (160000, second), (800, first[:1] - 2))
    ]
    row = score_row("u", None, Encoded(70.0, [], windows), [metric], frame_rate_hz=10)
    assert row["worst_second"][metric] == pytest.approx({"start_s": start_s, "score": score})
    (short,) = score_row("u", None, Encoded(0.1, [], windows[2:]), [metric], frame_rate_hz=10)["worst_second"].values()
    assert short == {"start_s": 0.0, "score": 1.0}


@pytest.mark.parametrize("order", ["both", "ab"])
def test_the_difference_of_scores_is_that_of_the_rows(order):
    # A has a window without a partner, which its score knows.
    a, b = encoded((16000, 4.0), (8000, 2.5)), encoded((16000, 2.0))
    scores = [score_row("u", None, one, ["mos_overall"])["scores"]["mos_overall"] for one in (a, b)]
    assert scores == pytest.approx([3.5, 2.0])
    found = {}
    for name, sides, values in (("ab", (a, b), (*HEAD, *BACK)), ("ba", (b, a), (*BACK, *HEAD))):
        windows = [WindowComparison(32000, {"mos_overall": values})]
        row = comparison_row("u", [None, None], sides, windows, ["mos_overall"], order)
        found[name] = row["comparison"]["mos_overall"]
    assert found["ab"]["score_difference"] == pytest.approx(1.5) == -found["ba"]["score_difference"]
    assert found["ab"]["cmos"] == pytest.approx(0.5 if order == "ab" else 0.4)
    assert ("logits" in found["ab"]) == (order == "ab")


@pytest.mark.parametrize("order", ["both", "ab"])
def test_calibrated_rows_by_hand(order):
    """Scores are mapped after the mean over windows; comparisons are made of the head and of mapped scores."""
    by = Calibration((1.0, 3.0, 5.0), (1.5, 2.5, 4.5), 0.5, 2.0, 1.0, 0.0, 0.0, pairs=60, groups=5)
    a, b = encoded((16000, 4.0), (8000, 2.5)), encoded((16000, 2.0))
    options = {"calibrations": {"mos_overall": by}}
    row_a, row_b = (score_row("u", None, one, ["mos_overall"], **options) for one in (a, b))
    assert row_a["scores"]["mos_overall"] == pytest.approx(3.0)  # Of 3.5: 2.5 + 0.5.
    assert row_b["scores"]["mos_overall"] == pytest.approx(2.0)  # Of 2: 1.5 + 0.5.
    assert row_a["flags"] == row_b["flags"] == ["calibrated"]
    windows = [WindowComparison(32000, {"mos_overall": (*HEAD, *BACK)})]
    row = comparison_row("u", [None, None], (a, b), windows, ["mos_overall"], order, **options)
    found = row["comparison"]["mos_overall"]
    cmos = 0.5 * (0.5 if order == "ab" else 0.4) + 2.0 * 1.0
    assert found["score_difference"] == pytest.approx(1.0) and found["cmos"] == pytest.approx(cmos)
    total = np.exp(cmos) + np.exp(-cmos) + 1
    assert [found["p_a"], found["p_b"], found["p_tie"]] == pytest.approx(np.exp([cmos, -cmos, 0]) / total)
    assert row["flags"] == ["excess_left_out", "calibrated"]
    other = comparison_row("u", [None, None], (a, b), windows, ["mos_overall"], order, {"pesq": by})
    assert other["flags"] == ["excess_left_out"] and other["comparison"]["mos_overall"]["cmos"] < 1
