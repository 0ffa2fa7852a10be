"""Rank correlations of many resamples at once: weights in place of copies, orders fixed once."""

from collections.abc import Callable

import numpy as np

# [R, C] counts of clusters in resamples -> [R] statistics.
OfCounts = Callable[[np.ndarray], np.ndarray]

# A resample is computed exactly up to so many clusters and items, and to first order beyond.
_EXACT_CLUSTERS, _EXACT_ITEMS = 1000, 5000
# Elements of one piece of a matrix of items by items.
_PIECE = 1_000_000


class Ranks:
    """Mean ranks of values under weights, in linear time.

    Args:
        values: [N], finite.
    """

    def __init__(self, values: np.ndarray):
        self._order = np.argsort(values, kind="stable")
        ordered = values[self._order]
        new = np.concatenate([[True], ordered[1:] != ordered[:-1]])
        self._starts = np.flatnonzero(new)
        self._group = np.empty(len(values), np.int64)
        self._group[self._order] = np.cumsum(new) - 1

    def centred(self, weights: np.ndarray) -> np.ndarray:
        """Ranks less their mean, where an item of weight 3 stands for three tied items.

        For weights [..., N] as many: half of (weight of all lower items - weight of all higher items).
        """
        groups = self._sums(weights)
        below = np.cumsum(groups, axis=-1)
        return (below - groups / 2 - below[..., -1:] / 2)[..., self._group]

    def different(self, weights: np.ndarray) -> np.ndarray:
        """Weight of all items with another value, [..., N] for [..., N]."""
        groups = self._sums(weights)
        return (groups.sum(-1, keepdims=True) - groups)[..., self._group]

    def _sums(self, weights: np.ndarray) -> np.ndarray:
        ordered = weights[..., self._order]
        return ordered if len(self._starts) == len(self._order) else np.add.reduceat(ordered, self._starts, axis=-1)


def spearman(x: np.ndarray, y: np.ndarray) -> float:
    """Spearman's rank correlation of [N] and [N]; NaN where a side is constant."""
    return float(_spearman(Ranks(x), Ranks(y), np.ones((1, len(x))))[0])


