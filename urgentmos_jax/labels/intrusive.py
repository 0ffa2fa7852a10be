"""Objective metrics of speech against a clean reference.

Each is a function of two waveforms [T] float at 16 kHz, the degraded one and its reference, aligned with it, and gives
None where the clip has no value, as where one of them is silent.

SDR, LSD, MCD, PESQ and ESTOI are those of the URGENT challenges (urgent-challenge/urgent2025_challenge on GitHub,
`evaluation_metrics`), but that they compute SDR, LSD and MCD at the recording's own rate.
"""

import functools
import math
import warnings
from collections.abc import Callable, Iterable

import numpy as np
import soxr

from urgentmos_jax.audio.loading import RESAMPLER, SAMPLE_RATE_HZ
from urgentmos_jax.labels import torch_networks
from urgentmos_jax.labels.alignment import same_length
from urgentmos_jax.labels.packages import import_package, installed, same_random_numbers

NARROW_BAND_HZ = 8000
SI_SDR_RANGE_DB = (-30.0, 50.0)

_EPS = 1e-8
_WINDOW_SAMPLES = round(0.032 * SAMPLE_RATE_HZ)
_HOP_SAMPLES = round(0.016 * SAMPLE_RATE_HZ)
_SDR_CLAMP_DB = 50.0
_MCEP_WINDOW_SAMPLES, _MCEP_HOP_SAMPLES = 1024, 256
_MCEP_ORDER, _MCEP_ALPHA = 23, 0.42  # SPTK's for 16 kHz.
_WITHOUT = {
    "estoi": "under about 0.4 s of speech",
    "stoi": "under about 0.4 s of speech",
    "mcd": "shorter than a window of 64 ms",
    "pesq": "no utterance found, or under 0.25 s",
    "pesqc2": "no utterance found, or under 0.25 s",
    "lps": "no phone is heard in the reference",
}

Metric = Callable[[np.ndarray, np.ndarray], float | None]
METRICS: dict[str, Metric] = {}
PACKAGES: dict[str, tuple[str, ...]] = {}


def available() -> tuple[str, ...]:
    """Returns the names of the metrics that can be computed with the packages installed here."""
    return tuple(name for name in METRICS if installed(PACKAGES[name]))


def measure(
    degraded: np.ndarray, reference: np.ndarray, metrics: Iterable[str], *, narrow_band: bool = False
) -> dict[str, float]:
    """Computes metrics, names of `METRICS`; one that has no value for this clip is missing.

    Args:
        degraded, reference: [T] float, 16 kHz, aligned. Of two lengths up to 20 ms apart the excess is left out.
        metrics: Names.
        narrow_band: Whether PESQ is that of telephone bandwidth, at 8 kHz. The other metrics are the same.

    Raises:
        NotAligned: Lengths more than 20 ms apart.
        ValueError: Unknown metric, not one axis, NaN or infinity.
        ModuleNotFoundError: A metric's package is not installed.
    """
    metrics = tuple(metrics)
    if unknown := sorted(set(metrics) - set(METRICS)):
        raise ValueError(f"no metric {', '.join(unknown)}; there are {', '.join(METRICS)}")
    degraded, reference = np.asarray(degraded, np.float64), np.asarray(reference, np.float64)
    for side, waveform in (("degraded", degraded), ("reference", reference)):
        if waveform.ndim != 1:
            raise ValueError(f"{side}: its shape is {waveform.shape}; give [T]")
        if not np.isfinite(waveform).all():
            raise ValueError(f"{side}: it holds NaN or infinity; make it again")
    degraded, reference = same_length(degraded, reference)
    functions: dict[str, Metric] = {**METRICS, **_NARROW_BAND} if narrow_band else METRICS
    values = {name: functions[name](degraded, reference) for name in metrics}
    return {name: value for name, value in values.items() if value is not None}


def why_without(name: str, degraded: np.ndarray, reference: np.ndarray) -> str:
    """Why `measure` gives no value of a metric."""
    for side, waveform in (("the clip", degraded), ("its reference", reference)):
        if not np.any(waveform):
            return f"{side} is silent"
    return _WITHOUT.get(name, "no finite value")


