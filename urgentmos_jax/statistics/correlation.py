"""Agreement of predicted and true scores, by utterance and by system (UrgentMOS, section 4; VoiceMOS challenges)."""

import math
from collections.abc import Sequence

import numpy as np

from urgentmos_jax.statistics.bootstrap import RESAMPLES, Estimates, cluster_numbers, estimates, resampled_counts
from urgentmos_jax.statistics.ranks import kendall, resampled_kendall, resampled_spearman, spearman

Numbers = Sequence[float] | np.ndarray

STATISTICS = ("mse", "lcc", "srcc", "ktau", "rmse_mapped")
LOWER_IS_BETTER = ("mse", "rmse_mapped")

# Under so many items a correlation says nothing, and the mapped RMSE has no freedom left.
_FEW = 3
# A spread below this part of the values, and a mean beyond this digit, are those of rounding.
_ROUNDING = 1e-12
_DIGITS = 12


def agreement(predicted: Numbers, true: Numbers) -> dict[str, float]:
    """Measures of agreement.

    Args:
        predicted, true: [N] scores of the same items, finite.

    Returns:
        `n`; `mse`; `lcc` (Pearson), `srcc` (Spearman), `ktau` (Kendall tau-b); `rmse_mapped`: root mean square error
        after the first-order mapping of ITU-T P.1401, the straight line of least squares from predictions to labels,
        with its N - 2 degrees of freedom. NaN for fewer than three items, but for `mse`, and where a side is constant.
    """
    x, y = _sides(predicted, true)
    found = _all_but_ktau(x, y)
    return found if faults_of_sides(x, y) else found | {"ktau": kendall(x, y)}


def agreement_with_intervals(
    predicted: Numbers,
    true: Numbers,
    clusters: Sequence[str | None] | None = None,
    *,
    resamples: int = RESAMPLES,
    seed: int | Sequence[int] = 0,
) -> Estimates:
    """`agreement` with bootstrap intervals.

    SRCC and KTAU have percentile intervals. Those of MSE and mapped RMSE would lie too low, and that of LCC would be
    too narrow for few items, so these are bias-corrected and accelerated. All cover in 92 to 98 % of simulated tests
    from 100 clusters on; with fewer, those of the errors cover less often (`test_coverage_of_small_samples`).
    SRCC and KTAU of a resample are exact for up to 1,000 clusters and 5,000 items, and to first order beyond.

    Args:
        predicted, true: [N] scores of the same items, finite.
        clusters: [N] names of what is resampled, the reference of each item; an item without a name is resampled by
            itself. None: all are.
        resamples, seed: Two models with the same clusters and seed meet the same resamples.

    Returns:
        Of `STATISTICS`. Warnings: `few_items` (fewer than three), `constant_predictions`, `constant_labels`, each with
        all statistics undefined but `mse`; `one_cluster`, without intervals.
    """
    x, y = _sides(predicted, true)
    cluster = np.arange(len(x)) if clusters is None else cluster_numbers(clusters)
    point = _all_but_ktau(x, y)
    count = int(cluster.max()) + 1 if len(x) else 0
    faults = faults_of_sides(x, y)
    warnings = faults + ["one_cluster"] * (count == 1)
    values = {name: point[name] for name in STATISTICS}
    if not faults:
        ranked = {"srcc": resampled_spearman(x, y, cluster), "ktau": resampled_kendall(x, y, cluster)}
        # Costly for many items, and known to what resamples it.
        values["ktau"] = float(ranked["ktau"](np.ones((1, count)))[0])
    if count < 2:
        return estimates(len(x), count, values, {}, warnings=warnings)
    squared = np.square(x - y)
    columns, influence = [np.ones(len(x)), squared], {"mse": (squared - point["mse"]) / len(x)}
    if not faults:
        a, b, lcc = _standardised(x), _standardised(y), point["lcc"]
        columns += [a, b, a * a, b * b, a * b]
        influence["lcc"] = (a * b - lcc / 2 * (a * a + b * b)) / len(x)
        left = np.square(b - lcc * a)
        share = left / left.mean() if lcc**2 < 1 - _ROUNDING else np.ones(len(x))
        influence["rmse_mapped"] = (share - 1) * point["rmse_mapped"] / (2 * len(x))
    sums = np.stack([np.bincount(cluster, column, count) for column in columns], axis=1)
    pieces: dict[str, list[np.ndarray]] = {name: [] for name in (("mse",) if faults else STATISTICS)}
    for counts in resampled_counts(count, resamples=resamples, seed=seed, width=len(x)):
        n, error, *moments = (counts @ sums).T
        pieces["mse"].append(error / n)
        if not faults:
            correlations, rmse = _from_moments(n, *moments)
            pieces["lcc"].append(correlations)
            pieces["rmse_mapped"].append(y.std() * rmse)
            for name, of_counts in ranked.items():
                pieces[name].append(of_counts(counts))
    found = {name: np.concatenate(parts) for name, parts in pieces.items()}
    by_cluster = {name: np.bincount(cluster, moves, count) for name, moves in influence.items()}
    return estimates(len(x), count, values, found, by_cluster, warnings=warnings)


