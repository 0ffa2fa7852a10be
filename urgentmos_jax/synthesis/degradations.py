"""Degradations of speech: noise, distortion, filters, rooms, lost packets and codecs.

Each is a pure function of a waveform [T] float32 at 16 kHz, a strength and a random generator, and returns a
waveform [T] float32 aligned with its input. Results may leave [-1, 1]; scale them before writing.
"""

import io
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import soundfile
from scipy.fft import next_fast_len
from scipy.signal import butter, correlate, fftconvolve, sosfiltfilt

from urgentmos_jax.audio.loading import SAMPLE_RATE_HZ
from urgentmos_jax.synthesis.speech_level import active_speech_level, add_at_snr

KINDS = ("noise", "babble", "mnru", "clipping", "band", "reverberation", "packet_loss", "codec")

_LOWEST_NOISE_HZ = 20
_TELEPHONE_LOW_HZ = 300
_FILTER_ORDER = 6
_PACKET_SAMPLES = SAMPLE_RATE_HZ // 50
_ROOM_ONSET_S = 0.0025
_ROOM_T60_AT_0_DB = 0.5
_MAX_CODEC_DELAY = SAMPLE_RATE_HZ // 5


@dataclass(frozen=True)
class Degradation:
    """A degradation of one of `KINDS` and the strengths at which it is used.

    Attributes:
        function: (waveform, strength, rng) -> waveform; of the kind "babble" with a fourth argument, the other
            talkers.
        strengths: From the weakest to the strongest.
        unit: Unit of the strength: db, hz, s, pct, kbps, or q for a codec's quality index.
    """

    name: str
    kind: str
    function: Callable[..., np.ndarray]
    strengths: tuple[float, ...]
    unit: str

    def __call__(
        self, waveform: np.ndarray, strength: float, rng: np.random.Generator, talkers: Sequence[np.ndarray] = ()
    ) -> np.ndarray:
        """Degrades [T] float32 at 16 kHz, by a strength in `unit`; `talkers` is other speech, for babble."""
        others = (talkers,) if self.kind == "babble" else ()
        return self.function(waveform, strength, rng, *others).astype(np.float32)

    def system_id(self, strength: float) -> str:
        """The degradation at one strength as a system, such as `white_noise-10db`."""
        return f"{self.name}-{strength:g}{self.unit}"


def white_noise(waveform: np.ndarray, snr_db: float, rng: np.random.Generator) -> np.ndarray:
    """Adds white noise at an SNR in dB, speech measured by its active level (ITU-T P.56)."""
    return add_at_snr(waveform, rng.standard_normal(len(waveform)), snr_db)


def pink_noise(waveform: np.ndarray, snr_db: float, rng: np.random.Generator) -> np.ndarray:
    """Adds noise whose power falls by 3 dB an octave, at an SNR in dB; see `white_noise`."""
    return add_at_snr(waveform, coloured_noise(len(waveform), 0.5, rng), snr_db)


def brown_noise(waveform: np.ndarray, snr_db: float, rng: np.random.Generator) -> np.ndarray:
    """Adds noise whose power falls by 6 dB an octave, at an SNR in dB; see `white_noise`."""
    return add_at_snr(waveform, coloured_noise(len(waveform), 1, rng), snr_db)


def babble(waveform: np.ndarray, snr_db: float, rng: np.random.Generator, talkers: Sequence[np.ndarray]) -> np.ndarray:
    """Adds other talkers, all at the same active level and from random offsets, at an SNR in dB; see `white_noise`."""
    if not len(talkers):
        raise ValueError("babble needs the speech of other talkers")
    mix = np.zeros(len(waveform))
    for talker in talkers:
        gain = 10 ** (-active_speech_level(talker) / 20)
        mix += gain * np.resize(np.roll(talker, -rng.integers(len(talker))), len(waveform))
    return add_at_snr(waveform, mix, snr_db)


def mnru(waveform: np.ndarray, q_db: float, rng: np.random.Generator) -> np.ndarray:
    """Modulated noise reference unit (ITU-T P.810): adds noise proportional to the speech, at Q dB.

    y = x (1 + 10^(-Q/20) n), n white Gaussian of variance 1; without the band-pass filters of the recommendation.
    """
    return waveform * (1 + 10 ** (-q_db / 20) * rng.standard_normal(len(waveform)))


