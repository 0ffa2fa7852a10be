"""What the samples of a recording say of it, block by block at its own rate: its bandwidth, whether it is clipped."""

import functools
import math
from collections.abc import Iterable, Iterator

import numpy as np
import scipy.fft

# Every other frame of about 32 ms; after the first seconds, those of every fourth block.
_FRAME_SAMPLES, _FRAME_RATE_HZ = 512, 16000
_STRIDE, _FIRST_SECONDS, _LATER_BLOCKS = 2, 10, 4
# Most of the cost is that of calls; larger arrays than this come from the system, page by page.
_BATCH_SAMPLES = 24576
# Below, up to about 60 Hz, there is direct current and rumble.
_FIRST_BIN = 2
# Frames softer than the loudest by more than 50 dB are no speech. Until it is known, they wait in classes of 3 dB.
_CLASSES = 17
_CLASS_NUMBERS = np.arange(_CLASSES)[:, None]
_NOTHING = 1e-30
_ENERGY = 0.999

NARROW_EDGE_HZ, NARROW_RATE_HZ = 4200, 8000
# The model hears up to 8 kHz, and filters are not steeper than this.
LOST_EDGE_HZ, LOST_RATE_HZ = 8250, 16000

_RUN_SAMPLES = 3
_RUNS = 3
_STEP = 0.01


class Measures:
    """Bandwidth and clipping of a recording.

    Args:
        rate_hz: Its sample rate.
    """

    def __init__(self, rate_hz: float):
        self._rate_hz = rate_hz
        self._bandwidth, self._clipping = Bandwidth(rate_hz), Clipping()

    def channels_of(self, blocks: Iterable[np.ndarray]) -> Iterator[np.ndarray]:
        """Passes blocks [n, channels] on, and looks at each channel."""
        for block in blocks:
            self._clipping.add(block)
            yield block

    def add(self, block: np.ndarray) -> None:
        """Takes the mean [n] float32 of the channels of the next block."""
        self._bandwidth.add(block)

    @property
    def bandwidth_hz(self) -> float | None:
        """See `Bandwidth`; None of silence."""
        return self._bandwidth.edge_hz

    @property
    def flags(self) -> tuple[str, ...]:
        """`clipped`, see `Clipping`; `narrowband`: the edge is under 4.2 kHz, though the rate is above 8 kHz;
        `above_8khz_lost`: there is energy above 8 kHz, which the model does not hear."""
        edge_hz = self.bandwidth_hz or NARROW_EDGE_HZ
        found = {
            "clipped": self._clipping.found,
            "narrowband": edge_hz < NARROW_EDGE_HZ and self._rate_hz > NARROW_RATE_HZ,
            "above_8khz_lost": edge_hz > LOST_EDGE_HZ and self._rate_hz > LOST_RATE_HZ,
        }
        return tuple(name for name, there in found.items() if there)


class Bandwidth:
    """The edge below which 99.9 % of the energy lies.

    Each frame of speech counts alike: of the energy of all together, 99.9 % may lie in the vowels, under 4 kHz. The
    spectrum of a frame is divided by its energy; frames within 50 dB of the loudest are averaged.

    Args:
        rate_hz: Sample rate.
    """

    def __init__(self, rate_hz: float):
        self._first_samples = _FIRST_SECONDS * rate_hz
        self._samples = self._blocks = 0
        self._waiting: list[np.ndarray] = []
        self._size = _FRAME_SAMPLES * max(1, round(rate_hz / _FRAME_RATE_HZ))
        self._window = _window(self._size)
        self._bin_hz = rate_hz / self._size
        # [classes, bins]: sums over the frames of a level, the loudest first.
        self._spectra = np.zeros((_CLASSES, self._size // 2 + 1 - _FIRST_BIN))
        self._top = math.frexp(_NOTHING)[1]

    def add(self, block: np.ndarray) -> None:
        """Takes the next samples [n] float32."""
        later = self._samples > self._first_samples
        self._samples += len(block)
        self._blocks += later
        if later and self._blocks % _LATER_BLOCKS:
            return
        whole, rest = divmod(len(block), self._size)
        if whole:
            frames = block[: whole * self._size].reshape(whole, self._size)[::_STRIDE] * self._window
        else:
            frames = np.zeros((1, self._size), np.float32)
            frames[0, :rest] = block * np.hanning(rest + 2)[1:-1]
        self._waiting.append(frames)
        if sum(frames.size for frames in self._waiting) >= _BATCH_SAMPLES:
            self._add_waiting()

    def _add_waiting(self) -> None:
        frames, self._waiting = np.concatenate(self._waiting), []
        spectra = scipy.fft.rfft(frames, axis=1)[:, _FIRST_BIN:]
        power = spectra.real**2
        power += spectra.imag**2
        energies = power.sum(1) + _NOTHING
        levels = np.frexp(energies)[1]
        if (loudest := int(levels.max())) > self._top:
            louder = min(loudest - self._top, _CLASSES)
            self._spectra = np.roll(self._spectra, louder, axis=0)
            self._spectra[:louder] = 0
            self._top = loudest
        self._spectra += (self._top - levels == _CLASS_NUMBERS) / energies @ power

    @property
    def edge_hz(self) -> float | None:
        """The edge so far, None of silence."""
        if self._waiting:
            self._add_waiting()
        energy = np.cumsum(self._spectra.sum(0))
        if not energy[-1] > 0:
            return None
        return float((_FIRST_BIN + np.searchsorted(energy, _ENERGY * energy[-1])) * self._bin_hz)


class Clipping:
    """Whether the waveform is cut off: runs of samples at the recording's own maximum, or minimum, of a channel.

    A soft or slow peak also stays at one value for a while; it is not entered and left by a step of 1 % of itself.
    """

    def __init__(self) -> None:
        self._tops: dict[tuple[int, int], float] = {}
        self._runs: dict[tuple[int, int], int] = {}

    def add(self, block: np.ndarray) -> None:
        """Takes the next samples [n, channels]; a run over the end of a block counts as two."""
        for channel, samples in enumerate(np.ascontiguousarray(block.T)):
            for sign, top in ((1, samples.max()), (-1, -samples.min())):
                key = channel, sign
                before = self._tops.get(key, 0.0)
                if not top >= before or top <= 0:
                    continue
                runs = _runs(samples, sign * top, _STEP * top)
                self._runs[key] = runs + (self._runs.get(key, 0) if top == before else 0)
                self._tops[key] = top

    @property
    def found(self) -> bool:
        """Whether it is, so far."""
        return sum(self._runs.values()) >= _RUNS


def _runs(samples: np.ndarray, value: float, step: float) -> int:
    """How many runs of three and more samples of this value have a step of that size beside them."""
    at = np.flatnonzero(samples == value)
    if len(at) < _RUN_SAMPLES:
        return 0
    breaks = np.flatnonzero(np.diff(at) > 1)
    first, last = at[np.concatenate([[0], breaks + 1])], at[np.concatenate([breaks, [-1]])]
    long = last - first >= _RUN_SAMPLES - 1
    before = np.abs(samples[np.maximum(first - 1, 0)] - value)
    after = np.abs(samples[np.minimum(last + 1, len(samples) - 1)] - value)
    return int((long & (np.maximum(before, after) > step)).sum())


@functools.lru_cache(maxsize=8)
def _window(size: int) -> np.ndarray:
    """Hann's, periodic, so that direct current reaches no further than the next bin."""
    return np.hanning(size + 1)[:-1].astype(np.float32)
