"""Fixtures: golden files, a tiny model folder, speech-like clips."""

import os
from pathlib import Path
from typing import Any

# Eight devices, as sharding tests need them; before jax starts.
os.environ.setdefault("JAX_NUM_CPU_DEVICES", "8")
# Compiling is most of the time these small models take. `.ci/run` runs the golden tests with full optimisation too.
# With the other scheduler, eight devices on two busy cores can wait for each other for ever (seen with jax 0.11).
os.environ.setdefault(
    "XLA_FLAGS", "--xla_backend_optimization_level=0 --xla_cpu_enable_concurrency_optimized_scheduler=false"
)

import json

import jax
import numpy as np
import pytest
import soundfile

UPDATES = 7  # Of `tiny_config`.
GOLDEN = Path(os.environ.get("URGENTMOS_GOLDEN") or Path(__file__).parent / "golden")


@pytest.fixture(scope="session")
def golden() -> Path:
    return GOLDEN


@pytest.fixture(scope="session", autouse=True)
def _user_cache(tmp_path_factory):
    """Nothing of the tests lands in the user's cache folder."""
    os.environ["XDG_CACHE_HOME"] = str(tmp_path_factory.mktemp("cache"))
    jax.config.update("jax_default_matmul_precision", "highest")
    # Many tests build the same small programs anew; compiling is most of the time they take.
    base = tmp_path_factory.getbasetemp()
    shared = base.parent if "PYTEST_XDIST_WORKER" in os.environ else base
    jax.config.update("jax_compilation_cache_dir", str(shared / "compiled"))
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0)


@pytest.fixture(scope="session")
def model_folder(tmp_path_factory) -> Path:
    """A tiny model with a group-norm encoder, converted from the golden checkpoint."""
    from urgentmos_jax.authors import read_checkpoint
    from urgentmos_jax.model.released import save_folder

    case = Path(__file__).parent / "golden" / "model" / "c1m5-mean-base"
    checkpoint = read_checkpoint(case / "model.pt", [case / "encoder"])
    folder = tmp_path_factory.mktemp("model") / "c1m5"
    save_folder(folder, checkpoint.module, checkpoint.origin)
    return folder


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
