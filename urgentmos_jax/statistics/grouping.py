"""Which systems can be told apart, corrected for the number of pairs, and letters for those that cannot."""

import numpy as np
from scipy import stats

from urgentmos_jax.statistics.bootstrap import CONFIDENCE

__all__ = ["LEAST_REFERENCES", "letters", "told_apart"]

# With fewer, a system that always wins could be lucky: a sign test of five wins of five has a p of 0.06.
LEAST_REFERENCES = 6
# The variance of a difference is known from few references but roughly: the mean over all pairs counts as so many more.
_PRIOR_REFERENCES = 5
_NOTHING = 1e-9


def told_apart(figures: np.ndarray, drawn: np.ndarray, references: np.ndarray) -> np.ndarray:
    """Pairs of systems whose figures differ, at 95 % for all pairs together.

    Paired: both systems are seen on the same resamples. The bound is the 95 % quantile of the largest studentised
    difference over all pairs, the bootstrap's counterpart of Tukey's range test (single-step max-T of Westfall and
    Young 1993), widened from the normal to Student's distribution for few references. Variances are moderated as
    Smyth (2004, Stat. Appl. Genet. Mol. Biol. 3) does. Holm's correction of single p values needs far more resamples:
    for 50 systems its first bound is 0.05 / 1225, below 1 of 1,000.

    Args:
        figures: [S] of the sample, NaN where there is none.
        drawn: [draws, S] of the resamples.
        references: [S] on how many each figure rests.

    Returns:
        [S, S] bool, symmetric. A pair is never told apart if one of it has fewer than `LEAST_REFERENCES`.
    """
    count = len(figures)
    differences = figures[:, None] - figures
    fewest = np.minimum(references[:, None], references)
    able = (fewest >= LEAST_REFERENCES) & np.isfinite(differences) & ~np.eye(count, dtype=bool)
    if not able.any():
        return able
    variances = np.stack([np.nanvar(drawn[:, [system]] - drawn, axis=0) for system in range(count)])
    weight = _PRIOR_REFERENCES / (fewest + _PRIOR_REFERENCES)
    variances = (1 - weight) * variances + weight * variances[able].mean()
    errors = np.maximum(np.sqrt(variances), _NOTHING)
    largest = np.zeros(len(drawn))
    for system in range(count):
        others = able[system]
        moved = drawn[:, [system]] - drawn[:, others]
        moved = np.abs(moved - np.nanmean(moved, axis=0)) / errors[system, others]
        largest = np.fmax(largest, np.nanmax(moved, axis=1, initial=0))
    freedom = np.maximum(fewest - 1, 1)
    tail = stats.norm.sf(np.quantile(largest, CONFIDENCE))
    bounds = stats.t.isf(tail, freedom) * np.sqrt(1 + 1 / freedom)
    return able & (np.abs(differences) / errors > bounds)


def letters(apart: np.ndarray) -> list[str]:
    """Compact letter display: two systems share a letter exactly where they cannot be told apart.

    By inserting and absorbing (Piepho 2004, J. Comput. Graph. Stat. 13).

    Args:
        apart: [S, S] bool, symmetric; systems in order, best first.

    Returns:
        [S] letters of each, "A" the group of the best; after "Z" come "A2" to "Z2", and so on.
    """
    groups = [(1 << len(apart)) - 1] if len(apart) else []
    for one, other in np.argwhere(np.triu(apart)).tolist():
        both = 1 << one | 1 << other
        hit = [group for group in groups if group & both == both]
        if not hit:
            continue
        groups = [group for group in groups if group & both != both]
        for part in {group & ~(1 << system) for group in hit for system in (one, other)}:
            if not any(part | group == group for group in groups):
                groups = [group for group in groups if group | part != part] + [part]
    members = sorted([n for n in range(len(apart)) if group >> n & 1] for group in groups)
    return ["".join(_letter(place) for place, group in enumerate(members) if n in group) for n in range(len(apart))]


def _letter(place: int) -> str:
    return chr(ord("A") + place % 26) + (str(place // 26 + 1) if place >= 26 else "")
