"""Speech made again from features of it: mel spectra, linear prediction, WORLD; see `degradations`.

Times stay, but not the waveform: metrics of it, such as SI-SDR, have no meaning here.
"""

import numpy as np
from scipy.ndimage import median_filter
from scipy.signal import lfilter
from scipy.signal.windows import hann

from urgentmos_jax.audio.loading import SAMPLE_RATE_HZ
from urgentmos_jax.synthesis.degradations import Degradation
from urgentmos_jax.synthesis.spectra import overlap_add, short_time_spectra

_WINDOW, _HOP = hann(1024, sym=False), 256
_ITERATIONS = 30
_MOMENTUM = 0.99
_LPC_WINDOW, _LPC_HOP = hann(480, sym=False), 160
_LPC_ORDER_MARGIN = 1e-9
_PRE_EMPHASIS = 0.9
_PITCH_HZ = (70, 350)
_VOICED_ABOVE = 0.45
_WORLD_FFT = 1024
_WORLD_FRAME_MS = 5.0


def griffin_lim(waveform: np.ndarray, mel_bands: float, rng: np.random.Generator) -> np.ndarray:
    """Keeps the mel spectrum in a number of bands, and finds phases from random ones in 30 iterations.

    The fast Griffin-Lim algorithm (N. Perraudin, P. Balazs and P. L. Søndergaard, 2013); hops of 16 ms.
    """
    bands = _mel_filters(round(mel_bands), _WINDOW.size // 2 + 1).astype(np.float32)
    magnitude = np.abs(short_time_spectra(waveform.astype(np.float32), _WINDOW, _HOP))
    # Back from the bands: each frequency gets the mean of its neighbourhood.
    magnitude = (magnitude @ bands.T) / bands.sum(axis=1) @ (bands / np.maximum(bands.sum(axis=0), 1e-3))
    phases = np.exp(2j * np.pi * rng.random(magnitude.shape)).astype(np.complex64)
    before = np.zeros_like(phases)
    for _ in range(_ITERATIONS):
        result = overlap_add(magnitude * phases, _WINDOW, _HOP, len(waveform))
        consistent = short_time_spectra(result, _WINDOW, _HOP)
        ahead = consistent + _MOMENTUM * (consistent - before)
        phases, before = ahead / np.maximum(np.abs(ahead), 1e-8), consistent
    return overlap_add(magnitude * phases, _WINDOW, _HOP, len(waveform))


def lpc_vocoder(waveform: np.ndarray, order: float, rng: np.random.Generator) -> np.ndarray:
    """Drives linear predictors of an order by pulses where speech is voiced, by noise elsewhere (B. S. Atal, 1971)."""
    emphasised = lfilter([1, -_PRE_EMPHASIS], [1], np.asarray(waveform, np.float64))
    size, hop = len(_LPC_WINDOW), _LPC_HOP
    frames = -(-len(waveform) // hop) + 1
    padded = np.pad(emphasised, (size // 2, frames * hop + size - len(waveform)))
    views = np.lib.stride_tricks.sliding_window_view(padded, size)[::hop][:frames] * _LPC_WINDOW
    correlations = np.fft.irfft(np.abs(np.fft.rfft(views, 2 * size)) ** 2)[:, :size]
    periods = _periods(correlations)
    # Frames of pulses: one a period, of the energy of noise of variance 1.
    excitation = rng.standard_normal(frames * hop)
    position = 0.0
    for frame, period in enumerate(periods):
        if not period:
            position = float((frame + 1) * hop)
            continue
        excitation[frame * hop : (frame + 1) * hop] = 0
        position = max(position, float(frame * hop))
        while position < (frame + 1) * hop:
            excitation[int(position)] = np.sqrt(period)
            position += period
    output, state = np.empty(frames * hop), np.zeros(round(order))
    norm = np.sum(_LPC_WINDOW**2)
    for frame, correlation in enumerate(correlations):
        polynomial, error = _predictor(correlation, round(order))
        # Frames are centred at multiples of the hop.
        at = slice(max(frame * hop - hop // 2, 0), frame * hop + hop // 2)
        output[at], state = lfilter([np.sqrt(error / norm)], polynomial, excitation[at], zi=state)
    output[frames * hop - hop // 2 :] = 0
    return lfilter([1], [1, -_PRE_EMPHASIS], output)[: len(waveform)]


def world_vocoder(waveform: np.ndarray, dimensions: float, rng: np.random.Generator) -> np.ndarray:
    """WORLD (M. Morise, F. Yokomori and K. Ozawa, 2016), the spectral envelope in a number of mel-cepstral dimensions.

    Raises:
        ImportError: pyworld is not installed.
    """
    try:
        import pyworld
    except ImportError as error:
        raise ImportError("the WORLD vocoder needs pyworld; pip install 'urgentmos_jax[release]'") from error
    samples = np.ascontiguousarray(waveform, np.float64)
    coarse, times = pyworld.dio(samples, SAMPLE_RATE_HZ, frame_period=_WORLD_FRAME_MS)
    pitch = pyworld.stonemask(samples, coarse, times, SAMPLE_RATE_HZ)
    envelope = pyworld.cheaptrick(samples, pitch, times, SAMPLE_RATE_HZ, fft_size=_WORLD_FFT)
    aperiodicity = pyworld.d4c(samples, pitch, times, SAMPLE_RATE_HZ, fft_size=_WORLD_FFT)
    coded = pyworld.code_spectral_envelope(envelope, SAMPLE_RATE_HZ, round(dimensions))
    envelope = pyworld.decode_spectral_envelope(coded, SAMPLE_RATE_HZ, _WORLD_FFT)
    result = pyworld.synthesize(pitch, envelope, aperiodicity, SAMPLE_RATE_HZ, _WORLD_FRAME_MS)
    return np.pad(result, (0, len(waveform)))[: len(waveform)]


def _mel_filters(bands: int, bins: int) -> np.ndarray:
    """Triangular filters [bands, bins], mel(f) = 2595 log10(1 + f / 700), from 0 to 8 kHz."""
    top = 2595 * np.log10(1 + SAMPLE_RATE_HZ / 2 / 700)
    edges = 700 * (10 ** (np.linspace(0, top, bands + 2) / 2595) - 1)
    frequencies = np.linspace(0, SAMPLE_RATE_HZ / 2, bins)
    width = SAMPLE_RATE_HZ / 2 / (bins - 1)
    low, middle, high = edges[:-2, None], edges[1:-1, None], edges[2:, None]
    # No filter is so narrow that no bin falls into it.
    rising = (frequencies - np.minimum(low, middle - width)) / np.maximum(middle - low, width)
    falling = (np.maximum(high, middle + width) - frequencies) / np.maximum(high - middle, width)
    return np.maximum(0, np.minimum(rising, falling))


def _periods(correlations: np.ndarray) -> np.ndarray:
    """Pitch periods [frames] in samples from autocorrelations [frames, lags]; 0 where unvoiced."""
    shortest, longest = SAMPLE_RATE_HZ // _PITCH_HZ[1], SAMPLE_RATE_HZ // _PITCH_HZ[0]
    window = np.fft.irfft(np.abs(np.fft.rfft(_LPC_WINDOW, 2 * len(_LPC_WINDOW))) ** 2)
    likeness = correlations[:, :longest] / window[:longest] * window[0]
    likeness = likeness[:, shortest:] / np.maximum(correlations[:, :1], 1e-20)
    found = likeness.argmax(axis=1)
    voiced = likeness[np.arange(len(found)), found] > _VOICED_ABOVE
    periods = median_filter(np.where(voiced, found + shortest, 0), 5)
    return np.where(voiced, periods, 0)


def _predictor(correlation: np.ndarray, order: int) -> tuple[np.ndarray, float]:
    """Levinson-Durbin recursion: the polynomial [order + 1] and the energy of the prediction's error."""
    polynomial = np.zeros(order + 1)
    polynomial[0] = 1
    error = float(correlation[0]) * (1 + _LPC_ORDER_MARGIN) + 1e-12
    for size in range(1, order + 1):
        reflection = -float(polynomial[:size] @ correlation[size:0:-1]) / error
        polynomial[1 : size + 1] += reflection * polynomial[size - 1 :: -1][:size]
        error *= 1 - reflection**2
    return polynomial, error


VOCODERS = (
    Degradation("griffin_lim", "vocoder", griffin_lim, (80, 40, 24, 12), "bands"),
    Degradation("lpc_vocoder", "vocoder", lpc_vocoder, (20, 14, 10, 6), "order"),
    Degradation("world_vocoder", "vocoder", world_vocoder, (60, 24, 12, 6), "dims"),
)
