"""Clips of the release: excerpts of clean speech, three degraded copies of each; the same from the seed on any machine.

They come in shards of 100 excerpts, each whole or not there.
"""

import functools
import hashlib
import shutil
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import soundfile

from launch.release.recipes import Step, draw, family
from launch.release.voices import VOICES, Voice
from urgentmos_jax.audio.loading import SAMPLE_RATE_HZ
from urgentmos_jax.files import progress
from urgentmos_jax.labels.workers import in_processes
from urgentmos_jax.manifests.records import Utterance
from urgentmos_jax.manifests.writing import write_utterances
from urgentmos_jax.synthesis.catalogue import ALL_DEGRADATIONS
from urgentmos_jax.synthesis.speech_level import active_speech_level

__all__ = ["COPIES", "LEVELS_DB", "SHARD", "Shard", "levelled", "make_shard"]

SHARD = 100
COPIES = 3
# Distill-MOS hears segments of 7.68 s, DNSMOS of 9.01 s of which a clip of 4.6 to 5.4 s, repeated, fills one: the most
# audio for the work of both. Some are shorter or longer.
_USUAL_S, _ANY_S, _USUAL = (4.6, 5.4), (1.5, 7.6), 0.85
_PAUSES_S = (0.1, 0.4)
_LEVEL_DB = -26.0
LEVELS_DB = (-38.0, -16.0)
_MAX_PEAK = 0.99
_TALKERS = 4
_UNSEEN_FAMILIES = 0.4


@dataclass(frozen=True)
class Shard:
    """Part of a split: `train`, `dev`, or `test` (of voices that are held out, two of five clips of families too)."""

    split: str
    number: int
    seed: int
    excerpts: int = SHARD
    voices: str = ""  # Only those whose names begin so.

    @property
    def name(self) -> str:
        """Such as `train-07`."""
        return f"{self.split}-{self.number:02d}"


@dataclass(frozen=True)
class _Task:
    shard: Shard
    number: int
    speech: Path
    folder: Path


def make_shard(shard: Shard, speech: Path, clips: Path, processes: int) -> Path:
    """Makes a shard's clips, or finds them made.

    Args:
        shard: Which.
        speech: Folder of a folder a voice.
        clips: Where `<shard>/` goes: `data.jsonl`, clips `<uid>.flac` and their references `<reference>.flac`.
        processes: How many make them.

    Returns:
        The manifest. Each `meta` has `voice`, `voice_kind`, `language`, `family`, `steps` of name and strength,
        `digest` of the samples, and the path of the `reference`.

    Raises:
        RuntimeError: A clip kills its process.
    """
    folder = clips / shard.name
    manifest = folder / "data.jsonl"
    if manifest.exists():
        return manifest
    part = folder.with_name(f"{folder.name}.part")
    shutil.rmtree(part, ignore_errors=True)
    part.mkdir(parents=True)
    tasks = [_Task(shard, number, speech, part) for number in range(shard.excerpts)]
    rows: dict[int, list[Utterance]] = {}
    for task, made in progress(in_processes(_make, tasks, processes), len(tasks), "excerpt", shard.name):
        if made is None:
            raise RuntimeError(f"{shard.name}: the process that made excerpt {task.number} died")
        rows[task.number] = made
    write_utterances(part / "data.jsonl", [row for number in sorted(rows) for row in rows[number]])
    shutil.rmtree(folder, ignore_errors=True)
    part.rename(folder)
    return manifest


def _make(task: _Task) -> list[Utterance]:
    """Writes an excerpt and its degraded copies."""
    shard = task.shard
    reference_id = f"{shard.name}-{task.number:03d}"
    rng = _generator(shard.seed, reference_id)
    voice = _drawn_voice(shard, rng)
    least, longest = _USUAL_S if rng.random() < _USUAL else _ANY_S
    clean = _excerpt(task.speech / voice, round(rng.uniform(least, longest) * SAMPLE_RATE_HZ), rng)
    clean = clean * 10 ** ((_LEVEL_DB - active_speech_level(clean)) / 20)
    clean = clean * min(1, _MAX_PEAK / np.abs(clean).max())
    _write(task.folder / f"{reference_id}.flac", _rounded(clean))
    rows = []
    for copy in range(COPIES):
        uid = f"{reference_id}-{copy}"
        rng = _generator(shard.seed, uid)
        steps = draw(rng, held_out=shard.split == "test" and rng.random() < _UNSEEN_FAMILIES)
        samples = _rounded(levelled(_degraded(clean, steps, voice, task, rng), rng.uniform(*LEVELS_DB)))
        _write(task.folder / f"{uid}.flac", samples)
        about = VOICES[voice]
        meta = {
            "voice": voice, "voice_kind": about.kind, "language": about.language, "family": family(steps),
            "steps": [list(asdict(step).values()) for step in steps], "digest": _digest(samples),
            "reference": f"{reference_id}.flac",
        }  # fmt: skip
        system = "+".join(step.name for step in steps) or "clean"
        rows.append(Utterance(uid, f"{uid}.flac", len(samples) / SAMPLE_RATE_HZ, system, reference_id, {}, meta))
    return rows


