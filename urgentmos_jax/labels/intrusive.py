"""Objective metrics of speech against a clean reference, aligned with it, at 16 kHz."""

import importlib.util
import threading
import warnings
from collections.abc import Callable, Iterable
from types import ModuleType

import numpy as np

from urgentmos_jax.audio import SAMPLE_RATE_HZ

SI_SDR_RANGE_DB = (-30.0, 50.0)

_EPS = 1e-8
_WINDOW_SAMPLES = round(0.032 * SAMPLE_RATE_HZ)
_HOP_SAMPLES = round(0.016 * SAMPLE_RATE_HZ)
_MAX_EXCESS_SAMPLES = SAMPLE_RATE_HZ // 100
_GLOBAL_RANDOM = threading.Lock()


def available() -> tuple[str, ...]:
    """Returns the names of the metrics that can be computed with the packages installed here."""
    return tuple(name for name in METRICS if _package(name) is None or importlib.util.find_spec(_package(name)))


def measure(degraded: np.ndarray, reference: np.ndarray, metrics: Iterable[str]) -> dict[str, float]:
    """Computes metrics of a degraded waveform.

    Args:
        degraded: [T] float, 16 kHz.
        reference: [T] float, 16 kHz: the same speech, clean and aligned. Of two lengths up to 10 ms apart the
            excess is left out.
        metrics: Names, of `METRICS`.

    Returns:
        Name -> value. A metric that has no value for this clip (too little speech, silence) is missing.

    Raises:
        ValueError: Unknown metric, not one axis, NaN or infinity, or lengths more than 10 ms apart.
        ModuleNotFoundError: A metric's package is not installed.
    """
    metrics = tuple(metrics)
    if unknown := sorted(set(metrics) - set(METRICS)):
        raise ValueError(f"no metric {', '.join(unknown)}; there are {', '.join(METRICS)}")
    sides = {"degraded": degraded, "reference": reference}
    for side, waveform in sides.items():
        sides[side] = np.asarray(waveform, np.float64)
        if sides[side].ndim != 1:
            raise ValueError(f"{side}: its shape is {sides[side].shape}; give [T]")
        if not np.isfinite(sides[side]).all():
            raise ValueError(f"{side}: it holds NaN or infinity; make it again")
    lengths = [len(waveform) for waveform in sides.values()]
    if max(lengths) - min(lengths) > _MAX_EXCESS_SAMPLES:
        text = f"degraded has {lengths[0]} samples, its reference {lengths[1]}; align them first"
        raise ValueError(f"{text} (up to {_MAX_EXCESS_SAMPLES} samples of difference are cut off)")
    degraded, reference = (waveform[: min(lengths)] for waveform in sides.values())
    values = {name: METRICS[name](degraded, reference) for name in metrics}
    return {name: value for name, value in values.items() if value is not None}


def estoi(degraded: np.ndarray, reference: np.ndarray) -> float | None:
    """Extended short-time objective intelligibility (Jensen and Taal 2016), by pystoi; about 0 to 1.

    Args:
        degraded: [T] float, 16 kHz.
        reference: [T] float, 16 kHz.

    Returns:
        The value, the same for the same waveforms; None under about 0.4 s of speech.
    """
    return _stoi(degraded, reference, extended=True)


def stoi(degraded: np.ndarray, reference: np.ndarray) -> float | None:
    """Short-time objective intelligibility (Taal et al. 2011), by pystoi; about 0 to 1. Otherwise as `estoi`."""
    return _stoi(degraded, reference, extended=False)


def si_sdr(degraded: np.ndarray, reference: np.ndarray) -> float | None:
    """Scale-invariant signal-to-distortion ratio in dB (Le Roux et al. 2019).

    Clamped to `SI_SDR_RANGE_DB`, since it is infinite for a scaled copy of the reference.

    Args:
        degraded: [T] float.
        reference: [T] float.

    Returns:
        The value; None if one side is silent.
    """
    degraded, reference = np.asarray(degraded, np.float64), np.asarray(reference, np.float64)
    if not degraded.any() or not reference.any():
        return None
    target = reference * (np.sum(degraded * reference) / np.sum(reference**2))
    powers = np.sum(target**2), np.sum((degraded - target) ** 2)
    least, most = SI_SDR_RANGE_DB
    if powers[1] <= powers[0] * 10 ** (-most / 10):
        return most
    return float(10 * np.log10(max(powers[0] / powers[1], 10 ** (least / 10))))


