"""Speed and memory, measured here and now: `python -m launch.benchmark score|first|train|step|prepare|evaluate`.

score: audio seconds a second over clips of a real distribution of lengths. Ours, the torch assembly in batches of 32
by length, the same clip by clip, and a float32 matrix product take turns in each round, so that a machine whose speed
drifts is fair to all; medians and ratios are printed.

first: seconds from the start of a process to the first score, with an empty and with a filled compile cache.

train: audio seconds a second of training steps on clips with random labels and pairs drawn from the corpus, in turns
with the torch assembly on the same clips, labels and pairs; padding and shapes of the batches, loading alone.

step: one update with 8 clips of 4 s in 4 pairs, the encoder frozen: ours, ours with stored states of the encoder, and
the torch assembly in turns; a checkpoint, and what its checksums take of it.

prepare: a corpus of --clips recordings (60000 are about PSTN) becomes a manifest; again with recordings 60 times as
long, since memory must not grow with audio.

evaluate: predictions of --clips clips (100000, say) of 50 systems against labels, all figures with intervals.

--against torch measures the torch assembly in the same run. Without --model the published F1C1M5 architecture with
random weights is measured: speed does not depend on them.
"""

import json
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import numpy as np
from absl import app, flags, logging
from flax import nnx

from configs import f1c1m5_d_corpus
from launch.clips import generated
from launch.measuring import MATMUL_FLOPS, in_rounds, machine, matmul_turn, peak_memory_mb, process_seconds, timed
from urgentmos_jax.audio.loading import SAMPLE_RATE_HZ, load_audio
from urgentmos_jax.cli.common import find_recordings
from urgentmos_jax.model.flops import clip_flops
from urgentmos_jax.model.urgentmos import ModelConfig, UrgentMOS
from urgentmos_jax.scoring.model import Model
from urgentmos_jax.training.config import read_config
from urgentmos_jax.training.start import model_config
from urgentmos_jax.weights.model_folder import load_folder, save_folder

_MODEL = flags.DEFINE_string("model", None, "Model folder; none: the published architecture, random weights.")
_CHECKPOINT = flags.DEFINE_string("checkpoint", None, "The authors' model.pt that --model was made of, for torch.")
_ENCODER = flags.DEFINE_string("encoder", None, "Folder with the encoder's config, for --checkpoint.")
_AUDIO = flags.DEFINE_string("audio", None, "Folder of recordings; none: generated clips.")
_CLIPS = flags.DEFINE_integer("clips", 64, "Clips, at most.", lower_bound=1)
_ROUNDS = flags.DEFINE_integer("rounds", 3, "Rounds, each with one turn for everyone.", lower_bound=1)
_BATCH_SECONDS = flags.DEFINE_float("batch_seconds", None, "Audio a batch; none suits the device.")
_AGAINST = flags.DEFINE_enum("against", None, ["torch"], "Measure the torch assembly in the same run.")
_JSON = flags.DEFINE_string("json", None, "Write the figures to this file.")

SCORES_AGREE = 1e-4
GENERATED = "generated, lengths log-normal around 4.5 s"


def main(argv: list[str]) -> None:
    """Runs one benchmark."""
    commands = {one.__name__: one for one in (score, first, train, step, prepare, evaluate)}
    if len(argv) != 2 or argv[1] not in commands:
        raise app.UsageError(f"say what to measure: {', '.join(commands)}")
    logging.set_verbosity(logging.WARNING)  # Orbax tells of every array it writes.
    with tempfile.TemporaryDirectory() as scratch:
        figures = commands[argv[1]](Path(scratch))
    figures = {**machine(), **figures}
    width = max(map(len, figures))
    for name, value in figures.items():
        if isinstance(value, float):
            value = f"{value:.3f}" if value >= 1e-3 else f"{value:.2g}"
        print(f"{name:<{width}}  {value}")
    if _JSON.value:
        Path(_JSON.value).write_text(json.dumps(figures, indent=1) + "\n", encoding="utf-8")


def score(scratch: Path) -> dict[str, Any]:
    """Throughput of scoring."""
    clips, figures = speech(_CLIPS.value)
    folder, checkpoint, encoder = model_files(scratch)
    module, _ = load_folder(folder)
    model = Model(module, batch_seconds=_BATCH_SECONDS.value)
    seconds = sum(map(len, clips)) / SAMPLE_RATE_HZ
    figures |= {
        "clips": len(clips),
        "audio_seconds": seconds,
        "padding_efficiency": model.padding_efficiency([len(clip) for clip in clips]),
    }

    turns: dict[str, Callable[[], Any]] = {"ours": lambda: score_ours(model, clips)}
    cold = timed(turns["ours"])[0]
    figures |= {"compiled_shapes": model._score._cache_size(), "peak_memory_mb": peak_memory_mb()}
    if _AGAINST.value:
        turns |= torch_turns(checkpoint, encoder, clips)
    turns["matmul"] = matmul_turn()
    times = []
    for taken, results in in_rounds(turns, _ROUNDS.value):
        times.append(taken)
        if _AGAINST.value:
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