def _metric(*packages: str) -> Callable[[Metric], Metric]:
    """Registers a metric and the packages that it needs."""

    def register(function: Metric) -> Metric:
        @functools.wraps(function)
        def metric(degraded: np.ndarray, reference: np.ndarray) -> float | None:
            # Silence has neither distortion nor intelligibility, whatever a formula gives.
            return function(degraded, reference) if np.any(degraded) and np.any(reference) else None

        METRICS[function.__name__], PACKAGES[function.__name__] = metric, packages
        return metric

    return register


@_metric("pystoi")
def estoi(degraded: np.ndarray, reference: np.ndarray) -> float | None:
    """Extended short-time objective intelligibility (Jensen and Taal 2016), by pystoi; about 0 to 1.

    The same for the same waveforms; none under about 0.4 s of speech.
    """
    return _stoi(degraded, reference, extended=True)


@_metric("pystoi")
def stoi(degraded: np.ndarray, reference: np.ndarray) -> float | None:
    """Short-time objective intelligibility (Taal et al. 2011), by pystoi; about 0 to 1. Otherwise as `estoi`."""
    return _stoi(degraded, reference, extended=False)


@_metric()
def si_sdr(degraded: np.ndarray, reference: np.ndarray) -> float | None:
    """Scale-invariant signal-to-distortion ratio in dB (Le Roux et al. 2019).

    Clamped to `SI_SDR_RANGE_DB`, since it is infinite for a scaled copy of the reference.
    """
    degraded, reference = np.asarray(degraded, np.float64), np.asarray(reference, np.float64)
    target = reference * (np.sum(degraded * reference) / np.sum(reference**2))
    powers = np.sum(target**2), np.sum((degraded - target) ** 2)
    minimum, maximum = SI_SDR_RANGE_DB
    if powers[1] <= powers[0] * 10 ** (-maximum / 10):
        return maximum
    return float(10 * np.log10(max(powers[0] / powers[1], 10 ** (minimum / 10))))


@_metric("fast_bss_eval")
def sdr(degraded: np.ndarray, reference: np.ndarray) -> float | None:
    """Signal-to-distortion ratio in dB (Vincent et al. 2006), by fast_bss_eval (Scheibler 2022); -50 to 50.

    What a filter of 512 taps can make of the reference counts as signal.
    """
    package = import_package("fast_bss_eval")
    degraded, reference = np.asarray(degraded, np.float64), np.asarray(reference, np.float64)
    # With a channel axis as well, its linear system does not fit NumPy 2.
    return -float(package.sdr_loss(degraded, reference, clamp_db=_SDR_CLAMP_DB))


@_metric()
def lsd(degraded: np.ndarray, reference: np.ndarray) -> float | None:
    """Log-spectral distance as the URGENT challenges define it; 0 or more, low is good.

    The degraded side is scaled to the reference by least squares. Magnitudes |D| and |R| come from Hann windows of
    32 ms every 16 ms, the first centred on sample 0 and zeros beyond the ends. Then ln(|R|^2 / (|D| + 1e-8)^2 + 1e-8),
    its root mean square over frequencies, its mean over frames. Natural logarithm, not dB.
    """
    degraded, reference = np.asarray(degraded, np.float64), np.asarray(reference, np.float64)
    scaled = _magnitudes(_scaled(degraded, reference))
    log_ratio = np.log(_magnitudes(reference) ** 2 / (scaled + _EPS) ** 2 + _EPS)
    return float(np.mean(np.sqrt(np.mean(log_ratio**2, axis=1))))


@_metric("pysptk", "fastdtw")
def mcd(degraded: np.ndarray, reference: np.ndarray) -> float | None:
    """Mel-cepstral distortion in dB (Kubichek 1993), by pysptk and fastdtw; 0 or more, low is good.

    The degraded side is scaled to the reference by least squares. Mel-cepstra of order 23 come from Hamming windows of
    64 ms and unit energy, every 16 ms, without padding. Frames are paired by dynamic time warping; the value is the
    mean over the pairs of 10 / ln(10) sqrt(2 sum of squared differences), coefficient 0 included. None for a clip
    shorter than a window.
    """
    package, fastdtw = import_package("pysptk"), import_package("fastdtw").fastdtw
    degraded, reference = np.asarray(degraded, np.float64), np.asarray(reference, np.float64)
    if len(reference) < _MCEP_WINDOW_SAMPLES:
        return None
    cepstra = []
    for waveform in (_scaled(degraded, reference), reference):
        frames = np.lib.stride_tricks.sliding_window_view(waveform, _MCEP_WINDOW_SAMPLES)[::_MCEP_HOP_SAMPLES]
        windowed = frames * package.sptk.hamming(_MCEP_WINDOW_SAMPLES)
        cepstra.append(package.mcep(windowed, _MCEP_ORDER, _MCEP_ALPHA, etype=1, eps=1e-6))
    _, path = fastdtw(*cepstra, dist=_euclidean)
    places = np.array(path).T
    squares = np.sum((cepstra[0][places[0]] - cepstra[1][places[1]]) ** 2, axis=1)
    return float(np.mean(10 / np.log(10) * np.sqrt(2 * squares)))


