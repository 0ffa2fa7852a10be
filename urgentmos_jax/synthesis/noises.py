"""Noises of everyday recordings: hum, speech-shaped noise, clicks, wind, music and traffic; see `degradations`.

Each is made from the random generator alone and added at an SNR in dB, speech measured by its active level
(ITU-T P.56) and noise by its RMS over the whole clip.
"""

import numpy as np
from scipy.ndimage import gaussian_filter1d
from scipy.signal import butter, sosfilt

from urgentmos_jax.audio.loading import SAMPLE_RATE_HZ
from urgentmos_jax.synthesis.degradations import Degradation, coloured_noise
from urgentmos_jax.synthesis.speech_level import add_at_snr

_MAINS_HZ = (50.0, 60.0)
_HUM_HARMONICS = 20
_SCALE_SEMITONES = np.array([0, 2, 4, 5, 7, 9, 11])
_LOWEST_NOTE_HZ = 110.0
_NYQUIST_HZ = SAMPLE_RATE_HZ / 2


def hum(waveform: np.ndarray, snr_db: float, rng: np.random.Generator) -> np.ndarray:
    """Adds mains hum, 50 or 60 Hz with 20 harmonics of random strength that fall by 1/k, at an SNR in dB."""
    fundamental_hz = rng.choice(_MAINS_HZ) * rng.uniform(0.998, 1.002)
    harmonics = np.arange(1, _HUM_HARMONICS + 1)
    amplitudes = rng.exponential(1.0, _HUM_HARMONICS) / harmonics
    phases = rng.uniform(0, 2 * np.pi, _HUM_HARMONICS)
    angle = 2 * np.pi * fundamental_hz / SAMPLE_RATE_HZ * np.arange(len(waveform))
    noise = sum(a * np.sin(k * angle + p) for a, k, p in zip(amplitudes, harmonics, phases, strict=True))
    return add_at_snr(waveform, np.asarray(noise), snr_db)


def speech_shaped_noise(waveform: np.ndarray, snr_db: float, rng: np.random.Generator) -> np.ndarray:
    """Adds noise with the long-term spectrum of the clip itself and modulated at syllable rates, at an SNR in dB."""
    spectrum = np.abs(np.fft.rfft(waveform))
    phases = rng.uniform(0, 2 * np.pi, len(spectrum))
    noise = np.fft.irfft(spectrum * np.exp(1j * phases), len(waveform))
    return add_at_snr(waveform, noise * _slow_gain(len(waveform), 4.0, 6.0, rng), snr_db)


def clicks(waveform: np.ndarray, snr_db: float, rng: np.random.Generator) -> np.ndarray:
    """Adds strokes as of a keyboard, 3 to 10 a second: short resonant bursts of noise, at an SNR in dB."""
    samples = len(waveform)
    noise = np.zeros(samples)
    low_hz = rng.uniform(300, 2000)
    sections = butter(2, (low_hz, rng.uniform(low_hz + 1000, 7500)), "bandpass", fs=SAMPLE_RATE_HZ, output="sos")
    burst = np.arange(round(0.08 * SAMPLE_RATE_HZ)) / SAMPLE_RATE_HZ
    count = max(1, rng.poisson(rng.uniform(3, 10) * samples / SAMPLE_RATE_HZ))
    for start in rng.integers(samples, size=count):
        decay_s = rng.uniform(0.001, 0.012)
        stroke = rng.standard_normal(len(burst)) * np.exp(-burst / decay_s) * 10 ** (rng.uniform(-12, 0) / 20)
        part = noise[start : start + len(burst)]
        part += stroke[: len(part)]
    return add_at_snr(waveform, sosfilt(sections, noise), snr_db)


def wind(waveform: np.ndarray, snr_db: float, rng: np.random.Generator) -> np.ndarray:
    """Adds wind: noise that falls by 6 to 9 dB an octave, in gusts of about a second, at an SNR in dB."""
    noise = coloured_noise(len(waveform), rng.uniform(1.0, 1.5), rng)
    return add_at_snr(waveform, noise * _slow_gain(len(waveform), 1.0, 10.0, rng), snr_db)


