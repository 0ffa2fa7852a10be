"""Agreement of predicted and true comparisons."""

from collections.abc import Sequence

import numpy as np

__all__ = ["sign_accuracy"]


def sign_accuracy(predicted: Sequence[float], true: Sequence[float], threshold: float = 0.0) -> dict[str, float]:
    """Part of the pairs whose better recording is found.

    Args:
        predicted: [P] CMOS or differences of scores, positive = A better.
        true: [P] labels.
        threshold: Pairs count where the label is not 0 and |label| is at least this: listeners disagree on the rest.

    Returns:
        `n` and `accuracy` (NaN without such a pair). A predicted difference of exactly 0 is wrong.
    """
    x, y = np.asarray(predicted, np.float64), np.asarray(true, np.float64)
    clear = (np.abs(y) >= threshold) & (y != 0)
    right = np.sign(x[clear]) == np.sign(y[clear])
    return {"n": int(clear.sum()), "accuracy": float(right.mean()) if clear.any() else float("nan")}
