"""Agreement of predicted and true scores, by utterance and by system (UrgentMOS, section 4; VoiceMOS challenges)."""

import warnings
from collections.abc import Sequence

import numpy as np
from scipy import stats

__all__ = ["agreement", "system_means"]


def agreement(predicted: Sequence[float], true: Sequence[float]) -> dict[str, float]:
    """Measures of agreement.

    Args:
        predicted, true: [N] scores of the same items, finite.

    Returns:
        `n`; `mse`; `lcc` (Pearson), `srcc` (Spearman), `ktau` (Kendall tau-b), NaN for fewer than two items and
        where all values of a side are equal.
    """
    x, y = np.asarray(predicted, np.float64), np.asarray(true, np.float64)
    if x.shape != y.shape or x.ndim != 1:
        raise ValueError(f"predicted has shape {x.shape}, true {y.shape}; wanted are two lists of one length")
    found = {"n": len(x), "mse": float(np.mean(np.square(x - y))) if len(x) else float("nan")}
    if len(x) < 2 or np.ptp(x) == 0 or np.ptp(y) == 0:
        return found | dict.fromkeys(("lcc", "srcc", "ktau"), float("nan"))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", stats.NearConstantInputWarning)
        return found | {
            "lcc": float(stats.pearsonr(x, y).statistic),
            "srcc": float(stats.spearmanr(x, y).statistic),
            "ktau": float(stats.kendalltau(x, y).statistic),
        }


def system_means(
    predicted: Sequence[float], true: Sequence[float], systems: Sequence[str | None]
) -> tuple[np.ndarray, np.ndarray]:
    """Means of predicted and of true scores by system; items without a system are left out.

    Returns:
        Two arrays [S], systems in order of their names.
    """
    groups: dict[str, list[tuple[float, float]]] = {}
    for x, y, system in zip(predicted, true, systems, strict=True):
        if system is not None:
            groups.setdefault(system, []).append((x, y))
    means = np.array([np.mean(groups[name], axis=0) for name in sorted(groups)]).reshape(-1, 2)
    return means[:, 0], means[:, 1]