def _voices_of(shard: Shard) -> list[Voice]:
    held_out = shard.split == "test"
    return [one for one in VOICES.values() if one.held_out == held_out and one.name.startswith(shard.voices)]


def _drawn_voice(shard: Shard, rng: np.random.Generator) -> str:
    voices = _voices_of(shard)
    shares = np.array([voice.share for voice in voices], float)
    return voices[rng.choice(len(voices), p=shares / shares.sum())].name


@functools.cache
def _clips_of(folder: Path) -> Sequence[Path]:
    if not (found := sorted(folder.glob("*.flac"))):
        raise FileNotFoundError(f"{folder}: no speech of this voice; do the stage `speech` first")
    return found


def _excerpt(folder: Path, samples: int, rng: np.random.Generator) -> np.ndarray:
    """So many samples of a voice: clips in the order they lie in, at one level, with short pauses."""
    paths = _clips_of(folder)
    place = int(rng.integers(len(paths)))
    parts, length = [], 0
    start = 0
    while length < samples + start:
        clip, _ = soundfile.read(paths[place % len(paths)], dtype="float32")
        if not parts:
            # Not always from the beginning of the first.
            start = int(rng.integers(max(1, len(clip) - samples + 1)))
        clip = clip * 10 ** ((_LEVEL_DB - active_speech_level(clip)) / 20)
        # The background of a recording goes on in its pauses.
        pause = _pause_like(clip, round(rng.uniform(*_PAUSES_S) * SAMPLE_RATE_HZ), rng)
        parts += [clip, pause]
        length += len(clip) + len(pause)
        place += 1
    return np.concatenate(parts)[start : start + samples].astype(np.float32)


def _pause_like(clip: np.ndarray, samples: int, rng: np.random.Generator) -> np.ndarray:
    """Noise as loud as the quietest 20 ms of a clip."""
    frames = clip[: len(clip) // 320 * 320].reshape(-1, 320)
    floor = float(np.sqrt(np.square(frames).mean(1)).min()) if len(frames) else 0.0
    return floor * rng.standard_normal(samples)


def _degraded(
    clean: np.ndarray, steps: tuple[Step, ...], voice: str, task: _Task, rng: np.random.Generator
) -> np.ndarray:
    waveform = clean
    for step in steps:
        one = ALL_DEGRADATIONS[step.name]
        talkers = _talkers(voice, task, rng) if one.kind == "babble" else ()
        waveform = one(waveform, step.strength, rng, talkers)
        # Codecs and the like take what lies in [-1, 1].
        waveform = waveform * min(1, _MAX_PEAK / max(float(np.abs(waveform).max()), 1e-9))
    return waveform


def _talkers(voice: str, task: _Task, rng: np.random.Generator) -> list[np.ndarray]:
    """Other voices of the same side of what is held out."""
    others = [one for one in _voices_of(task.shard) if one.name != voice]
    chosen = [others[i] for i in rng.permutation(len(others))[:_TALKERS]]
    return [_excerpt(task.speech / one.name, 4 * SAMPLE_RATE_HZ, rng) for one in chosen]


def levelled(waveform: np.ndarray, level_db: float) -> np.ndarray:
    """[T] at an RMS level in dB re full scale, or lower where the peak would clip."""
    gain = 10 ** (level_db / 20) / max(float(np.sqrt(np.mean(np.square(waveform, dtype=np.float64)))), 1e-9)
    return waveform * min(gain, _MAX_PEAK / max(float(np.abs(waveform).max()), 1e-9))


def _rounded(waveform: np.ndarray) -> np.ndarray:
    return np.round(waveform * (2**15 - 1)).astype(np.int16)


def _write(path: Path, samples: np.ndarray) -> None:
    soundfile.write(path, samples, SAMPLE_RATE_HZ, subtype="PCM_16")


def _digest(samples: np.ndarray) -> str:
    return hashlib.blake2b(samples.astype("<i2").tobytes(), digest_size=6).hexdigest()


def _generator(seed: int, name: str) -> np.random.Generator:
    return np.random.default_rng(int.from_bytes(hashlib.blake2b(f"{seed}:{name}".encode(), digest_size=16).digest()))