def faults_of_sides(predicted: np.ndarray, true: np.ndarray) -> list[str]:
    """Why a correlation of [N] and [N] is not defined: `few_items`, `constant_predictions`, `constant_labels`."""
    if len(true) < _FEW:
        return ["few_items"]
    sides = {"constant_predictions": predicted, "constant_labels": true}
    return [name for name, side in sides.items() if np.ptp(side) <= _ROUNDING * np.abs(side).max()]


def system_means(predicted: Numbers, true: Numbers, systems: Sequence[str | None]) -> tuple[np.ndarray, np.ndarray]:
    """Means of predicted and of true scores by system; items without a system are left out.

    Returns:
        Two arrays [S], systems in order of their names.
    """
    known = np.array([index for index, system in enumerate(systems) if system is not None], np.int64)
    names, group = np.unique([systems[index] for index in known], return_inverse=True)
    sums = (np.bincount(group, np.asarray(side, np.float64)[known], len(names)) for side in (predicted, true))
    # Rounded, so that means that differ by the order of summing alone are tied.
    a, b = (np.round(one / np.bincount(group, minlength=len(names)), _DIGITS) for one in sums)
    return a, b


def _sides(predicted: Numbers, true: Numbers) -> tuple[np.ndarray, np.ndarray]:
    x, y = np.asarray(predicted, np.float64), np.asarray(true, np.float64)
    if x.shape != y.shape or x.ndim != 1:
        raise ValueError(f"predicted has shape {x.shape}, true {y.shape}; expected two lists of one length")
    return x, y


def _all_but_ktau(x: np.ndarray, y: np.ndarray) -> dict[str, float]:
    found = {"n": len(x), "mse": float(np.mean(np.square(x - y))) if len(x) else math.nan}
    if faults_of_sides(x, y):
        return found | dict.fromkeys(STATISTICS[1:], math.nan)
    a, b = _standardised(x), _standardised(y)
    lcc = float(a @ b / len(x))
    lcc = math.copysign(1.0, lcc) if abs(lcc) > 1 - _ROUNDING else lcc
    rmse = float(y.std() * math.sqrt((1 - lcc**2) * len(x) / (len(x) - 2)))
    return found | {"lcc": lcc, "srcc": spearman(x, y), "ktau": math.nan, "rmse_mapped": rmse}


def _standardised(values: np.ndarray) -> np.ndarray:
    return (values - values.mean()) / values.std()


def _from_moments(
    n: np.ndarray, a: np.ndarray, b: np.ndarray, aa: np.ndarray, bb: np.ndarray, ab: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """LCC and mapped RMSE of resamples, [R] each, from their sums; NaN where a side is constant."""
    in_a, in_b, both = aa - a * a / n, bb - b * b / n, ab - a * b / n
    defined = (n > _FEW - 1) & (np.minimum(in_a, in_b) > _ROUNDING * n)
    in_a, in_b, freedom = (np.where(defined, side, 1.0) for side in (in_a, in_b, n - 2))
    lcc = np.clip(both / np.sqrt(in_a * in_b), -1, 1)
    rmse = np.sqrt((1 - lcc**2) * in_b / freedom)
    return np.where(defined, lcc, np.nan), np.where(defined, rmse, np.nan)