def lsd(degraded: np.ndarray, reference: np.ndarray) -> float | None:
    """Log-spectral distance as the URGENT challenges define it; 0 or more, low is good.

    The degraded side is scaled to the reference by least squares. Magnitudes |D| and |R| come from Hann windows of
    32 ms every 16 ms, the first centred on sample 0 and zeros beyond the ends. Then ln(|R|^2 / (|D| + 1e-8)^2 + 1e-8),
    its root mean square over frequencies, its mean over frames. Natural logarithm, not dB.

    Args:
        degraded: [T] float, 16 kHz.
        reference: [T] float, 16 kHz.

    Returns:
        The value; None if one side is silent.
    """
    degraded, reference = np.asarray(degraded, np.float64), np.asarray(reference, np.float64)
    if not degraded.any() or not reference.any():
        return None
    scaled = degraded * (np.sum(reference * degraded) / (np.sum(degraded**2) + _EPS))
    log_ratio = np.log(_magnitudes(reference) ** 2 / (_magnitudes(scaled) + _EPS) ** 2 + _EPS)
    return float(np.mean(np.sqrt(np.mean(log_ratio**2, axis=1))))


def pesq(degraded: np.ndarray, reference: np.ndarray) -> float | None:
    """Wide-band PESQ (ITU-T P.862.2), by the package pesq; 1.04 to 4.64.

    Args:
        degraded: [T] float, 16 kHz.
        reference: [T] float, 16 kHz.

    Returns:
        The value; None if PESQ finds no utterance, one side is silent, or the clip is under 0.25 s.
    """
    package = _import("pesq")
    if not np.any(degraded) or not np.any(reference):
        return None
    try:
        return float(package.pesq(SAMPLE_RATE_HZ, reference, degraded, "wb"))
    except (package.NoUtterancesError, package.BufferTooShortError):
        return None


METRICS: dict[str, Callable[[np.ndarray, np.ndarray], float | None]] = {
    metric.__name__: metric for metric in (estoi, stoi, si_sdr, lsd, pesq)
}


def _package(metric: str) -> str | None:
    return {"estoi": "pystoi", "stoi": "pystoi", "pesq": "pesq"}.get(metric)


def _import(package: str) -> ModuleType:
    try:
        return importlib.import_module(package)
    except ModuleNotFoundError as error:
        text = f'{package} is missing: pip install "urgentmos_jax[labels]", or leave its metrics out'
        raise ModuleNotFoundError(text, name=package) from error


def _stoi(degraded: np.ndarray, reference: np.ndarray, *, extended: bool) -> float | None:
    package = _import("pystoi")
    # pystoi draws from numpy's global generator; the caller's numbers go on as if it had not.
    with _GLOBAL_RANDOM, warnings.catch_warnings():
        warnings.simplefilter("error", RuntimeWarning)  # That there is too little speech for a value.
        state = np.random.get_state()
        np.random.seed(0)
        try:
            return float(package.stoi(reference, degraded, SAMPLE_RATE_HZ, extended=extended))
        except RuntimeWarning:
            return None
        finally:
            np.random.set_state(state)


def _magnitudes(waveform: np.ndarray) -> np.ndarray:
    """Returns magnitudes [frames, frequencies] of centred Hann windows."""
    padded = np.pad(waveform, _WINDOW_SAMPLES // 2)
    frames = np.lib.stride_tricks.sliding_window_view(padded, _WINDOW_SAMPLES)[::_HOP_SAMPLES]
    return np.abs(np.fft.rfft(frames * np.hanning(_WINDOW_SAMPLES + 1)[:-1]))
