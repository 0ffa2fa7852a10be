"""Generates a corpus: clean speech, degraded by known systems and labelled against itself.

The speech is eSpeak NG's, or any folder of clean recordings. Labels are the intrusive metrics of
`urgentmos_jax.labels.intrusive`. No person has listened: such a corpus shows that training works, and says nothing
about human opinion.
"""

import dataclasses
import hashlib
import json
import multiprocessing
import os
import re
from collections.abc import Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import soundfile

from urgentmos_jax import files
from urgentmos_jax.audio.loading import SAMPLE_RATE_HZ, load_audio
from urgentmos_jax.labels import intrusive
from urgentmos_jax.labels.workers import one_thread_each
from urgentmos_jax.manifests.lists import find_recordings
from urgentmos_jax.manifests.records import LABEL_DECIMALS, Utterance
from urgentmos_jax.manifests.writing import write_utterances
from urgentmos_jax.synthesis import espeak
from urgentmos_jax.synthesis.degradations import DEGRADATIONS
from urgentmos_jax.synthesis.plans import Plan, System
from urgentmos_jax.synthesis.speech_level import active_speech_level

_FORMAT = 1  # To be raised when the same plan gives other clips.
_MAX_SAMPLES = 5 * SAMPLE_RATE_HZ
_RATES_WPM = (150, 190)
_PITCHES = (30, 70)
_FLOOR_DB = -60
_LEVELS_DB = (-36, -20)
_MAX_PEAK = 0.9
_TALKERS = 4


@dataclass(frozen=True)
class Reference:
    """A clean clip: eSpeak's voice and sentence, or a recording.

    Attributes:
        id: Unique in the corpus, without white space.
        voice: eSpeak voice; empty for a recording.
        source: The sentence, or the recording's path relative to the folder of clean speech.
    """

    id: str
    voice: str
    source: str


@dataclass(frozen=True)
class _Task:
    """A reference, the systems that degrade it, and the other talkers of its babble."""

    reference: Reference
    systems: tuple[System, ...]
    talkers: tuple[Reference, ...]


