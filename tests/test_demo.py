"""The demo and the benchmark run, and print what they promise."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from urgentmos_jax.encoders.wav2vec2 import Wav2Vec2Config
from urgentmos_jax.model.flops import clip_flops, encoder_flops

ROOT = Path(__file__).parent.parent


def program(*arguments: str) -> str:
    command = [sys.executable, "-m", *arguments]
    environment = {
        name: value for name, value in os.environ.items() if name not in ("JAX_NUM_CPU_DEVICES", "XLA_FLAGS")
    }
    return subprocess.run(
        command, env=environment, cwd=ROOT, capture_output=True, text=True, timeout=300, check=True
    ).stdout


def test_demo(tmp_path):
    out = program("launch.demo", f"--workdir={tmp_path}")
    assert "random" in out and out.count("against") == 6
    rows = [json.loads(line) for line in (tmp_path / "scores.jsonl").read_text().splitlines()]
    assert len(rows) == 12 and len({row["scores"]["mos_overall"] for row in rows}) == 12


@pytest.mark.parametrize("what", ["score", "first"])
def test_benchmark(tmp_path, model_folder, what: str):
    flags = [f"--model={model_folder}", "--clips=5", "--rounds=1", f"--json={tmp_path / 'f.json'}"]
    out = program("launch.benchmark", what, *flags)
    figures = json.loads((tmp_path / "f.json").read_text())
    assert all(name in out for name in figures)
    assert all(np.isfinite(v) and v > 0 for v in figures.values() if isinstance(v, float))
    wanted = {
        "score": {"ours_audio_seconds_a_second", "padding_efficiency", "peak_memory_mb", "useful_share_of_matmul_rate"},
        "first": {"first_score_seconds_empty_cache", "first_score_seconds_filled_cache"},
    }
    assert wanted[what] <= figures.keys()
    if what == "score":
        assert figures["clips"] == 5 and 0.5 < figures["padding_efficiency"] <= 1


@pytest.mark.torch
def test_benchmark_against_torch(tmp_path):
    program("launch.benchmark", "score", "--clips=2", "--rounds=1", "--against=torch", f"--json={tmp_path / 'f.json'}")
    figures = json.loads((tmp_path / "f.json").read_text())
    assert figures["largest_difference"] < 1e-4
    assert figures["ours_over_torch_batches"] > 0 and figures["ours_over_torch_single"] > 0


@pytest.mark.parametrize(
    ("architecture", "seconds", "gflop"),
    [("wavlm_base_plus", 1, 13.8), ("wavlm_base_plus", 30, 500.3), ("wavlm_large", 10, 384.0)],
)
def test_operations_equal_counted_ones(architecture: str, seconds: int, gflop: float):
    config = getattr(Wav2Vec2Config, architecture)()
    assert encoder_flops(config, seconds * 16000) / 1e9 == pytest.approx(gflop, rel=0.01)


def test_operations_of_the_published_model():
    from launch.benchmark import published_config

    config = published_config()
    samples, frames = 160000, 499
    # Six layers of width 768 and 2048 feed-forward, and the projection.
    category = 2 * 6 * frames * (4 * 768**2 + 2 * 768 * 2048 + 2 * frames * 768) + 2 * frames * 768**2
    wanted = encoder_flops(config.encoders[0].architecture, samples) + category
    assert clip_flops(config, samples) == pytest.approx(wanted, rel=1e-6)
