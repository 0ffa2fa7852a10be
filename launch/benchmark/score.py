"""Throughput of scoring, over clips of a real distribution of lengths."""

import statistics
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import numpy as np

from launch.benchmark.clips import speech
from launch.benchmark.measuring import MATMUL_FLOPS, in_rounds, matmul_turn, timed
from launch.benchmark.models import model_files
from launch.benchmark.peak import peak_memory_mb
from launch.benchmark.settings import Settings
from urgentmos_jax.audio.loading import SAMPLE_RATE_HZ
from urgentmos_jax.model.cost import clip_flops
from urgentmos_jax.scoring.model import Model
from urgentmos_jax.weights.model_folder import load_folder

SCORES_AGREE = 1e-4


def measure(settings: Settings) -> dict[str, Any]:
    """Returns the throughput of scoring, compile time and memory."""
    clips, figures = speech(settings)
    folder, checkpoint, encoder = model_files(settings)
    module, _ = load_folder(folder)
    model = Model(module, batch_seconds=settings.batch_seconds)
    seconds = sum(map(len, clips)) / SAMPLE_RATE_HZ
    figures |= {
        "clips": len(clips),
        "audio_seconds": seconds,
        "padding_efficiency": model.padding_efficiency([len(clip) for clip in clips]),
    }

    turns: dict[str, Callable[[], Any]] = {"ours": lambda: score_ours(model, clips)}
    cold = timed(turns["ours"])[0]
    figures |= {"compiled_shapes": len(model.compiled_shapes), "peak_memory_mb": peak_memory_mb()}
    if settings.against_torch:
        turns |= torch_turns(checkpoint, encoder, clips)
    turns["matmul"] = matmul_turn()
    times = []
    for taken, results in in_rounds(turns, settings):
        times.append(taken)
        if settings.against_torch:
            figures["largest_difference"] = float(np.abs(results["ours"] - results["torch_single"]).max())
            if not figures["largest_difference"] <= SCORES_AGREE:
                raise SystemExit(f"scores differ by {figures['largest_difference']}: no benchmark of unlike things")

    median = {name: statistics.median(taken[name] for taken in times) for name in turns}
    rate = MATMUL_FLOPS / median["matmul"]
    work = sum(clip_flops(model.config, len(clip)) for clip in clips)
    figures |= {
        "compile_seconds": cold - median["ours"],
        "ours_audio_seconds_a_second": seconds / median["ours"],
        "matmul_gflops": rate / 1e9,
        "useful_share_of_matmul_rate": work / median["ours"] / rate,
    }
    for name in ("torch_batches", "torch_single"):
        if name in median:
            figures[f"{name}_audio_seconds_a_second"] = seconds / median[name]
            figures[f"ours_over_{name}"] = statistics.median(taken[name] / taken["ours"] for taken in times)
    return figures


def score_ours(model: Model, clips: list[np.ndarray]) -> np.ndarray:
    """Scores [clips, metrics]."""
    return np.array([list(row["scores"].values()) for row in model.score(clips, sample_rate=SAMPLE_RATE_HZ)])


def torch_turns(checkpoint: Path, encoder: Path, clips: list[np.ndarray]) -> dict[str, Callable[[], np.ndarray]]:
    """Returns the torch reference in batches of 32 by length, and clip by clip; both return scores [clips, metrics]."""
    import torch

    from launch.benchmark.torch_reference.checkpoints import from_checkpoint

    device = "cuda" if torch.cuda.is_available() and jax.default_backend() == "gpu" else "cpu"
    model = from_checkpoint(checkpoint, [encoder]).to(device)
    tensors = [torch.from_numpy(clip).to(device) for clip in clips]
    order = sorted(range(len(clips)), key=lambda i: len(clips[i]))

    @torch.inference_mode()
    def run(size: int) -> np.ndarray:
        found = np.empty((len(clips), len(model.metrics)))
        for start in range(0, len(order), size):
            rows = order[start : start + size]
            values = model([tensors[i] for i in rows])
            found[rows] = np.stack([values[name].cpu().numpy() for name in model.metrics], 1)
        return found

    return {"torch_batches": lambda: run(32), "torch_single": lambda: run(1)}