def generate(
    folder: Path, plan: Plan, *, clean: Path | None = None, processes: int | None = None, progress: bool = True
) -> Path:
    """Generates a corpus, or returns the one that is there.

    The same arguments give the same bytes, with any number of processes. It writes 16-bit FLAC files at 16 kHz,
    `audio/<system_id>/<reference_id>.flac`, of random level and at most 5 s; `plan.json`; and last of all
    `data.jsonl`, so that an interrupted run leaves no manifest and may be started again. Labels are computed from
    the written samples against the clean waveform.

    Worker processes import the main module again: it needs the guard `if __name__ == "__main__"`, and they start
    faster if it imports little at its top.

    Args:
        folder, plan: Where the corpus goes, and what it is made of.
        clean: Folder of clean recordings to use in place of eSpeak, read by `load_audio`; of those longer than 5 s,
            a random 5 s are used.
        processes: Worker processes; by default one a core.
        progress: Whether to show a progress bar on standard error.

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
    rows: list[Utterance] = []
    with files.progress(None, sum(len(task.systems) for task in tasks), "clip", hidden=not progress) as bar:
        for made in _run(tasks, folder, plan, clean, processes or os.cpu_count() or 1):
            rows += made
            bar.update(len(made))
    write_utterances(manifest, rows)
    return manifest


def _spoken(plan: Plan) -> list[Reference]:
    """Returns every voice with every sentence of its language."""
    references = []
    for voice in plan.voices:
        espeak.check_voice(voice)
        language = re.split("[-+]", voice)[0]
        chosen = [(number, item) for number, item in enumerate(plan.sentences) if item.language == language]
        if not chosen:
            raise ValueError(f"voice {voice!r}: the plan has no sentence in the language {language!r}")
        references += [Reference(f"{voice}-{number:03d}", voice, item.text) for number, item in chosen]
    return references


def _recorded(clean: Path) -> list[Reference]:
    """Returns the recordings of a folder."""
    if not clean.is_dir():
        raise ValueError(f"{clean}: no such folder of clean speech")
    paths = sorted(path.relative_to(clean).as_posix() for path in find_recordings(clean))
    references = [Reference(re.sub(r"[^\w.+-]", "_", os.path.splitext(path)[0]), "", path) for path in paths]
    named: dict[str, str] = {}
    for reference in references:
        if named.setdefault(reference.id, reference.source) != reference.source:
            both = f"{named[reference.id]} and {reference.source}"
            raise ValueError(f"{clean}: {both} have the same reference_id {reference.id}; rename one")
    return references


def _tasks(plan: Plan, references: list[Reference]) -> list[_Task]:
    """Samples references, their systems and the talkers of their babble."""
    if len(references) < plan.references:
        text = f"the plan needs {plan.references} references, but there are {len(references)} clean clips"
        raise ValueError(f"{text}; lower `references`, or add voices, sentences or recordings")
    rng = _generator(plan.seed, "tasks")
    chosen = [references[i] for i in rng.permutation(len(references))[: plan.references]]
    tasks: list[_Task] = []
    deck: list[System] = []
    for reference in chosen:
        systems: list[System] = []
        while len(systems) < plan.systems_per_reference:
            # Dealt like cards; a system that this reference already has waits for the next reference.
            choice = next((system for system in deck if system not in systems), None)
            if choice is None:
                deck += [plan.systems[i] for i in rng.permutation(len(plan.systems))]
            else:
                deck.remove(choice)
                systems.append(choice)
        others = [r for r in chosen if r.voice != reference.voice] or [r for r in chosen if r != reference] or chosen
        talkers = tuple(others[i] for i in rng.permutation(len(others))[:_TALKERS])
        tasks.append(_Task(reference, tuple(systems), talkers))
    return tasks


def _run(tasks: list[_Task], folder: Path, plan: Plan, clean: Path | None, processes: int) -> Iterator[list[Utterance]]:
    """Yields the rows of each task, in any order."""
    # Not forked: the caller may hold threads of jax. A single worker too is a new process, so that it behaves alike.
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(min(processes, len(tasks)), mp_context=context) as pool:
        with one_thread_each():
            futures = [pool.submit(_make, task, folder, plan, clean) for task in tasks]
        try:
            for future in as_completed(futures):
                yield future.result()
        finally:
            pool.shutdown(wait=True, cancel_futures=True)


def _make(task: _Task, folder: Path, plan: Plan, clean: Path | None) -> list[Utterance]:
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
        labels = {name: round(value, LABEL_DECIMALS) for name, value in values.items()}
        origin = {"source": task.reference.source} if clean is not None else {"voice": task.reference.voice}
        made = {"kind": system.kind, "degradation": system.degradation, "strength": system.strength}
        meta = {**made, **origin, "withheld": withheld}
        duration = len(samples) / SAMPLE_RATE_HZ
        rows.append(Utterance(uid, path.as_posix(), duration, system.id, task.reference.id, labels, meta))
    return rows


def _clean_waveform(reference: Reference, seed: int, clean: Path | None) -> np.ndarray:
    """Speaks or reads a clean clip [T] float32, at most 5 s."""
    rng = _generator(seed, reference.id)
    if clean is not None:
        waveform = load_audio(clean / reference.source).waveform
    else:
        rate, pitch = (int(rng.integers(low, high, endpoint=True)) for low, high in (_RATES_WPM, _PITCHES))
        spoken, _ = espeak.synthesize(reference.source, reference.voice, rate=rate, pitch=pitch)
        # No room is as silent as eSpeak's pauses, which would give its clean speech away.
        floor = 10 ** ((active_speech_level(spoken) + _FLOOR_DB) / 20)
        waveform = (spoken + floor * rng.standard_normal(len(spoken))).astype(np.float32)
    start = rng.integers(max(0, len(waveform) - _MAX_SAMPLES), endpoint=True)
    waveform = waveform[start : start + _MAX_SAMPLES]
    if not waveform.any():
        raise ValueError(f"{reference.source}: silent from {start / SAMPLE_RATE_HZ:g} s on; remove it")
    return waveform


def _sixteen_bit(waveform: np.ndarray, level_db: float) -> np.ndarray:
    """Scales to an RMS level in dB re full scale, or lower where the peak would clip, and rounds to int16."""
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
    """Writes the folder's plan.json, or checks that it is the same; returns whether it was there."""
    path = folder / "plan.json"
    if path.exists():
        if path.read_text("utf-8") != text:
            raise ValueError(f"{path} holds another plan; give another folder, or delete {folder}")
        return True
    if (folder / "data.jsonl").exists():
        raise ValueError(f"{folder} holds a corpus that was not generated (no plan.json); give another folder")
    folder.mkdir(parents=True, exist_ok=True)
    files.write_text(path, text)
    return False
