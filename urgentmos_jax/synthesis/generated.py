"""Makes a corpus: clean speech, degraded by known systems and labelled against itself.

The speech is eSpeak NG's, or any folder of clean recordings. Labels are objective metrics of `urgentmos_jax.labels`.
No person has listened: such a corpus shows that training works, and says nothing of human opinion.
"""

import dataclasses
import hashlib
import json
import multiprocessing
import os
import re
from collections.abc import Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import soundfile

from urgentmos_jax import files
from urgentmos_jax.audio.loading import AUDIO_SUFFIXES, SAMPLE_RATE_HZ, load_audio
from urgentmos_jax.labels import intrusive
from urgentmos_jax.labels.workers import one_thread_each
from urgentmos_jax.synthesis import espeak
from urgentmos_jax.synthesis.degradations import DEGRADATIONS
from urgentmos_jax.synthesis.sentences import SENTENCES, Sentence
from urgentmos_jax.synthesis.speech_level import active_speech_level

LABELS = ("estoi", "si_sdr", "lsd", "pesq")

_FORMAT = 1  # Raise it when the same plan gives other clips.
_MAX_SAMPLES = 5 * SAMPLE_RATE_HZ
_RATES_WPM = (150, 190)
_PITCHES = (30, 70)
_FLOOR_DB = -60
_LEVELS_DB = (-36, -20)
_MAX_PEAK = 0.9
_TALKERS = 4


@dataclass(frozen=True)
class System:
    """A degradation at one strength; none is the clean system.

    Attributes:
        degradation: A name of `DEGRADATIONS`, or "clean".
        strength: In the degradation's unit.
    """

    degradation: str = "clean"
    strength: float = 0.0

    def __post_init__(self):
        if self.degradation != "clean" and self.degradation not in DEGRADATIONS:
            raise ValueError(f"no degradation {self.degradation!r}; there are clean, {', '.join(DEGRADATIONS)}")

    @property
    def id(self) -> str:
        """Such as `white_noise-10db`."""
        return "clean" if self.degradation == "clean" else DEGRADATIONS[self.degradation].system_id(self.strength)

    @property
    def kind(self) -> str:
        """The degradation's kind, or "clean"."""
        return "clean" if self.degradation == "clean" else DEGRADATIONS[self.degradation].kind


def all_systems() -> tuple[System, ...]:
    """Returns the clean system and every degradation at each strength of its ladder."""
    return (System(), *(System(name, float(s)) for name, item in DEGRADATIONS.items() for s in item.ladder))


@dataclass(frozen=True)
class Plan:
    """What a corpus is made of.

    Attributes:
        voices: eSpeak voices; each speaks the sentences of its language (`en-us+f2` those of `en`). Not used with
            clean recordings.
        sentences: What they say. Not used with clean recordings.
        references: How many clean clips: pairs of voice and sentence, or recordings, drawn without repetition.
        systems: Systems, spread evenly over the references.
        systems_per_reference: How many systems degrade each clean clip, so how many clips share a reference.
        labels: Metrics, of `urgentmos_jax.labels`; those whose package is missing here are left out.
        withheld: Share of the labels left out on purpose, 0 to 1.
        seed: Of all draws.
    """

    voices: tuple[str, ...] = ()
    sentences: tuple[Sentence, ...] = ()
    references: int = 100
    systems: tuple[System, ...] = field(default_factory=all_systems)
    systems_per_reference: int = 5
    labels: tuple[str, ...] = LABELS
    withheld: float = 0.0
    seed: int = 0

    def __post_init__(self):
        if not 1 <= self.systems_per_reference <= len(set(self.systems)):
            text = f"systems_per_reference={self.systems_per_reference}"
            raise ValueError(f"{text}: it must be 1 to the number of systems, {len(set(self.systems))}")
        if len(set(self.systems)) < len(self.systems):
            raise ValueError("a system is listed twice in systems")
        if self.references < 1:
            raise ValueError(f"references={self.references}: it must be 1 or more")
        if not 0 <= self.withheld <= 1:
            raise ValueError(f"withheld={self.withheld}: it must be 0 to 1")
        if unknown := set(self.labels) - set(intrusive.METRICS):
            raise ValueError(f"no metric {', '.join(sorted(unknown))}; there are {', '.join(intrusive.METRICS)}")


