"""One model under several runtimes, on rows of one length: ours, torch eager and compiled, ONNX Runtime."""

import logging
import statistics
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from launch.benchmark.clips import speech
from launch.benchmark.measuring import MATMUL_FLOPS, in_rounds, matmul_turn, tell, timed
from launch.benchmark.models import model_files
from launch.benchmark.settings import Settings
from urgentmos_jax.audio.loading import SAMPLE_RATE_HZ
from urgentmos_jax.exporting.onnx import to_onnx
from urgentmos_jax.exporting.program import program_of
from urgentmos_jax.model.cost import clip_flops
from urgentmos_jax.scoring.model import Model
from urgentmos_jax.weights.model_folder import load_folder

SECONDS = 4.0
# Rows of a batch: of all at once, and one by one.
ROWS = {"batches": 8, "single": 1}
SCORES_AGREE = 1e-4


def measure(settings: Settings) -> dict[str, Any]:
    """Returns audio seconds a second of each, in batches of 8 rows of 4 s and row by row, and its ratio to ours.

    The clips are cut, one behind the other, into as many rows as --clips says. They are computed as they are: nobody
    pads them, and nobody plans batches, as `score` does with clips as they come. Everyone compiles before the first
    round.

    Raises:
        SystemExit: A score differs from ours by more than 1e-4.
    """
    clips, figures = speech(settings)
    samples = round(SECONDS * SAMPLE_RATE_HZ)
    stream = np.concatenate(clips)
    count = min(settings.clips, len(stream) // samples) // ROWS["batches"] * ROWS["batches"]
    if not count:
        least = f"--clips={ROWS['batches']} at least, and {ROWS['batches'] * SECONDS:g} s of audio"
        raise SystemExit(f"launch.benchmark runtimes: give {least}")
    rows = stream[: count * samples].reshape(count, samples)
    folder, checkpoint, encoder = model_files(settings)
    module, _ = load_folder(folder)
    model = Model(module)
    scorers = {"ours": _ours(model), "onnxruntime": _onnx(model)}
    if checkpoint and encoder:
        scorers |= _torch(checkpoint, encoder)

    turns: dict[str, Callable[[], Any]] = {}
    for name, scorer in scorers.items():
        for kind, size in ROWS.items():
            turns[f"{name}_{kind}"] = lambda scorer=scorer, size=size: _by(scorer, rows, size)
            first, _ = timed(lambda scorer=scorer, size=size: scorer(rows[:size]))
            tell(f"{name}, {size} rows: {first:.1f} s at first")
    turns["matmul"] = matmul_turn()
    times = []
    for taken, results in in_rounds(turns, settings):
        times.append(taken)
        wanted = results["ours_batches"]
        found = {name: float(np.abs(one - wanted).max()) for name, one in results.items() if name != "matmul"}
        figures["largest_difference"] = max(found.values())
        if not figures["largest_difference"] <= SCORES_AGREE:
            raise SystemExit(f"scores differ by {found}: no benchmark of unlike things")

    rate = MATMUL_FLOPS / statistics.median(one["matmul"] for one in times)
    audio = count * SECONDS
    figures |= {"rows": count, "audio_seconds": audio, "matmul_gflops": rate / 1e9}
    for name in scorers:
        for kind in ROWS:
            turn = f"{name}_{kind}"
            seconds = statistics.median(one[turn] for one in times)
            figures[f"{turn}_audio_seconds_a_second"] = audio / seconds
            if name == "ours":
                figures[f"{turn}_share_of_matmul_rate"] = count * clip_flops(model.config, samples) / seconds / rate
            else:
                figures[f"ours_over_{turn}"] = statistics.median(one[turn] / one[f"ours_{kind}"] for one in times)
    return figures


def _by(scorer: Callable[[np.ndarray], np.ndarray], rows: np.ndarray, size: int) -> np.ndarray:
    return np.concatenate([scorer(rows[at : at + size]) for at in range(0, len(rows), size)])


def _ours(model: Model) -> Callable[[np.ndarray], np.ndarray]:
    def run(rows: np.ndarray) -> np.ndarray:
        lengths = np.full(len(rows), rows.shape[1], np.int32)
        scores, _, _ = model.engine.encode(model.params, rows, lengths, frames=False, features=False)
        return np.stack([np.asarray(scores[name][0]) for name in model.metrics], 1)

    return run


def _onnx(model: Model) -> Callable[[np.ndarray], np.ndarray]:
    """Our export, of rows of one length, which every encoder knows."""
    content = to_onnx(program_of(model, SECONDS))
    import onnxruntime

    session = onnxruntime.InferenceSession(content, providers=["CPUExecutionProvider"])

    def run(rows: np.ndarray) -> np.ndarray:
        lengths = np.full(len(rows), rows.shape[1], np.int32)
        return np.stack(session.run(None, {"waveform": rows, "lengths": lengths}), 1)

    return run


def _torch(checkpoint: Path, encoder: Path) -> dict[str, Callable[[np.ndarray], np.ndarray]]:
    """The reference, as it is and compiled for these shapes."""
    import torch

    from launch.benchmark.torch_reference.checkpoints import from_checkpoint

    torch._logging.set_logs(dynamo=logging.ERROR)
    warnings.filterwarnings("ignore", module="torch")
    model = from_checkpoint(checkpoint, [encoder])

    def scorer(call: Callable[[Any], Any]) -> Callable[[np.ndarray], np.ndarray]:
        def run(rows: np.ndarray) -> np.ndarray:
            with torch.inference_mode():
                values = call([torch.from_numpy(row) for row in rows])
            return np.stack([values[name].numpy() for name in model.metrics], 1)

        return run

    return {"torch": scorer(model), "torch_compiled": scorer(torch.compile(model))}