def clipping(waveform: np.ndarray, depth_db: float, rng: np.random.Generator) -> np.ndarray:
    """Clips at `depth_db` below the peak."""
    limit = np.abs(waveform).max(initial=0) * 10 ** (-depth_db / 20)
    return np.clip(waveform, -limit, limit)


def low_pass(waveform: np.ndarray, cutoff_hz: float, rng: np.random.Generator) -> np.ndarray:
    """Removes frequencies above a cutoff in Hz (-6 dB there), without delay."""
    return _filter(waveform, cutoff_hz, "lowpass")


def high_pass(waveform: np.ndarray, cutoff_hz: float, rng: np.random.Generator) -> np.ndarray:
    """Removes frequencies below a cutoff in Hz (-6 dB there), without delay."""
    return _filter(waveform, cutoff_hz, "highpass")


def telephone(waveform: np.ndarray, cutoff_hz: float, rng: np.random.Generator) -> np.ndarray:
    """Keeps the band from 300 Hz to a cutoff in Hz, 3400 for a telephone line, without delay."""
    return _filter(waveform, (_TELEPHONE_LOW_HZ, cutoff_hz), "bandpass")


def reverberation(waveform: np.ndarray, t60_s: float, rng: np.random.Generator) -> np.ndarray:
    """Adds reverberation of time `t60_s`; the direct sound keeps its time and level.

    The tail is Gaussian noise that decays exponentially (J. D. Polack's model), 60 dB in `t60_s`. Its energy grows
    with T60 as at a fixed distance in a room of fixed volume: that of the direct sound at 0.5 s.
    """
    onset = round(_ROOM_ONSET_S * SAMPLE_RATE_HZ)
    time_s = np.arange(onset, round(t60_s * SAMPLE_RATE_HZ)) / SAMPLE_RATE_HZ
    tail = rng.standard_normal(len(time_s)) * 10 ** (-3 * time_s / t60_s)
    tail *= np.sqrt(t60_s / _ROOM_T60_AT_0_DB / np.sum(tail**2))
    response = np.concatenate([[1.0], np.zeros(onset - 1), tail])
    return fftconvolve(waveform, response)[: len(waveform)]


def packet_loss_zero(waveform: np.ndarray, loss_pct: float, rng: np.random.Generator) -> np.ndarray:
    """Silences a percentage of the 20 ms packets, at least one of them."""
    degraded = np.array(waveform)
    for packet in _lost_packets(len(waveform), loss_pct, rng):
        degraded[packet * _PACKET_SAMPLES :][:_PACKET_SAMPLES] = 0
    return degraded


def packet_loss_repeat(waveform: np.ndarray, loss_pct: float, rng: np.random.Generator) -> np.ndarray:
    """Replaces lost 20 ms packets by the one before at half its amplitude; see `packet_loss_zero`."""
    degraded = np.array(waveform)
    for packet in _lost_packets(len(waveform), loss_pct, rng):
        lost = degraded[packet * _PACKET_SAMPLES :][:_PACKET_SAMPLES]
        before = degraded[(packet - 1) * _PACKET_SAMPLES :] if packet else np.zeros_like(lost)
        lost[:] = before[: len(lost)] / 2
    return degraded


def mp3(waveform: np.ndarray, kbps: float, rng: np.random.Generator) -> np.ndarray:
    """MP3 (LAME) at a constant bit rate, 10 to 160 kbit/s."""
    # libsndfile's scale from 160 to 8 kbit/s, which are the MPEG-2 rates of 16 kHz.
    return _coded(waveform, "MP3", "MPEG_LAYER_III", (160 - kbps) / (160 - 8), bitrate_mode="CONSTANT")


def vorbis(waveform: np.ndarray, quality: float, rng: np.random.Generator) -> np.ndarray:
    """Ogg Vorbis at a quality index, 10 (best) to 0."""
    return _coded(waveform, "OGG", "VORBIS", 1 - quality / 10)


def opus(waveform: np.ndarray, kbps: float, rng: np.random.Generator) -> np.ndarray:
    """Ogg Opus at a variable bit rate around `kbps`, 6 to 256 kbit/s."""
    return _coded(waveform, "OGG", "OPUS", (256 - kbps) / (256 - 6))