@dataclass(frozen=True)
class Reference:
    """A clean clip: eSpeak's voice and sentence, or a recording.

    Attributes:
        id: Unique in the corpus, without white space.
        voice: eSpeak voice; None of a recording.
        source: The sentence, or the recording's path relative to the folder of clean speech.
    """

    id: str
    voice: str | None
    source: str


@dataclass(frozen=True)
class _Task:
    """A reference and all that is made of it."""

    reference: Reference
    systems: tuple[System, ...]
    talkers: tuple[Reference, ...]


def generate(
    folder: Path, plan: Plan, *, clean: Path | None = None, processes: int | None = None, progress: bool = True
) -> Path:
    """Makes a corpus, or finds the one that is there.

    The same arguments give the same bytes, with any number of processes. Written are 16-bit FLAC files at 16 kHz,
    `audio/<system_id>/<reference_id>.flac`, of random level and at most 5 s; `plan.json`; and at the very end
    `data.jsonl`, so a run that was stopped leaves no manifest and may be started again. Labels are computed from
    the written samples against the clean waveform.

    Worker processes import the main module anew: it needs the guard `if __name__ == "__main__"`, and starts them
    faster if it imports little at its top.

    Args:
        folder: Where the corpus goes.
        plan: What it is made of.
        clean: Folder of clean recordings in place of eSpeak, read as `load_audio` does; longer ones than 5 s are
            cut at a random place.
        processes: How many work in parallel; none: one a core.
        progress: Whether to show a bar on stderr.

    Returns:
        The manifest, `folder/data.jsonl`.

    Raises:
        ValueError: The folder holds another corpus; an unknown voice; fewer clean clips than references.
        AudioError: A clean recording cannot be read.
    """
    folder, clean = Path(folder), None if clean is None else Path(clean)
    plan = dataclasses.replace(plan, labels=tuple(name for name in plan.labels if name in intrusive.available()))
    references = _spoken(plan) if clean is None else _recorded(clean)
    tasks = _tasks(plan, references)
    manifest = folder / "data.jsonl"
    if _claim(folder, _plan_text(plan, clean, references)) and manifest.exists():
        return manifest
    for system in plan.systems:
        (folder / "audio" / system.id).mkdir(parents=True, exist_ok=True)
    rows = []
    with files.progress(None, sum(len(task.systems) for task in tasks), "clip", hidden=not progress) as bar:
        for made in _run(tasks, folder, plan, clean, processes or os.cpu_count() or 1):
            rows += made
            bar.update(len(made))
    rows.sort(key=lambda row: row["uid"])
    files.write_text(manifest, "".join(json.dumps(row, ensure_ascii=False, allow_nan=False) + "\n" for row in rows))
    return manifest


