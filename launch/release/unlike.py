"""Recordings unlike those of the release: sounds that are no speech, and speech that nobody speaks.

None of them is trained on. `unlike` says how many of each kind a model's rows tell from clips of the release's kind.
"""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np
import soundfile
import soxr
from scipy.stats import mannwhitneyu

from launch.release.clips import LEVELS_DB, levelled
from urgentmos_jax.audio.loading import SAMPLE_RATE_HZ
from urgentmos_jax.manifests.reading import read_utterances
from urgentmos_jax.scoring.model import Model
from urgentmos_jax.scoring.unlike import recording_features

__all__ = ["KINDS", "make", "unlike"]

_SECONDS = 5.0

Speech = Sequence[np.ndarray]


def make(kind: str, rng: np.random.Generator, speech: Speech) -> np.ndarray:
    """A recording [T] float32, at 16 kHz, at an RMS level as the release's clips have it.

    Args:
        kind: Of `KINDS`.
        rng: Of the recording.
        speech: Clean clips, two or more, that the kinds of speech are made of.
    """
    return levelled(KINDS[kind](rng, speech), rng.uniform(*LEVELS_DB)).astype(np.float32)


def _samples(rng: np.random.Generator) -> int:
    return round(rng.uniform(0.9, 1.1) * _SECONDS * SAMPLE_RATE_HZ)


def _one(rng: np.random.Generator, speech: Speech) -> np.ndarray:
    return speech[rng.integers(len(speech))]


def _tones(rng: np.random.Generator, speech: Speech) -> np.ndarray:
    """One to three steady sines."""
    time_s = np.arange(_samples(rng)) / SAMPLE_RATE_HZ
    return np.sum([np.sin(2 * np.pi * f * time_s) for f in rng.uniform(100, 4000, rng.integers(1, 4))], 0)


def _music(rng: np.random.Generator, speech: Speech) -> np.ndarray:
    """Chords of decaying harmonic notes, a bass drum and a cymbal."""
    samples = _samples(rng)
    found = np.zeros(samples)
    beat = round(rng.uniform(0.3, 0.6) * SAMPLE_RATE_HZ)
    key_hz = 110 * 2 ** (rng.integers(12) / 12)
    for number, start in enumerate(range(0, samples, beat)):
        time_s = np.arange(min(2 * beat, samples - start)) / SAMPLE_RATE_HZ
        root = rng.choice([0, 5, 7, 9])
        for semitones in (root, root + 4, root + 7, root + 12):
            f = key_hz * 2 ** (semitones / 12)
            for k in range(1, 8):
                found[start : start + len(time_s)] += (
                    0.3 / k * np.exp(-time_s * np.sqrt(k) / 0.6) * np.sin(2 * np.pi * k * f * time_s)
                )
        drum = np.sin(2 * np.pi * 60 * time_s) * np.exp(-time_s / 0.08)
        cymbal = np.diff(rng.standard_normal(len(time_s) + 1)) * np.exp(-time_s / 0.05)
        found[start : start + len(time_s)] += 2 * drum if number % 2 == 0 else 0.4 * cymbal
    return found


def _white_noise(rng: np.random.Generator, speech: Speech) -> np.ndarray:
    return rng.standard_normal(_samples(rng))


def _silence(rng: np.random.Generator, speech: Speech) -> np.ndarray:
    return np.zeros(_samples(rng))


def _chirps(rng: np.random.Generator, speech: Speech) -> np.ndarray:
    """As of birds: short glides between 2 and 7 kHz with pauses, over a little noise."""
    found = 0.003 * rng.standard_normal(_samples(rng))
    place = 0
    while place < len(found):
        time_s = np.arange(min(round(rng.uniform(0.05, 0.2) * SAMPLE_RATE_HZ), len(found) - place)) / SAMPLE_RATE_HZ
        glide = np.interp(np.linspace(0, 1, len(time_s)), [0, 0.5, 1], rng.uniform(2000, 7000, 3))
        found[place : place + len(time_s)] += np.hanning(len(time_s)) * np.sin(
            2 * np.pi * np.cumsum(glide) / SAMPLE_RATE_HZ
        )
        place += len(time_s) + round(rng.uniform(0.02, 0.4) * SAMPLE_RATE_HZ)
    return found


def _overlapping(rng: np.random.Generator, speech: Speech) -> np.ndarray:
    """Two talkers, equally loud."""
    a, b = (speech[i] for i in rng.choice(len(speech), 2, replace=False))
    samples = min(len(a), len(b))
    return np.sum([x[:samples] / np.sqrt(np.mean(np.square(x[:samples], dtype=np.float64))) for x in (a, b)], 0)


def _reversed(rng: np.random.Generator, speech: Speech) -> np.ndarray:
    return _one(rng, speech)[::-1]


def _fast(rng: np.random.Generator, speech: Speech) -> np.ndarray:
    """Four times as fast, and as high."""
    return soxr.resample(_one(rng, speech), 4 * SAMPLE_RATE_HZ, SAMPLE_RATE_HZ)


def _very_short(rng: np.random.Generator, speech: Speech) -> np.ndarray:
    """0.1 to 0.4 s of speech."""
    clip, samples = _one(rng, speech), round(rng.uniform(0.1, 0.4) * SAMPLE_RATE_HZ)
    start = rng.integers(max(1, len(clip) - samples))
    return clip[start : start + samples]


KINDS: Mapping[str, Callable[[np.random.Generator, Speech], np.ndarray]] = {
    "tones": _tones,
    "music": _music,
    "white noise": _white_noise,
    "silence": _silence,
    "chirps": _chirps,
    "overlapping": _overlapping,
    "reversed": _reversed,
    "4x speed": _fast,
    "very short": _very_short,
}


def unlike(model: Model, manifests: Sequence[Path], *, count: int = 40, seed: int = 0) -> dict[str, dict[str, float]]:
    """How a model's distribution of training clips tells kinds of recordings from the release's own.

    Args:
        model: With a `distribution`.
        manifests: Of clips that it was not trained on, as `labels.label_shard` writes them.
        count: Recordings of each kind.
        seed: Of the recordings.

    Returns:
        {kind: `n`, `flagged` (the share of `unlike_training`), `auroc` against the clips of the manifests, .5 = as
        like}; the clips themselves are the kind "the release's".
    """
    assert model.distribution is not None
    clips = [(path.parent, clip) for path in manifests for clip in read_utterances(path)[0]]
    own = model.distribution.distance(recording_features(model, [clip.audio_path for _, clip in clips]))
    references = dict.fromkeys(folder / clip.meta["reference"] for folder, clip in clips)
    speech = [soundfile.read(path, dtype="float32")[0] for path in references]
    found: dict[str, dict[str, float]] = {"the release's": {"n": len(own), "flagged": float((own > 1).mean())}}
    for number, kind in enumerate(KINDS):
        rng = np.random.default_rng([seed, number])
        recordings = [make(kind, rng, speech) for _ in range(count)]
        other = model.distribution.distance(recording_features(model, recordings))
        auroc = mannwhitneyu(other, own).statistic / (len(other) * len(own))
        found[kind] = {"n": count, "flagged": float((other > 1).mean()), "auroc": float(auroc)}
    return found
