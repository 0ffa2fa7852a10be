"""Which systems differ significantly, corrected for the number of pairs, and the compact letter display."""

import numpy as np
from scipy import stats

from urgentmos_jax.statistics.bootstrap import CONFIDENCE

# With fewer, a system that always wins could be lucky: a sign test of five wins of five has a p of 0.06.
MIN_REFERENCES = 6
# The variance of a difference is known from few references but roughly: the mean over all pairs counts as so many more.
_PRIOR_REFERENCES = 5
_NOTHING = 1e-9


def significantly_different(values: np.ndarray, resampled: np.ndarray, references: np.ndarray) -> np.ndarray:
    """Pairs of systems whose values of a statistic differ, at 95 % for all pairs together.

    Paired: both systems are seen on the same resamples. The bound is the 95 % quantile of the largest studentised
    difference over all pairs, the bootstrap's counterpart of Tukey's range test (single-step max-T of Westfall and
    Young 1993), widened from the normal to Student's distribution for few references. Variances are moderated as
    Smyth (2004, Stat. Appl. Genet. Mol. Biol. 3) does. Holm's correction of single p values needs far more resamples:
    for 50 systems its first bound is 0.05 / 1225, below 1 of 1,000.

    Args:
        values, resampled: [S] of the sample, NaN where there is none, and [R, S] on the resamples.
        references: [S] on how many each value rests.

    Returns:
        [S, S] bool, symmetric. No pair differs of which one has fewer than `MIN_REFERENCES`.
    """
    count = len(values)
    differences = values[:, None] - values
    fewest = np.minimum(references[:, None], references)
    able = (fewest >= MIN_REFERENCES) & np.isfinite(differences) & ~np.eye(count, dtype=bool)
    if not able.any():
        return able
    variances = np.stack([np.nanvar(resampled[:, [system]] - resampled, axis=0) for system in range(count)])
    weight = _PRIOR_REFERENCES / (fewest + _PRIOR_REFERENCES)
    variances = (1 - weight) * variances + weight * variances[able].mean()
    errors = np.maximum(np.sqrt(variances), _NOTHING)
    largest = np.zeros(len(resampled))
    for system in range(count):
        others = able[system]
        moved = resampled[:, [system]] - resampled[:, others]
        moved = np.abs(moved - np.nanmean(moved, axis=0)) / errors[system, others]
        largest = np.fmax(largest, np.nanmax(moved, axis=1, initial=0))
    freedom = np.maximum(fewest - 1, 1)
    tail = stats.norm.sf(np.quantile(largest, CONFIDENCE))
    bounds = stats.t.isf(tail, freedom) * np.sqrt(1 + 1 / freedom)
    return able & (np.abs(differences) / errors > bounds)


def compact_letters(different: np.ndarray) -> list[str]:
    """Compact letter display: two systems share a letter exactly where they do not differ significantly.

    By inserting and absorbing (Piepho 2004, J. Comput. Graph. Stat. 13).

    Args:
        different: [S, S] bool, symmetric; systems in order, best first.

    Returns:
        [S] letters of each, "A" the group of the best; after "Z" come "A2" to "Z2", and so on.
    """
    groups = [(1 << len(different)) - 1] if len(different) else []
    for one, other in np.argwhere(np.triu(different)).tolist():
        both = 1 << one | 1 << other
        hit = [group for group in groups if group & both == both]
        if not hit:
            continue
        groups = [group for group in groups if group & both != both]
        for part in {group & ~(1 << system) for group in hit for system in (one, other)}:
            if not any(part | group == group for group in groups):
                groups = [group for group in groups if group | part != part] + [part]
    members = sorted([n for n in range(len(different)) if group >> n & 1] for group in groups)
    return ["".join(_letter(index) for index, group in enumerate(members) if n in group) for n in range(len(different))]


def _letter(index: int) -> str:
    return chr(ord("A") + index % 26) + (str(index // 26 + 1) if index >= 26 else "")