def first(scratch: Path) -> dict[str, Any]:
    """From the start of a process to the first score of a clip of 4 s."""
    import soundfile

    folder, checkpoint, encoder = model_files(scratch)
    clip = scratch / "clip.wav"
    soundfile.write(clip, next(generated(1, seconds=4.0)), SAMPLE_RATE_HZ)
    ours = f"import urgentmos_jax as u; print(u.load_model({str(folder)!r}).score([{str(clip)!r}])[0]['scores'])"
    cache = {"XDG_CACHE_HOME": str(scratch / "cache")}
    figures = {"first_score_seconds_empty_cache": process_seconds(ours, cache)}
    warm = [process_seconds(ours, cache) for _ in range(_ROUNDS.value)]
    figures["first_score_seconds_filled_cache"] = statistics.median(warm)
    if _AGAINST.value:
        theirs = (
            "import pathlib, soundfile, torch; from launch.torch_assembly import from_checkpoint; "
            f"m = from_checkpoint(pathlib.Path({str(checkpoint)!r}), [pathlib.Path({str(encoder)!r})]); "
            f"x = torch.from_numpy(soundfile.read({str(clip)!r}, dtype='float32')[0])\n"
            "with torch.inference_mode(): print(m([x]))"
        )
        found = statistics.median(process_seconds(theirs, {}) for _ in range(_ROUNDS.value))
        figures |= {"first_score_seconds_torch": found}
        figures["torch_over_ours_filled_cache"] = found / figures["first_score_seconds_filled_cache"]
    return figures


def train(scratch: Path) -> dict[str, Any]:
    """Throughput of training steps."""
    import soundfile

    from launch.benchmark_train import measure
    from urgentmos_jax.manifests.reading import measure_durations

    folder, checkpoint, encoder = model_files(scratch)
    if _AUDIO.value:
        paths = chosen_recordings(_CLIPS.value)
    else:
        paths = [scratch / f"{place}.wav" for place in range(_CLIPS.value)]
        for path, clip in zip(paths, generated(_CLIPS.value), strict=True):
            soundfile.write(path, clip, SAMPLE_RATE_HZ)
    seconds = measure_durations([str(path) for path in paths])
    if faults := [str(found) for found in seconds if isinstance(found, Exception)]:
        raise SystemExit("recordings cannot be read: " + "; ".join(faults))
    figures = measure(
        load_folder(folder)[0],
        paths,
        seconds,
        batch_seconds=_BATCH_SECONDS.value,
        rounds=_ROUNDS.value,
        against=(checkpoint, encoder) if _AGAINST.value else None,
    )
    return {"audio": f"{len(paths)} recordings" if _AUDIO.value else GENERATED, **figures}


def step(scratch: Path) -> dict[str, Any]:
    """One update of a batch whose size is known, and a checkpoint."""
    from launch.benchmark_train import measure_step

    folder, checkpoint, encoder = model_files(scratch)
    against = (checkpoint, encoder) if _AGAINST.value else None
    return measure_step(load_folder(folder)[0], scratch / "checkpoints", rounds=_ROUNDS.value, against=against)


def model_files(scratch: Path) -> tuple[Path, Path | None, Path | None]:
    """Model folder, and the checkpoint and encoder folder with the same weights for torch."""
    if _MODEL.value:
        if _AGAINST.value and not (_CHECKPOINT.value and _ENCODER.value):
            raise app.UsageError("--against torch: with --model give --checkpoint and --encoder too")
        return Path(_MODEL.value), *(v and Path(v) for v in (_CHECKPOINT.value, _ENCODER.value))
    folder = scratch / "model"
    if not _AGAINST.value:
        save_folder(folder, UrgentMOS(published_config(), rngs=nnx.Rngs(0)), {"kind": "random weights"})
        return folder, None, None
    try:
        from launch import torch_assembly
    except ImportError as error:
        raise app.UsageError(f"--against torch: {error}; pip install torch") from None
    from transformers import WavLMConfig

    from urgentmos_jax.weights.urgent_mos import read_checkpoint

    model = torch_assembly.random_model(WavLMConfig(), False, torch_assembly.published_config(), 0)
    checkpoint = scratch / "model.pt"
    torch_assembly.save_checkpoint(model, checkpoint)
    (encoder,) = torch_assembly.save_encoder_configs(model, scratch)
    converted = read_checkpoint(checkpoint, [encoder])
    save_folder(folder, converted.module, converted.origin)
    return folder, checkpoint, encoder


def published_config() -> ModelConfig:
    """F1C1M5: WavLM-base-plus, one category of five metrics."""
    return model_config(read_config(f1c1m5_d_corpus.get_config()).model, offline=True)


def prepare(scratch: Path) -> dict[str, Any]:
    """A corpus becomes a manifest."""
    from launch.benchmark_prepare import measure

    return measure(scratch, _CLIPS.value)


def evaluate(scratch: Path) -> dict[str, Any]:
    """Predictions against labels."""
    from launch.benchmark_evaluate import measure

    return measure(scratch, _CLIPS.value)


def speech(count: int) -> tuple[list[np.ndarray], dict[str, Any]]:
    """Clips to score, and how fast they were decoded."""
    if not _AUDIO.value:
        return list(generated(count)), {"audio": GENERATED}
    chosen = chosen_recordings(count)
    start = time.perf_counter()
    clips = [load_audio(path).waveform for path in chosen]
    return clips, {
        "audio": f"{len(clips)} recordings",
        "decoded_files_a_second": len(clips) / (time.perf_counter() - start),
    }


def chosen_recordings(count: int) -> list[Path]:
    """Recordings below --audio, evenly over their names."""
    paths = find_recordings(Path(_AUDIO.value))
    return [paths[i] for i in np.linspace(0, len(paths) - 1, min(count, len(paths))).astype(int)]


def score_ours(model: Model, clips: list[np.ndarray]) -> np.ndarray:
    """Scores [clips, metrics]."""
    return np.array([list(row["scores"].values()) for row in model.score(clips, sample_rate=SAMPLE_RATE_HZ)])


def torch_turns(checkpoint: Path, encoder: Path, clips: list[np.ndarray]) -> dict[str, Callable[[], np.ndarray]]:
    """The torch assembly in batches of 32 by length, and clip by clip; both return scores [clips, metrics]."""
    import torch

    from launch.torch_assembly import from_checkpoint

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


if __name__ == "__main__":
    app.run(main)
