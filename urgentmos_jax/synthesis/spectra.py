"""Short-time spectra and back, for enhancement and vocoders."""

import numpy as np
from scipy.fft import irfft, rfft


def short_time_spectra(waveform: np.ndarray, window: np.ndarray, hop: int) -> np.ndarray:
    """Windows [T] every `hop` samples and transforms it: [frames, bins], the first frame ending with sample `hop`."""
    size = len(window)
    frames = -(-len(waveform) // hop) + size // hop
    padded = np.zeros((frames - 1) * hop + size, waveform.dtype)
    padded[size - hop :][: len(waveform)] = waveform
    return rfft(np.lib.stride_tricks.sliding_window_view(padded, size)[::hop] * window.astype(waveform.dtype))


def overlap_add(spectra: np.ndarray, window: np.ndarray, hop: int, samples: int) -> np.ndarray:
    """Inverts `short_time_spectra`: the waveform [samples] nearest to spectra [frames, bins] in squared error.

    D. W. Griffin and J. S. Lim (1984), equation 6; the window's size is a multiple of the hop.
    """
    size = len(window)
    parts = irfft(spectra, size) * window.astype(spectra.real.dtype)
    total = np.zeros((len(parts) + size // hop - 1, hop), parts.dtype)
    weight = np.zeros((len(total), hop), parts.dtype)
    for number in range(size // hop):
        at = slice(number * hop, (number + 1) * hop)
        total[number : number + len(parts)] += parts[:, at]
        weight[number : number + len(parts)] += window[at].astype(parts.dtype) ** 2
    return (total / np.maximum(weight, 1e-8)).reshape(-1)[size - hop :][:samples]
