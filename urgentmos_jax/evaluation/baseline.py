"""What a model has to beat: ridge regression on the mean log-mel spectrum of a clip."""

from collections.abc import Iterable, Sequence
from pathlib import Path

import jax
import numpy as np

from urgentmos_jax.audio.loading import load_audio
from urgentmos_jax.encoders.log_mel import log_mel


def mean_log_mel(paths: Iterable[str | Path], bins: int = 80) -> np.ndarray:
    """Mean log-mel frame of each recording, [N, bins]."""
    spectrum = jax.jit(lambda x: log_mel(x[None], bins)[0])
    found = []
    for path in paths:
        waveform = load_audio(path).waveform
        # Frames of a few lengths only, so that few programs are compiled: whole tenths of a second.
        found.append(np.asarray(spectrum(waveform[: len(waveform) // 1600 * 1600])).mean(0))
    return np.stack(found)


def ridge(features: np.ndarray, labels: Sequence[float], others: np.ndarray, *, strength: float = 1.0) -> np.ndarray:
    """Predictions [M] for `others` [M, F] of a ridge regression fitted to `features` [N, F] and `labels` [N].

    Features are standardised by the mean and deviation of the fitted ones.
    """
    mean, deviation = features.mean(0), features.std(0) + 1e-8
    x, y = (features - mean) / deviation, np.asarray(labels, np.float64)
    weights = np.linalg.solve(x.T @ x + strength * np.eye(x.shape[1]), x.T @ (y - y.mean()))
    return (others - mean) / deviation @ weights + y.mean()
