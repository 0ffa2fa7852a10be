"""Strengths of systems from pairwise comparisons (Bradley and Terry 1952): i beats j with the chance σ(θ_i - θ_j)."""

import numpy as np

_MOST_STEPS = 200
_TOLERANCE = 1e-10


def bradley_terry(wins: np.ndarray, compared: np.ndarray, *, added_ties: float | None = None) -> np.ndarray:
    """Strengths of greatest likelihood, for many tables of wins at once.

    A system that wins all its comparisons would be infinitely strong. So each pair of systems that has met gets some
    ties more, 2/S by default: for two systems the half win on each side of Haldane and Anscombe, for more as many as
    the bias reduction of Firth (1993, Biometrika 80) adds where all are equal. They weigh less the more is compared.

    Newton's method with the damping of Sun and Tran-Dinh (2019, Math. Program. 178), with which it always converges.

    Args:
        wins: [..., S, S] how often the system of the row won over that of the column, a tie half a win for each.
        compared: [S, S] which pairs have met, symmetric; they must join all systems.
        added_ties: For each pair that has met; with 0 strengths may be infinite, which is an error.

    Returns:
        [..., S] strengths, natural logarithm, mean 0.

    Raises:
        ValueError: Strengths are not finite.
    """
    count = wins.shape[-1]
    ties = 2 / count if added_ties is None else added_ties
    wins = wins + ties / 2 * (compared & ~np.eye(count, dtype=bool))
    met = wins + wins.swapaxes(-1, -2)
    won = wins.sum(-1)
    strengths = np.zeros(wins.shape[:-1])
    diagonal = np.arange(count)
    for _ in range(_MOST_STEPS):
        chance = 1 / (1 + np.exp(strengths[..., None, :] - strengths[..., :, None]))
        slope = won - (met * chance).sum(-1)
        information = -met * chance * (1 - chance)
        information[..., diagonal, diagonal] = 0
        information[..., diagonal, diagonal] = -information.sum(-1)
        # The mean is free: the added constant keeps it where it is.
        information += met.sum((-1, -2), keepdims=True) / count**3
        try:
            step = np.linalg.solve(information, slope[..., None])[..., 0]
        except np.linalg.LinAlgError:
            break
        reach = np.ptp(step, axis=-1, keepdims=True)
        strengths += step * np.where(reach > 0, np.log1p(reach) / np.maximum(reach, 1e-300), 1)
        if reach.max(initial=0) < _TOLERANCE:
            return strengths - strengths.mean(-1, keepdims=True)
    raise ValueError("no finite strengths: some system has only won, or only lost, against the rest")
