"""Predictors of opinion that hear the recording alone, by the packages of their authors, or those that follow them.

Each is a function of a waveform [T] float32 at 16 kHz and gives {metric: value}, several at once where its network
does; a metric without a value is missing. The package's rules for level, length and windows hold. What is loaded stays
in the process.
"""

import contextlib
import os
import tempfile
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import soundfile

from urgentmos_jax.audio.loading import SAMPLE_RATE_HZ
from urgentmos_jax.labels import torch_networks
from urgentmos_jax.labels.packages import import_package, installed, loaded_once, same_random_numbers

Predictor = Callable[[np.ndarray], dict[str, float]]
PREDICTORS: dict[str, Predictor] = {}
PACKAGES: dict[str, tuple[str, ...]] = {}

_WITHOUT = {"plcmos": "80 ms or less", "nisqa_mos": "under 0.14 s or over 52 s"}
_PLCMOS_MIN_SAMPLES = 1281  # Fewer leave its convolutions no frame.


def available() -> tuple[str, ...]:
    """Returns the names of the metrics that can be predicted with the packages installed here."""
    return tuple(name for name in PREDICTORS if installed(PACKAGES[name]))


def predict(waveform: np.ndarray, metrics: Iterable[str]) -> dict[str, float]:
    """Predicts metrics, names of `PREDICTORS`, and those that come with them.

    Args:
        waveform: [T] float, 16 kHz, finite. Silence has no values.
        metrics: Names.

    Raises:
        ModuleNotFoundError: A metric's package is not installed.
        WeightsMissing: Its weights cannot be loaded.
    """
    waveform = np.asarray(waveform, np.float32)
    values: dict[str, float] = {}
    if np.any(waveform):
        for predictor in dict.fromkeys(PREDICTORS[name] for name in metrics):
            values |= predictor(waveform)
    return values


def why_without(name: str, waveform: np.ndarray) -> str:
    """Why `predict` gives no value of a metric."""
    if not np.any(waveform):
        return "the clip is silent"
    return _WITHOUT.get(name, "no finite value")


def _predicts(*metrics: str, packages: tuple[str, ...]) -> Callable[[Predictor], Predictor]:
    """Registers a predictor of metrics, and the packages that it needs."""

    def register(function: Predictor) -> Predictor:
        PREDICTORS.update(dict.fromkeys(metrics, function))
        PACKAGES.update(dict.fromkeys(metrics, packages))
        return function

    return register


@_predicts(
    "dnsmos_ovrl",
    "dnsmos_sig",
    "dnsmos_bak",
    "dnsmos_p808",
    packages=("speechmos", "onnxruntime", "librosa", "requests"),
)
def dnsmos(waveform: np.ndarray) -> dict[str, float]:
    """DNSMOS P.835 (Reddy et al. 2022) and P.808 (Reddy et al. 2021), by speechmos; about 1 to 5.

    Means over windows of 9.01 s every second; a shorter clip is doubled until it fills one.
    """
    with _as_speechmos_takes_it(waveform) as sample:
        found = _dnsmos()(sample, SAMPLE_RATE_HZ, False)
    return {f"dnsmos_{name}": float(found[f"{name}_mos"]) for name in ("ovrl", "sig", "bak", "p808")}


@_predicts("plcmos", packages=("speechmos", "onnxruntime", "librosa"))
def plcmos(waveform: np.ndarray) -> dict[str, float]:
    """PLCMOS v2 (Diener et al. 2023), quality after packet loss concealment, by speechmos; about 1 to 5.

    The mean over 15 listeners, drawn by chance and the same for each clip. None of 80 ms or less.
    """
    if len(waveform) < _PLCMOS_MIN_SAMPLES:
        return {}
    with _as_speechmos_takes_it(waveform) as sample, same_random_numbers():
        return {"plcmos": float(_plcmos()(sample)["plcmos"])}


_predicts("utmos", packages=("torch", "utmos_pytorch"))(torch_networks.utmos)
_predicts("scoreq", packages=("torch", "scoreq_pytorch"))(torch_networks.scoreq)
_predicts("nisqa_mos", packages=("torch", "torchmetrics", "librosa", "requests"))(torch_networks.nisqa_mos)


@loaded_once("DNSMOS of the package speechmos")
def _dnsmos() -> Any:
    package = import_package("speechmos.dnsmos")
    folder = Path(str(package.__file__)).parent / "dnsmos_models"
    primary, p808 = folder / "sig_bak_ovr.onnx", folder / "model_v8.onnx"
    predictor = package.DNSMOS(str(primary), str(p808))
    predictor.onnx_sess, predictor.p808_onnx_sess = _session(primary), _session(p808)
    return predictor


@loaded_once("PLCMOS of the package speechmos")
def _plcmos() -> Any:
    predictor = import_package("speechmos.plcmos").PLCMOS()
    predictor.session = _session(predictor.model_path)
    return predictor


def _session(path: str | Path) -> Any:
    """A session of one thread, since clips are shared out among processes."""
    onnxruntime = import_package("onnxruntime")
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    return onnxruntime.InferenceSession(str(path), options)


@contextlib.contextmanager
def _as_speechmos_takes_it(waveform: np.ndarray) -> Iterator[np.ndarray | str]:
    """An array; beyond [-1, 1], which speechmos refuses in arrays and takes in files, a file of the same samples."""
    if np.abs(waveform).max() <= 1:
        yield waveform
        return
    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, "clip.wav")
        soundfile.write(path, waveform, SAMPLE_RATE_HZ, subtype="FLOAT")
        yield path
