"""The benchmark runs, and prints what it promises."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from launch.benchmark import distill_mos, memory, serve
from launch.benchmark.batches import training_flops
from launch.benchmark.models import published_config
from launch.benchmark.settings import Settings
from launch.benchmark.torch_reference.distill_mos import weights_file
from launch.benchmark.trainings import without_dropout
from urgentmos_jax.data.batching import BatchArrays
from urgentmos_jax.model.cost import clip_flops
from urgentmos_jax.weights.model_folder import load_folder
from urgentmos_jax.weights.published import PUBLISHED_ENCODERS

ROOT = Path(__file__).parents[2]
CASE = ROOT / "tests" / "golden" / "model" / "c1m5-mean-base"
WANTED = {
    "score": {"ours_audio_seconds_a_second", "padding_efficiency", "peak_memory_mb", "useful_share_of_matmul_rate"},
    "first": {"first_score_seconds_empty_cache", "first_score_seconds_filled_cache"},
    "train": {
        "loading_audio_seconds_a_second",
        "padding_efficiency_two_sided",
        "shapes",
        "planned_corpus_padding_efficiency_one_sided",
        "planned_corpus_padding_efficiency_two_sided",
        "planned_reference_padding_efficiency_two_sided",
        "planned_reference_shapes",
        "peak_memory_mb",
        "compile_seconds",
        "compile_seconds_a_shape",
        "ours_audio_seconds_a_second",
        "ours_seconds_a_step",
        "matmul_gflops",
        "useful_share_of_matmul_rate",
    },
    "prepare": {"prepare_seconds", "clips_a_second", "peak_memory_mb", "peak_memory_mb_60_times_as_long"},
    "evaluate-model": {"clips_seconds", "clips_and_pairs_seconds", "clips_and_pairs_over_clips", "pairs"},
    "step": {
        "ours_seconds_a_step",
        "ours_stored_seconds_a_step",
        "ours_over_stored",
        "checkpoint_seconds",
        "checkpoint_holds_up_seconds",
        "checksums_share_of_checkpoint",
    },
}


def program(tmp_path: Path, *arguments: str) -> dict:
    """Figures of a run, each of which is printed too."""
    file = tmp_path / "figures.json"
    command = [sys.executable, "-m", "launch.benchmark", *arguments, f"--json={file}"]
    environment = {
        name: value for name, value in os.environ.items() if name not in ("JAX_NUM_CPU_DEVICES", "XLA_FLAGS")
    }
    run = {"env": environment, "cwd": ROOT, "capture_output": True, "text": True, "timeout": 300}
    out = subprocess.run(command, check=True, **run).stdout
    figures = json.loads(file.read_text())
    assert all(name in out for name in figures)
    return figures


@pytest.mark.slow
@pytest.mark.parametrize("what", ["score", "first", "train", "step", "evaluate-model"])
def test_figures(tmp_path, model_folder, what: str):
    figures = program(tmp_path, what, f"--model={model_folder}", "--clips=6", "--rounds=1")
    assert all(np.isfinite(v) and v > 0 for v in figures.values() if isinstance(v, (int, float)))
    assert WANTED[what] <= figures.keys()
    if what in ("score", "train"):
        assert figures["clips"] == 6
        assert all(0.3 < value <= 1 for name, value in figures.items() if "padding_efficiency" in name)


def test_memory_of_preparing_does_not_grow_with_audio(tmp_path):
    figures = program(tmp_path, "prepare", "--clips=300")
    assert WANTED["prepare"] <= figures.keys() and figures["clips"] == 300
    assert figures["peak_memory_mb_60_times_as_long"] < 1.1 * figures["peak_memory_mb"]


@pytest.mark.slow
def test_memory_follows_neither_the_number_nor_the_length_of_recordings(tmp_path):
    figures = memory.measure(Settings(scratch=tmp_path), cases=((120, 20, 60), (1200, 2, 5)))
    ratios = [value for name, value in figures.items() if "over" in name]
    assert len(ratios) == 4 and max(ratios) <= 1.3, figures


@pytest.mark.slow
def test_the_service_under_load(tmp_path):
    pytest.importorskip("uvicorn")
    figures = serve.measure(Settings(scratch=tmp_path, rounds=1), seconds=3, rate=20, clients=4)
    assert figures["requests"] == 60 and figures["p50_ms"] <= figures["p99_ms"]
    assert figures["batched_over_one_by_one"] > 0 and figures["batched_requests_a_second"] > 0


@pytest.mark.torch
def test_score_against_torch(tmp_path):
    figures = program(tmp_path, "score", "--clips=2", "--rounds=1", "--against=torch")
    assert figures["largest_difference"] < 1e-4
    assert figures["ours_over_torch_batches"] > 0 and figures["ours_over_torch_single"] > 0


@pytest.mark.torch
def test_train_against_torch(tmp_path, model_folder):
    weights = [f"--model={model_folder}", f"--checkpoint={CASE / 'model.pt'}", f"--encoder={CASE / 'encoder'}"]
    figures = program(tmp_path, "train", "--clips=3", "--rounds=1", "--against=torch", *weights)
    assert figures["loss_difference"] < 1e-4 and figures["gradient_norm_difference"] < 1e-3
    assert figures["ours_over_torch"] > 0 and figures["torch_audio_seconds_a_second"] > 0


@pytest.mark.torch
def test_distill_mos_against_its_package(tmp_path):
    try:
        weights_file()
    except ModuleNotFoundError as error:
        pytest.skip(str(error))
    figures = program(tmp_path, "distill-mos", "--clips=2", "--rounds=1")
    assert figures["clips"] == 2 and 0 <= figures["largest_difference"] < 1e-4
    assert figures["ours_over_package"] == pytest.approx(
        figures["ours_audio_seconds_a_second"] / figures["package_audio_seconds_a_second"]
    )


def test_distill_mos_says_how_to_get_its_package(tmp_path, monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(SystemExit, match=r"distillmos, xls_r_sqa missing: .*pip install --no-deps distillmos"):
        distill_mos.measure(Settings(scratch=tmp_path))


@pytest.mark.torch
def test_only_like_things_are_compared(model_folder):
    import torch

    from launch.benchmark.trainings import Theirs, agreement

    rng = np.random.default_rng(0)
    batch = BatchArrays(
        waveform=rng.normal(0, 0.1, (3, 2, 16000)).astype(np.float32),
        states={},
        lengths=np.array([[16000, 9000], [12345, 12000], [0, 0]], np.int32),
        labels=rng.uniform(1, 5, (3, 2, 5)).astype(np.float32),
        label_mask=rng.random((3, 2, 5)) < 0.7,
        cmos=np.array([[1.5], [-0.2], [0]], np.float32),
        cmos_mask=np.array([[True], [True], [False]]),
    )
    batch.label_mask[2] = False
    module, theirs = load_folder(model_folder)[0], Theirs(CASE / "model.pt", CASE / "encoder")
    assert max(agreement(module, theirs, batch).values()) < 1e-4
    with torch.no_grad():
        theirs._parameters[-1].add_(0.1)
    with pytest.raises(SystemExit, match="losses differ"):
        agreement(module, theirs, batch)


def test_nothing_is_dropped_out_without_dropout():
    config = without_dropout(published_config())
    assert config.category.dropout == 0 and "dropout=0.1" not in repr(config)
    assert config.categories == published_config().categories and config.encoders == published_config().encoders


@pytest.mark.parametrize(
    ("architecture", "seconds", "gflop"),
    [
        ("microsoft/wavlm-base-plus", 1, 13.8),
        ("microsoft/wavlm-base-plus", 30, 500.3),
        ("microsoft/wavlm-large", 10, 384.0),
    ],
)
def test_operations_equal_counted_ones(architecture: str, seconds: int, gflop: float):
    config = PUBLISHED_ENCODERS[architecture]
    assert config.flops(seconds * 16000) / 1e9 == pytest.approx(gflop, rel=0.01)


@pytest.mark.parametrize(
    ("name", "seconds", "gflop"),
    [
        ("Atotti/Kimi-Audio-Whisper-Encoder", 3, 2274),
        ("Atotti/AFWhisper", 30, 2274),
        *(("giangndm/qwen3-30b-omni-audio-encoder", s, g) for s, g in ((1, 20.9), (10, 209.3), (30, 628.0))),
    ],
)
def test_operations_of_encoders_behind_log_mel(name: str, seconds: int, gflop: float):
    # The figures of Qwen3-Omni are without the products of attention, about one percent.
    assert PUBLISHED_ENCODERS[name].flops(seconds * 16000) / 1e9 == pytest.approx(gflop, rel=0.015)


def test_operations_of_the_published_model():
    config = published_config()
    samples, frames = 160000, 499
    # Six layers of width 768 and 2048 feed-forward, and the projection.
    category = 2 * 6 * frames * (4 * 768**2 + 2 * 768 * 2048 + 2 * frames * 768) + 2 * frames * 768**2
    encoder = config.encoders[0].architecture.flops(samples)
    assert clip_flops(config, samples) == pytest.approx(encoder + category, rel=1e-6)
    # In both orders: queries, keys, values and output of each frame, scores and weighted sum of each pair of frames.
    crossed = 2 * (2 * 4 * frames * 768**2 + 2 * 2 * frames**2 * 768)
    lengths = ([[samples], [0]], [[samples, samples]])
    one, two = ([BatchArrays(None, {}, np.array(each), None, None, None, None)] for each in lengths)
    assert training_flops(config, one) == pytest.approx(encoder + 3 * category, rel=1e-6)
    assert training_flops(config, two) == pytest.approx(2 * encoder + 3 * (2 * category + crossed), rel=1e-6)