def spearman_influence(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """[N] derivatives of Spearman's correlation by the weight of each item, which sum to 0; neither side is constant.

    An item counts by its own ranks and, by being there, moves the ranks of all others.
    """
    ranks, ones = (Ranks(x), Ranks(y)), np.ones(len(x))
    a, b = (side.centred(ones) for side in ranks)
    product, in_x, in_y = a @ b, a @ a, b @ b
    of_product = a * b - ranks[0].centred(b) - ranks[1].centred(a)
    of_scale = (a * a - 2 * ranks[0].centred(a)) / in_x + (b * b - 2 * ranks[1].centred(b)) / in_y
    return (of_product - product / 2 * of_scale) / np.sqrt(in_x * in_y)


def kendall(x: np.ndarray, y: np.ndarray) -> float:
    """Kendall's tau-b of [N] and [N], in O(N log² N); NaN where a side is constant."""
    in_x, in_y = (Ranks(side).different(np.ones(len(x))).sum() for side in (x, y))
    return float(concordance(x, y).sum() / np.sqrt(in_x * in_y)) if in_x and in_y else float("nan")


def concordance(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """[N] concordant less discordant partners of each item, in O(N log² N) and vectorised; tied ones count 0.

    Their sum is twice the numerator of Kendall's tau.
    """
    return _below(x, y) + _below(-x, -y) - _below(x, -y) - _below(-x, y)


def resampled_spearman(x: np.ndarray, y: np.ndarray, cluster: np.ndarray) -> OfCounts:
    """Spearman's correlation of resampled clusters: [R] of counts [R, C], NaN where a side is constant.

    Exact for up to 1,000 clusters and 5,000 items; beyond, the first-order (Hoeffding) projection: the correlation plus
    the mean influence of the sampled items, whose error is small beside the width of the interval.

    Neither x [N] nor y [N] is constant; `cluster` [N] is the number of each item's, each from 0 on at least once.
    """
    ranks = Ranks(x), Ranks(y)
    if _is_exact(cluster):
        return lambda counts: _spearman(*ranks, counts[:, cluster])
    return _first_order(spearman(x, y), spearman_influence(x, y), cluster)


def resampled_kendall(x: np.ndarray, y: np.ndarray, cluster: np.ndarray) -> OfCounts:
    """Kendall's tau-b of resampled clusters; exact as far as `resampled_spearman` is."""
    if _is_exact(cluster):
        tables = _concordance_of_clusters(x, y, cluster)
        return lambda counts: _ratio(*(np.einsum("du,du->d", counts @ table, counts) for table in tables))
    ones = np.ones(len(x))
    both, in_x, in_y = concordance(x, y).astype(np.float64), Ranks(x).different(ones), Ranks(y).different(ones)
    scale = np.sqrt(in_x.sum() * in_y.sum())
    tau = float(both.sum() / scale)
    influence = 2 * both / scale - tau * (in_x / in_x.sum() + in_y / in_y.sum())
    return _first_order(tau, influence, cluster)


def _is_exact(cluster: np.ndarray) -> bool:
    return len(cluster) <= _EXACT_ITEMS and cluster.max() < _EXACT_CLUSTERS


def _first_order(value: float, influence: np.ndarray, cluster: np.ndarray) -> OfCounts:
    """A statistic that moves by the mean influence of the sampled items; influences [N] are derivatives by weight."""
    sums = np.stack([np.bincount(cluster, influence), np.bincount(cluster)], axis=1)

    def of_counts(counts: np.ndarray) -> np.ndarray:
        moves, items = (counts @ sums).T
        return value + len(cluster) * np.divide(moves, items, out=np.full(len(items), np.nan), where=items > 0)

    return of_counts


def _ratio(product: np.ndarray, in_x: np.ndarray, in_y: np.ndarray) -> np.ndarray:
    scale = np.sqrt(in_x * in_y)
    return np.divide(product, scale, out=np.full(len(scale), np.nan), where=scale > 0)


def _spearman(x: Ranks, y: Ranks, weights: np.ndarray) -> np.ndarray:
    a, b = x.centred(weights), y.centred(weights)
    weighted = a * weights
    sides = (weighted, b), (weighted, a), (b * weights, b)
    return _ratio(*(np.einsum("dn,dn->d", one, other) for one, other in sides))


def _below(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """[N] how many items are smaller in both."""
    # Tied in x: the greater y comes first, so that the earlier and smaller are smaller in both.
    order = np.lexsort((-y, x))
    ranks = np.unique(y[order], return_inverse=True)[1].astype(np.int64)
    index, by_rank = np.arange(len(x)), np.argsort(ranks, kind="stable")
    counts = np.zeros(len(x), np.int64)
    for level in range(max(1, len(x) - 1).bit_length()):
        # Blocks of 2 << level items: each item of the right half counts the smaller ones of the left half.
        block, right = index >> (level + 1), (index >> level) & 1
        key = (block * (len(x) + 1) + ranks) * 2 + (1 - right)
        inner = by_rank[np.argsort(key[by_rank], kind="stable")]
        smaller = np.cumsum(1 - right[inner]) - (block[inner] << level)
        counts[inner] += np.where(right[inner] == 1, smaller, 0)
    found = np.empty(len(x), np.int64)
    found[order] = counts
    return found


def _concordance_of_clusters(x: np.ndarray, y: np.ndarray, cluster: np.ndarray) -> np.ndarray:
    """[3, C, C] sums over the items of two clusters: concordant less discordant, unlike in x, unlike in y."""
    order = np.argsort(cluster, kind="stable")
    x, y, cluster = x[order], y[order], cluster[order]
    starts = np.flatnonzero(np.diff(cluster, prepend=-1))
    tables = np.zeros((3, len(starts), len(starts)))
    most = max(1, _PIECE // len(x))
    for start in range(0, len(x), most):
        rows = slice(start, start + most)
        signs_x, signs_y = np.sign(x[rows, None] - x), np.sign(y[rows, None] - y)
        for table, signs in zip(tables, (signs_x * signs_y, signs_x**2, signs_y**2), strict=True):
            np.add.at(table, cluster[rows], np.add.reduceat(signs, starts, axis=1))
    return tables