def music(waveform: np.ndarray, snr_db: float, rng: np.random.Generator) -> np.ndarray:
    """Adds chords and a melody of decaying harmonic notes in a random key and tempo, at an SNR in dB."""
    samples = len(waveform)
    noise = np.zeros(samples)
    beat = round(rng.uniform(0.25, 0.6) * SAMPLE_RATE_HZ)
    key_hz = _LOWEST_NOTE_HZ * 2 ** (rng.integers(12) / 12)
    brightness, decay_s = rng.uniform(0.8, 2.0), rng.uniform(0.2, 1.2)
    root = 0
    for number, start in enumerate(range(0, samples, beat)):
        degrees = [7 + int(rng.integers(14))]
        if number % 4 == 0:
            root = int(rng.integers(7))
            degrees += [root, root + 2, root + 4]
        for degree in degrees:
            semitones = 12 * (degree // 7) + _SCALE_SEMITONES[degree % 7]
            note = _note(key_hz * 2 ** (semitones / 12), min(4 * beat, samples - start), brightness, decay_s, rng)
            noise[start : start + len(note)] += note
    return add_at_snr(waveform, noise, snr_db)


def traffic(waveform: np.ndarray, snr_db: float, rng: np.random.Generator) -> np.ndarray:
    """Adds the rumble of a street with vehicles that pass by, engine and tyres, at an SNR in dB."""
    samples = len(waveform)
    time_s = np.arange(samples) / SAMPLE_RATE_HZ
    noise = _unit(coloured_noise(samples, 1.0, rng))
    for _ in range(1 + rng.poisson(samples / SAMPLE_RATE_HZ / 4)):
        past_s = (time_s - rng.uniform(0, max(time_s[-1], 0.1))) / rng.uniform(0.5, 2.0)
        glide = 1 - 0.05 * np.tanh(past_s)  # Doppler shift of a vehicle at some 60 km/h.
        angle = 2 * np.pi * rng.uniform(40, 110) / SAMPLE_RATE_HZ * np.cumsum(glide)
        engine = sum(rng.exponential(1.0) / k * np.sin(k * angle) for k in range(1, 13))
        tyres = _unit(coloured_noise(samples, 0.6, rng))
        noise += rng.uniform(1, 3) * (_unit(np.asarray(engine)) + tyres) / (1 + past_s**2)
    return add_at_snr(waveform, noise, snr_db)


def _note(frequency_hz: float, samples: int, brightness: float, decay_s: float, rng: np.random.Generator) -> np.ndarray:
    """A plucked note: harmonics that fall by k^-brightness, the higher ones faster in time."""
    time_s = np.arange(samples) / SAMPLE_RATE_HZ
    harmonics = range(1, max(2, int(min(10, _NYQUIST_HZ / frequency_hz))))
    note = np.zeros(samples)
    for k in harmonics:
        swing = np.sin(2 * np.pi * k * frequency_hz * time_s + rng.uniform(0, 2 * np.pi))
        note += k**-brightness * np.exp(-time_s * np.sqrt(k) / decay_s) * swing
    return note * np.minimum(time_s / 0.005, 1)


def _slow_gain(samples: int, rate_hz: float, deviation_db: float, rng: np.random.Generator) -> np.ndarray:
    """Gain [samples] that wanders with a standard deviation in dB and about `rate_hz` times a second."""
    step = max(1, round(SAMPLE_RATE_HZ / rate_hz / 8))
    points = gaussian_filter1d(rng.standard_normal(samples // step + 34), 2.0)[16:-16]
    gain_db = deviation_db * points / 0.376  # Standard deviation of white noise behind this filter.
    return 10 ** (np.interp(np.arange(samples) / step, np.arange(len(points)), gain_db) / 20)


def _unit(noise: np.ndarray) -> np.ndarray:
    return noise / np.sqrt(np.mean(noise**2))


NOISES = tuple(
    Degradation(function.__name__, "noise", function, (20, 10, 5, 0), "db")
    for function in (hum, speech_shaped_noise, clicks, wind, music, traffic)
)
