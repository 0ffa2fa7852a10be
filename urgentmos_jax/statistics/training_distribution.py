"""How unlike the clips that a model was trained on a recording is: a Mahalanobis distance (arXiv 1807.03888, eq. 2)."""

import hashlib
from dataclasses import dataclass

import numpy as np

# Of the covariance, what goes to its diagonal: few clips say little of directions in which they hardly differ.
_SHRINKAGE = 0.05
# Of held-out clips, how many lie within the distance 1.
_WITHIN = 0.99


@dataclass(frozen=True)
class TrainingDistribution:
    """Mean and covariance of the features of training clips.

    Attributes:
        mean: [D].
        whitening: [D, D]; of the difference to the mean it makes a vector whose length is the distance.
    """

    mean: np.ndarray
    whitening: np.ndarray

    def __post_init__(self) -> None:
        """Raises ValueError where the shapes do not fit, or a number is not finite."""
        if self.mean.ndim != 1 or self.whitening.shape != 2 * self.mean.shape:
            raise ValueError(f"mean is {self.mean.shape} and whitening {self.whitening.shape}, expected [D] and [D, D]")
        if not (np.isfinite(self.mean).all() and np.isfinite(self.whitening).all()):
            raise ValueError("a number is not finite")

    @property
    def digest(self) -> str:
        """The first twelve digits of a SHA-256 of its numbers."""
        return hashlib.sha256(self.mean.tobytes() + self.whitening.tobytes()).hexdigest()[:12]

    def distance(self, features: np.ndarray) -> np.ndarray:
        """[...] of features [..., D]; over 1: farther away than 99 % of the clips of its kind that it was fitted by."""
        difference = np.asarray(features, np.float64) - self.mean
        return np.sqrt(np.square(difference @ self.whitening.T).sum(-1))


def fit(features: np.ndarray, held_out: np.ndarray) -> TrainingDistribution:
    """Fits the distribution, and sets its unit by clips that it has not met.

    Args:
        features: [N, D] of training clips.
        held_out: [M, D] of clips of the same kind.

    Raises:
        ValueError: There are fewer than two clips of either, or all are equal.
    """
    if min(len(features), len(held_out)) < 2:
        raise ValueError(f"{len(features)} clips to fit to and {len(held_out)} held out, expected two or more of each")
    features = np.asarray(features, np.float64)
    mean, covariance = features.mean(0), np.atleast_2d(np.cov(features.T))
    variance = np.trace(covariance) / len(mean)
    if not variance > 0:
        raise ValueError("all training clips have the same features")
    shrunk = (1 - _SHRINKAGE) * covariance + _SHRINKAGE * variance * np.eye(len(mean))
    whitening = np.linalg.inv(np.linalg.cholesky(shrunk))
    unit = np.quantile(TrainingDistribution(mean, whitening).distance(held_out), _WITHIN)
    return TrainingDistribution(mean.astype(np.float32), (whitening / unit).astype(np.float32))
