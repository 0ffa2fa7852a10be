"""Packets lost in bursts, and ways to conceal them; see `degradations`.

Losses follow E. N. Gilbert's model (1960): bursts and gaps of geometric lengths, here with an exact share of lost
packets of 20 ms and a mean burst of 1 to 5 packets.
"""

import numpy as np
from scipy.signal import correlate

from urgentmos_jax.audio.loading import SAMPLE_RATE_HZ
from urgentmos_jax.synthesis.degradations import Degradation

_PACKET_SAMPLES = SAMPLE_RATE_HZ // 50
_MEAN_BURSTS = (1.0, 5.0)
_FADE_PER_PACKET = 0.5
_SHORTEST_PERIOD, _LONGEST_PERIOD = SAMPLE_RATE_HZ // 400, SAMPLE_RATE_HZ // 66
_LIKENESS_SAMPLES = SAMPLE_RATE_HZ // 50
_OVERLAP_SAMPLES = SAMPLE_RATE_HZ // 250
_STEADY_S, _SILENT_S = 0.01, 0.06


def burst_loss_zero(waveform: np.ndarray, loss_pct: float, rng: np.random.Generator) -> np.ndarray:
    """Silences bursts of packets, a percentage of all and at least one."""
    degraded = np.array(waveform)
    for start, stop in _bursts(len(waveform), loss_pct, rng):
        degraded[start:stop] = 0
    return degraded


def burst_loss_fade(waveform: np.ndarray, loss_pct: float, rng: np.random.Generator) -> np.ndarray:
    """Repeats the packet before a burst, at half the amplitude each time (GSM 06.11); see `burst_loss_zero`."""
    degraded = np.array(waveform)
    for start, stop in _bursts(len(waveform), loss_pct, rng):
        last = degraded[max(start - _PACKET_SAMPLES, 0) : start]
        last = np.pad(last, (_PACKET_SAMPLES - len(last), 0))
        for number, at in enumerate(range(start, stop, _PACKET_SAMPLES), 1):
            part = degraded[at : min(at + _PACKET_SAMPLES, stop)]
            part[:] = last[: len(part)] * _FADE_PER_PACKET**number
    return degraded


def burst_loss_pitch(waveform: np.ndarray, loss_pct: float, rng: np.random.Generator) -> np.ndarray:
    """Continues the last pitch period through a burst, as ITU-T G.711 Appendix I; see `burst_loss_zero`.

    The period, 66 to 400 Hz, is where the 20 ms before the loss are most like the samples before them; the
    continuation keeps its level for 10 ms, is silent from 60 ms on, and fades into what comes next in 4 ms.
    """
    degraded = np.array(waveform)
    for start, stop in _bursts(len(waveform), loss_pct, rng):
        history = np.pad(degraded[:start], (_LONGEST_PERIOD + _LIKENESS_SAMPLES, 0)).astype(np.float64)
        length = min(stop + _OVERLAP_SAMPLES, len(waveform)) - start
        extension = _extended(history, length)
        time_s = np.arange(length) / SAMPLE_RATE_HZ
        extension *= np.clip((_SILENT_S - time_s) / (_SILENT_S - _STEADY_S), 0, 1)
        gain = np.clip((stop - start + _OVERLAP_SAMPLES - np.arange(length)) / _OVERLAP_SAMPLES, 0, 1)
        part = degraded[start : start + length]
        part[:] = gain * extension + (1 - gain) * part
    return degraded


def _extended(history: np.ndarray, length: int) -> np.ndarray:
    """Repeats the last period of a history [N] to [length]."""
    template = history[-_LIKENESS_SAMPLES:]
    past = history[-_LIKENESS_SAMPLES - _LONGEST_PERIOD : -_SHORTEST_PERIOD]
    energy = np.convolve(past**2, np.ones(_LIKENESS_SAMPLES), "valid")
    likeness = correlate(past, template, "valid") / np.sqrt(energy + 1e-12)
    period = _LONGEST_PERIOD - int(likeness.argmax())
    return np.resize(history[-period:], length)


def _bursts(samples: int, loss_pct: float, rng: np.random.Generator) -> list[tuple[int, int]]:
    """Samples bursts of lost packets; (start, stop) in samples, ascending, with at least a packet between them."""
    packets = -(-samples // _PACKET_SAMPLES)
    lost = min(packets, max(1, round(packets * loss_pct / 100)))
    mean = rng.uniform(*_MEAN_BURSTS)
    lengths: list[int] = []
    while sum(lengths) < lost:
        lengths.append(min(int(rng.geometric(1 / mean)), lost - sum(lengths)))
    # Each of the received packets may have one burst behind it, and one burst may begin the clip.
    received = packets - lost
    while len(lengths) > received + 1:
        lengths[-2:] = [lengths[-2] + lengths[-1]]
    places = np.sort(rng.permutation(received + 1)[: len(lengths)])
    starts = places + np.concatenate([[0], np.cumsum(lengths)[:-1]]).astype(int)
    edges = np.stack([starts, starts + lengths], axis=1) * _PACKET_SAMPLES
    return [(int(start), min(int(stop), samples)) for start, stop in edges]


PACKET_LOSSES = tuple(
    Degradation(function.__name__, "packet_loss", function, (3, 8, 15, 30), "pct")
    for function in (burst_loss_zero, burst_loss_fade, burst_loss_pitch)
)