def default_splits(seed: int = 0) -> dict[str, Plan]:
    """Returns plans for `train`, `dev` and `test` that share no voice and no sentence: 500, 60 and 150 clips."""
    variants = {
        "train": {
            "en-us": "f1 f3 m1 m3 m8",
            "en-gb": "f5 m2 m7",
            "de": "f1 m3",
            "fr": "f3 m1",
            "es": "f1 m7",
            "it": "f3 m2",
        },
        "dev": {"en-us": "f4", "en-gb": "m6", "de": "m6", "fr": "f4", "es": "m6", "it": "f4"},
        "test": {"en-us": "f2 m4", "en-gb": "m5", "de": "f2 m4", "fr": "f2 m5", "es": "m4 f2", "it": "m5 f2"},
    }
    parts: dict[str, list[Sentence]] = {"train": [], "dev": [], "test": []}
    for language, texts in SENTENCES.items():
        test, dev = max(2, len(texts) // 4), max(1, len(texts) // 8)
        for number, text in enumerate(texts):
            part = "test" if number < test else "dev" if number < test + dev else "train"
            parts[part].append(Sentence(language, text))
    references = {"train": 100, "dev": 12, "test": 30}
    return {
        name: Plan(
            voices=tuple(f"{code}+{variant}" for code, names in codes.items() for variant in names.split()),
            sentences=tuple(parts[name]),
            references=references[name],
            withheld=0.2 if name == "train" else 0.0,
            seed=seed + number,
        )
        for number, (name, codes) in enumerate(variants.items())
    }


def _spoken(plan: Plan) -> list[Reference]:
    """Returns every voice with every sentence of its language."""
    references = []
    for voice in plan.voices:
        espeak.check_voice(voice)
        language = re.split("[-+]", voice)[0]
        chosen = [(number, item) for number, item in enumerate(plan.sentences) if item.language == language]
        if not chosen:
            raise ValueError(f"voice {voice!r}: the plan has no sentence of the language {language!r}")
        references += [Reference(f"{voice}-{number:03d}", voice, item.text) for number, item in chosen]
    return references


def _recorded(clean: Path) -> list[Reference]:
    """Returns the recordings of a folder."""
    if not clean.is_dir():
        raise ValueError(f"{clean}: no such folder of clean speech")
    paths = sorted(p.relative_to(clean).as_posix() for p in clean.rglob("*") if p.suffix.lower() in AUDIO_SUFFIXES)
    references = [Reference(re.sub(r"[^\w.+-]", "_", os.path.splitext(path)[0]), None, path) for path in paths]
    named: dict[str, str] = {}
    for reference in references:
        if named.setdefault(reference.id, reference.source) != reference.source:
            both = f"{named[reference.id]} and {reference.source}"
            raise ValueError(f"{clean}: {both} give the same reference_id {reference.id}; rename one")
    return references


def _tasks(plan: Plan, references: list[Reference]) -> list[_Task]:
    """Draws references, their systems and their babble."""
    if len(references) < plan.references:
        text = f"the plan wants {plan.references} references, there are {len(references)} clean clips"
        raise ValueError(f"{text}; lower `references`, or add voices, sentences or recordings")
    rng = _generator(plan.seed, "tasks")
    drawn = [references[i] for i in rng.permutation(len(references))[: plan.references]]
    tasks: list[_Task] = []
    deck: list[System] = []
    for reference in drawn:
        systems: list[System] = []
        while len(systems) < plan.systems_per_reference:
            # Dealt like cards; what this reference already has waits for the next one.
            choice = next((system for system in deck if system not in systems), None)
            if choice is None:
                deck += [plan.systems[i] for i in rng.permutation(len(plan.systems))]
            else:
                deck.remove(choice)
                systems.append(choice)
        others = [r for r in drawn if r.voice != reference.voice] or [r for r in drawn if r != reference] or drawn
        talkers = tuple(others[i] for i in rng.permutation(len(others))[:_TALKERS])
        tasks.append(_Task(reference, tuple(systems), talkers))
    return tasks


def _run(
    tasks: list[_Task], folder: Path, plan: Plan, clean: Path | None, processes: int
) -> Iterator[list[dict[str, Any]]]:
    """Yields the rows of each task, in any order."""
    # Not forked: the caller may hold threads of jax. One process too is a new one, so that it works as several do.
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(min(processes, len(tasks)), mp_context=context) as pool:
        with one_thread_each():
            futures = [pool.submit(_make, task, folder, plan, clean) for task in tasks]
        try:
            for future in as_completed(futures):
                yield future.result()
        finally:
            pool.shutdown(wait=True, cancel_futures=True)


def _make(task: _Task, folder: Path, plan: Plan, clean: Path | None) -> list[dict[str, Any]]:
    """Writes and labels the clips of one reference, and returns their rows."""
    reference = _clean_waveform(task.reference, plan.seed, clean)
    rows = []
    for system in task.systems:
        uid = f"{system.id}:{task.reference.id}"
        rng = _generator(plan.seed, uid)
        degraded = reference
        if system.kind != "clean":
            needed = task.talkers if system.kind == "babble" else ()
            talkers = [_clean_waveform(talker, plan.seed, clean) for talker in needed]
            degraded = DEGRADATIONS[system.degradation](reference, system.strength, rng, talkers)
        samples = _sixteen_bit(degraded, rng.uniform(*_LEVELS_DB))
        path = Path("audio", system.id, f"{task.reference.id}.flac")
        soundfile.write(folder / path, samples, SAMPLE_RATE_HZ, subtype="PCM_16")
        withheld = [name for name in plan.labels if rng.random() < plan.withheld]
        wanted = [name for name in plan.labels if name not in withheld]
        values = intrusive.measure(samples / 2**15, reference, wanted)
        origin = {"source": task.reference.source} if clean is not None else {"voice": task.reference.voice}
        rows.append(
            {
                "uid": uid,
                "audio_path": path.as_posix(),
                "duration": len(samples) / SAMPLE_RATE_HZ,
                "system_id": system.id,
                "reference_id": task.reference.id,
                "metrics": {name: round(value, 4) for name, value in values.items()},
                "meta": {
                    "kind": system.kind,
                    "degradation": system.degradation,
                    "strength": system.strength,
                    **origin,
                    "withheld": withheld,
                },
            }
        )
    return rows


def _clean_waveform(reference: Reference, seed: int, clean: Path | None) -> np.ndarray:
    """Speaks or reads a clean clip [T] float32, at most 5 s."""
    rng = _generator(seed, reference.id)
    if clean is not None:
        waveform = load_audio(clean / reference.source).waveform
    else:
        rate, pitch = (int(rng.integers(least, most, endpoint=True)) for least, most in (_RATES_WPM, _PITCHES))
        spoken, _ = espeak.synthesize(reference.source, reference.voice, rate=rate, pitch=pitch)
        # Rooms are never as silent as eSpeak's pauses, which would tell its speech from any degraded one.
        floor = 10 ** ((active_speech_level(spoken) + _FLOOR_DB) / 20)
        waveform = (spoken + floor * rng.standard_normal(len(spoken))).astype(np.float32)
    start = rng.integers(max(0, len(waveform) - _MAX_SAMPLES), endpoint=True)
    waveform = waveform[start : start + _MAX_SAMPLES]
    if not waveform.any():
        raise ValueError(f"{reference.source}: it is silent from {start / SAMPLE_RATE_HZ:g} s on; remove it")
    return waveform


def _sixteen_bit(waveform: np.ndarray, level_db: float) -> np.ndarray:
    """Scales to an RMS level in dB re full scale, less where the peak would reach it, and rounds to int16."""
    gain = 10 ** (level_db / 20) / max(float(np.sqrt(np.mean(waveform.astype(np.float64) ** 2))), 1e-12)
    gain = min(gain, _MAX_PEAK / max(float(np.abs(waveform).max()), 1e-12))
    return np.round(waveform * gain * 2**15).astype(np.int16)


def _generator(seed: int, name: str) -> np.random.Generator:
    """Returns a generator that depends on the seed and the name alone."""
    digest = hashlib.blake2b(f"{seed}:{name}".encode(), digest_size=16).digest()
    return np.random.default_rng(int.from_bytes(digest, "big"))


def _plan_text(plan: Plan, clean: Path | None, references: Iterable[Reference]) -> str:
    """Returns what a corpus depends on, as JSON: the plan, and the clean recordings by name and size."""
    content = {"format": _FORMAT, **dataclasses.asdict(plan)}
    if clean is not None:
        content["clean"] = {item.source: (clean / item.source).stat().st_size for item in references}
    return json.dumps(content, ensure_ascii=False, allow_nan=False, indent=1) + "\n"


def _claim(folder: Path, text: str) -> bool:
    """Makes the folder and its plan.json, or checks that it holds the same; returns whether it was there."""
    path = folder / "plan.json"
    if path.exists():
        if path.read_text("utf-8") != text:
            raise ValueError(f"{path} is another plan; give another folder, or delete {folder}")
        return True
    if (folder / "data.jsonl").exists():
        raise ValueError(f"{folder} holds a corpus that was not generated (no plan.json); give another folder")
    folder.mkdir(parents=True, exist_ok=True)
    files.write_text(path, text)
    return False