@_metric("pesq")
def pesq(degraded: np.ndarray, reference: np.ndarray) -> float | None:
    """Wide-band PESQ (ITU-T P.862.2), by the package pesq; 1.04 to 4.64. None without an utterance or under 0.25 s."""
    return _pesq(degraded, reference, SAMPLE_RATE_HZ, "wb", "pesq")


@_metric("pesqc2")
def pesqc2(degraded: np.ndarray, reference: np.ndarray) -> float | None:
    """Wide-band PESQ with corrigendum 2 of P.862 (2018), by the package pesqc2 (Torcoli et al. 2025); as `pesq`."""
    return _pesq(degraded, reference, SAMPLE_RATE_HZ, "wb", "pesqc2")


_metric("torch", "transformers")(torch_networks.sbert)
_metric("torch", "transformers", "Levenshtein")(torch_networks.lps)
_metric("torch", "espnet2", "espnet_model_zoo")(torch_networks.spksim)


def _narrow_band_pesq(degraded: np.ndarray, reference: np.ndarray, package: str) -> float | None:
    """Narrow-band PESQ (ITU-T P.862 and P.862.1) at 8 kHz, of waveforms at 16 kHz; 1.02 to 4.55."""
    quality = RESAMPLER.removeprefix("soxr_").upper()
    degraded, reference = (
        soxr.resample(side, SAMPLE_RATE_HZ, NARROW_BAND_HZ, quality=quality) for side in (degraded, reference)
    )
    return _pesq(degraded, reference, NARROW_BAND_HZ, "nb", package)


_NARROW_BAND: dict[str, Metric] = {
    name: functools.partial(_narrow_band_pesq, package=name) for name in ("pesq", "pesqc2")
}


def _pesq(degraded: np.ndarray, reference: np.ndarray, rate_hz: int, mode: str, name: str) -> float | None:
    package = import_package(name)
    if not np.any(degraded) or not np.any(reference):
        return None
    try:
        return float(package.pesq(rate_hz, reference, degraded, mode))
    except (package.NoUtterancesError, package.BufferTooShortError):
        return None


def _stoi(degraded: np.ndarray, reference: np.ndarray, *, extended: bool) -> float | None:
    package = import_package("pystoi")
    with same_random_numbers(), warnings.catch_warnings():
        warnings.simplefilter("error", RuntimeWarning)  # That there is too little speech for a value.
        try:
            return float(package.stoi(reference, degraded, SAMPLE_RATE_HZ, extended=extended))
        except (RuntimeWarning, np.exceptions.AxisError):  # AxisError: not one frame (400 to 409 samples).
            return None


def _scaled(degraded: np.ndarray, reference: np.ndarray) -> np.ndarray:
    """Returns the degraded side scaled to the reference by least squares."""
    return degraded * (np.sum(reference * degraded) / (np.sum(degraded**2) + _EPS))


def _euclidean(one: np.ndarray, other: np.ndarray) -> float:
    difference = one - other
    return math.sqrt(difference.dot(difference))


def _magnitudes(waveform: np.ndarray) -> np.ndarray:
    """Returns magnitudes [frames, frequencies] of centred Hann windows."""
    padded = np.pad(waveform, _WINDOW_SAMPLES // 2)
    frames = np.lib.stride_tricks.sliding_window_view(padded, _WINDOW_SAMPLES)[::_HOP_SAMPLES]
    return np.abs(np.fft.rfft(frames * np.hanning(_WINDOW_SAMPLES + 1)[:-1]))
