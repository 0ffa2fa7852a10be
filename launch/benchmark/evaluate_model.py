"""Evaluating a model on clips and their pairs: each recording is encoded once, so pairs should cost little."""

import itertools
import statistics
from typing import Any

import numpy as np

from launch.benchmark.clips import recordings
from launch.benchmark.measuring import in_rounds, timed
from launch.benchmark.models import model_files
from launch.benchmark.settings import Settings
from urgentmos_jax.evaluation.datasets import read_datasets
from urgentmos_jax.evaluation.predicting import predict
from urgentmos_jax.manifests.durations import measure_durations
from urgentmos_jax.manifests.records import Pair, Utterance
from urgentmos_jax.manifests.writing import write_pairs, write_utterances
from urgentmos_jax.scoring.model import Model
from urgentmos_jax.weights.model_folder import load_folder

AIM = 1.15


def measure(settings: Settings) -> dict[str, Any]:
    """Returns seconds of predicting clips alone, and clips and pairs: each clip is in two pairs, once as A, once as B.

    Labels are random: only the model's part is measured, not the statistics.
    """
    folder, _, _ = model_files(settings)
    model = Model(load_folder(folder)[0], batch_seconds=settings.batch_seconds)
    (name,) = itertools.islice(model.comparative_metrics, 1)
    paths, description = recordings(settings)
    seconds = measure_durations([str(path) for path in paths])
    if faults := [str(found) for found in seconds if isinstance(found, Exception)]:
        raise SystemExit("recordings cannot be read: " + "; ".join(faults))
    labels = np.random.default_rng(0).uniform(1, 5, len(paths))
    clips = [
        Utterance(f"clip{i}", str(path), length, "system", f"clip{i}", {name: float(label)})
        for i, (path, length, label) in enumerate(zip(paths, seconds, labels, strict=True))
    ]
    pairs = [
        Pair(
            uids=(a.uid, b.uid),
            audio_paths=(a.audio_path, b.audio_path),
            durations=(a.duration, b.duration),
            metrics={name: a.metrics[name] - b.metrics[name]},
        )
        for a, b in zip(clips, clips[1:] + clips[:1], strict=True)
    ]
    manifests = [settings.scratch / "data.jsonl", settings.scratch / "data_pairs.jsonl"]
    write_utterances(manifests[0], clips)
    write_pairs(manifests[1], pairs)
    alone, both = read_datasets(manifests[:1]), read_datasets(manifests)
    turns = {"clips": lambda: predict(model, alone, [name]), "clips_and_pairs": lambda: predict(model, both, [name])}
    cold = {f"{turn}_first_seconds": timed(run)[0] for turn, run in turns.items()}  # Compiles.
    times = [taken for taken, _ in in_rounds(turns, settings)]
    return {
        "audio": description,
        "clips": len(clips),
        "pairs": len(pairs),
        "audio_seconds": float(sum(seconds)),
        **cold,
        **{f"{turn}_seconds": statistics.median(taken[turn] for taken in times) for turn in turns},
        "clips_and_pairs_over_clips": statistics.median(taken["clips_and_pairs"] / taken["clips"] for taken in times),
        "aim": AIM,
    }
