"""Clips, corpora and a config, small enough for tests."""

import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import soundfile

UPDATES = 7  # Of `tiny_config`.
TESTS = Path(__file__).parents[1]
ROOT = TESTS.parent
GOLDEN = Path(os.environ.get("URGENTMOS_GOLDEN") or TESTS / "golden")


def speech_like(seed: int, samples: int) -> np.ndarray:
    """Harmonics of a gliding pitch under a syllable envelope, with noise of a level of its own; float32 in [-1, 1]."""
    rng = np.random.default_rng(seed)
    time = np.arange(samples) / 16000
    pitch = rng.uniform(90, 250) * (1 + 0.1 * np.sin(2 * np.pi * rng.uniform(0.5, 2) * time))
    phase = 2 * np.pi * np.cumsum(pitch) / 16000
    tone = sum(np.sin(k * phase + rng.uniform(0, 6)) / k ** rng.uniform(0.6, 1.6) for k in range(1, 12))
    envelope = 0.5 + 0.5 * np.sin(2 * np.pi * rng.uniform(2, 6) * time + rng.uniform(0, 6))
    noise = rng.standard_normal(samples) * 10 ** rng.uniform(-3, 0)
    clip = tone * envelope + noise
    return (0.5 * clip / np.abs(clip).max()).astype(np.float32)


def write_corpus(
    folder: Path, lengths: list[int], *, seed: int = 0, metrics: tuple[str, ...] = ("mos_overall",)
) -> Path:
    """`data.jsonl` and a WAV file for each length in samples; label: louder noise is worse. Two clips a reference.

    Splits of a corpus need seeds that are far enough apart: uids count from the seed.
    """
    folder.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(seed)
    with (folder / "data.jsonl").open("w") as file:
        for i, samples in enumerate(lengths):
            noise = rng.uniform(0, 1)
            clip = speech_like(seed + i, samples) + 0.3 * noise * rng.standard_normal(samples)
            soundfile.write(folder / f"{i}.wav", 0.5 * clip / np.abs(clip).max(), 16000)
            row = {"uid": f"u{seed + i}", "audio_path": f"{i}.wav", "duration": samples / 16000}
            row |= {"system_id": f"s{i % 3}", "reference_id": f"r{i // 2}"}
            file.write(json.dumps(row | {"metrics": {name: round(4.4 - 3.4 * noise, 3) for name in metrics}}) + "\n")
    return folder / "data.jsonl"


def tiny_config(data: Path) -> Any:
    """Dropout, two batches an update, two-sided rows, an epoch of one and a half updates."""
    from configs.compact import get_config

    values = get_config()
    values.data.root = str(data)
    values.batch = dict(seconds=3.0, clips=3, accumulate=2)
    sizes = dict(hidden_size=8, num_attention_heads=2, intermediate_size=12, num_hidden_layers=1, mel_bins=16)
    values.model.encoders.compact.architecture.update(sizes)
    values.model.width = 8
    values.model.category.update(dict(heads=2, feedforward=12))
    values.update(dict(updates=UPDATES, save_every=3, validate_every=100, log_every=2))
    values.optimizer.warmup_updates = 1
    return values