def coloured_noise(samples: int, slope: float, rng: np.random.Generator) -> np.ndarray:
    """Returns noise [samples] with an amplitude proportional to frequency^-slope, and none below 20 Hz."""
    length = next_fast_len(samples, real=True)
    spectrum = np.fft.rfft(rng.standard_normal(length))
    frequency_hz = np.fft.rfftfreq(length, 1 / SAMPLE_RATE_HZ)
    shape = np.where(frequency_hz < _LOWEST_NOISE_HZ, 0, np.maximum(frequency_hz, _LOWEST_NOISE_HZ) ** -slope)
    return np.fft.irfft(spectrum * shape, length)[:samples]


def _filter(waveform: np.ndarray, cutoff_hz: float | tuple[float, float], band: str) -> np.ndarray:
    # Forward and backward: no phase shift, and twice the -3 dB of a Butterworth filter at the cutoff.
    sections = butter(_FILTER_ORDER, cutoff_hz, band, fs=SAMPLE_RATE_HZ, output="sos")
    return sosfiltfilt(sections, waveform, padlen=min(_PACKET_SAMPLES, len(waveform) - 1))


def _lost_packets(samples: int, loss_pct: float, rng: np.random.Generator) -> np.ndarray:
    """Samples which packets are lost; indices, ascending."""
    packets = -(-samples // _PACKET_SAMPLES)
    lost = min(packets, max(1, round(packets * loss_pct / 100)))
    return np.sort(rng.permutation(packets)[:lost])


def _coded(
    waveform: np.ndarray, container: str, codec: str, compression_level: float, bitrate_mode: str | None = None
) -> np.ndarray:
    """Encodes and decodes in memory, and removes the codec's delay."""
    file = io.BytesIO()
    how = {"compression_level": compression_level, "bitrate_mode": bitrate_mode}
    soundfile.write(file, waveform, SAMPLE_RATE_HZ, format=container, subtype=codec, **how)
    file.seek(0)
    decoded, _ = soundfile.read(file, dtype="float32")
    return without_delay(decoded, waveform)


def without_delay(decoded: np.ndarray, waveform: np.ndarray) -> np.ndarray:
    """Shifts a codec's output to where it correlates most with its input [T], by at most 0.2 s; returns [T]."""
    lags = np.arange(1 - len(waveform), len(decoded))
    likeness = np.where(np.abs(lags) <= _MAX_CODEC_DELAY, correlate(decoded, waveform, method="fft"), -np.inf)
    return shifted(decoded, int(lags[likeness.argmax()]), len(waveform))


def shifted(decoded: np.ndarray, delay: int, samples: int) -> np.ndarray:
    """Removes a delay in samples, which may be negative, and cuts or fills with zeros to [samples]."""
    decoded = np.pad(decoded, (max(-delay, 0), samples))
    return decoded[max(delay, 0) :][:samples]


DEGRADATIONS: dict[str, Degradation] = {
    function.__name__: Degradation(function.__name__, kind, function, strengths, unit)
    for kind, function, strengths, unit in (
        ("noise", white_noise, (30, 20, 10, 0), "db"),
        ("noise", pink_noise, (30, 20, 10, 0), "db"),
        ("noise", brown_noise, (30, 20, 10, 0), "db"),
        ("babble", babble, (20, 10, 5, 0), "db"),
        ("mnru", mnru, (35, 25, 15, 5), "db"),
        ("clipping", clipping, (6, 12, 20, 30), "db"),
        ("band", low_pass, (4000, 2500, 1500, 800), "hz"),
        ("band", high_pass, (300, 600, 1200, 2000), "hz"),
        ("band", telephone, (3400,), "hz"),
        ("reverberation", reverberation, (0.2, 0.4, 0.8, 1.2), "s"),
        ("packet_loss", packet_loss_zero, (2, 5, 10, 20), "pct"),
        ("packet_loss", packet_loss_repeat, (2, 5, 10, 20), "pct"),
        ("codec", mp3, (48, 32, 24, 16), "kbps"),
        ("codec", vorbis, (6, 3, 1, 0), "q"),
        ("codec", opus, (24, 16, 12, 8), "kbps"),
    )
}
