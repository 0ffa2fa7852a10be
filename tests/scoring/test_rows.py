"""Rows made by hand."""

import numpy as np
import pytest

from urgentmos_jax.scoring.rows import Encoded, EncodedWindow, WindowComparison, comparison_row, score_row

HEAD = (np.float32(0.5), np.array([0.6, 0.1, 0.3]), np.zeros(3))
BACK = (np.float32(-0.3), np.array([0.2, 0.5, 0.3]), np.zeros(3))


def encoded(*windows: tuple[int, float]) -> Encoded:
    return Encoded(1.0, [], [EncodedWindow(samples, {"mos_overall": score}, {}, {}) for samples, score in windows])


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
