"""Reverberation of rooms by the image-source method of pyroomacoustics; see `degradations`."""

import numpy as np
from scipy.signal import fftconvolve

from urgentmos_jax.audio.loading import SAMPLE_RATE_HZ
from urgentmos_jax.synthesis.degradations import Degradation

_MIN_SIDES_M, _MAX_SIDES_M = (3.0, 3.0, 2.4), (9.0, 7.0, 3.6)
_MARGIN_M = 0.4
_MIN_DISTANCE_M, _MAX_DISTANCE_M = 0.3, 2.0
_MAX_ORDER = 15
_FADE_S = 0.01


def room(waveform: np.ndarray, t60_s: float, rng: np.random.Generator) -> np.ndarray:
    """Puts speech into a shoebox room of random size with a reverberation time in seconds.

    Talker and microphone stand at random places, 0.3 to 2 m apart; the direct sound keeps its time and level. Images
    up to order 15 (J. B. Allen and D. A. Berkley, 1979; walls by Sabine's formula) give the early part; from where
    they are no longer complete on, noise that decays by 60 dB in `t60_s` goes on at their level.

    Raises:
        ImportError: pyroomacoustics is not installed.
    """
    response = _response(t60_s, rng)
    return fftconvolve(waveform, response)[: len(waveform)]


def _response(t60_s: float, rng: np.random.Generator) -> np.ndarray:
    """Returns an impulse response that begins with the direct sound, a 1 at index 0."""
    try:
        import pyroomacoustics
    except ImportError as error:
        raise ImportError("rooms need pyroomacoustics; pip install 'urgentmos_jax[release]'") from error
    sides = rng.uniform(_MIN_SIDES_M, _MAX_SIDES_M)
    # Sabine's walls absorb everything in a large dry room: shrink it until they need not.
    while _sabine(t60_s, sides) > 0.9:
        sides = sides * 0.9
    speed = pyroomacoustics.constants.get("c")
    talker, microphone = _places(sides, speed, rng)
    order = _MAX_ORDER
    shoebox = pyroomacoustics.ShoeBox(
        sides, fs=SAMPLE_RATE_HZ, materials=pyroomacoustics.Material(_sabine(t60_s, sides)), max_order=order
    )
    shoebox.add_source(talker)
    shoebox.add_microphone(microphone)
    shoebox.compute_rir()
    delay = round(float(np.linalg.norm(talker - microphone)) / speed * SAMPLE_RATE_HZ)
    # Its fractional delays are filters whose middle is the arrival.
    delay += pyroomacoustics.constants.get("frac_delay_length") // 2
    early = np.asarray(shoebox.rir[0][0], np.float64)
    early = early[delay:] / early[delay]
    complete = max(round(order * float(sides.min()) / speed * SAMPLE_RATE_HZ) - delay, SAMPLE_RATE_HZ // 50)
    return _continued(early, complete, t60_s, rng)


def _sabine(t60_s: float, sides: np.ndarray) -> float:
    """Energy absorption of the walls by Sabine's formula, 0.161 V / (S T60)."""
    a, b, c = sides
    return float(0.161 * a * b * c / (2 * (a * b + b * c + a * c) * t60_s))


def _places(sides: np.ndarray, speed: float, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Draws talker and microphone [3], a whole number of samples apart so that the direct sound is one sample."""
    margin = np.minimum(_MARGIN_M, sides / 4)
    while True:
        talker, other = rng.uniform(margin, sides - margin), rng.uniform(margin, sides - margin)
        towards = (other - talker) / np.linalg.norm(other - talker)
        distance = round(rng.uniform(_MIN_DISTANCE_M, _MAX_DISTANCE_M) / speed * SAMPLE_RATE_HZ)
        microphone = talker + towards * distance * speed / SAMPLE_RATE_HZ
        if np.all(microphone > margin / 2) and np.all(microphone < sides - margin / 2):
            return talker, microphone


def _continued(early: np.ndarray, complete: int, t60_s: float, rng: np.random.Generator) -> np.ndarray:
    """Fades from the early part [N] to decaying noise where the images end to be complete."""
    length = max(round(1.1 * t60_s * SAMPLE_RATE_HZ), complete)
    fade = round(_FADE_S * SAMPLE_RATE_HZ)
    early = np.pad(early, (0, length))[:length]
    time_s = np.arange(length) / SAMPLE_RATE_HZ
    tail = rng.standard_normal(length) * 10 ** (-3 * time_s / t60_s)
    last = slice(complete // 2, complete)
    tail *= np.sqrt(np.sum(early[last] ** 2) / np.sum(tail[last] ** 2))
    gain = np.clip((complete - np.arange(length)) / fade, 0, 1)
    return early * np.sqrt(gain) + tail * np.sqrt(1 - gain)


ROOMS = (Degradation("room", "reverberation", room, (0.2, 0.4, 0.7, 1.2), "s"),)
