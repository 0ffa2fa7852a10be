"""Training of urgentmos-small in two stages, and its folder as it lies in the package."""

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import safetensors.numpy

from configs import urgentmos_small
from urgentmos_jax.manifests.reading import read_utterances
from urgentmos_jax.manifests.records import Utterance
from urgentmos_jax.manifests.writing import write_utterances
from urgentmos_jax.metrics import Metric
from urgentmos_jax.training.trainer import Trainer
from urgentmos_jax.weights.model_folder import WEIGHTS_FILE, load_folder, save_folder

__all__ = ["package", "train", "training_manifest"]

_SCALE = (1.0, 5.0)


def training_manifest(folder: Path, manifests: Sequence[Path]) -> None:
    """Joins labelled manifests to `folder/data.jsonl`, labels mapped to 1 to 5."""
    clips: list[Utterance] = []
    for manifest in manifests:
        clips += read_utterances(manifest)[0]
    folder.mkdir(parents=True, exist_ok=True)
    write_utterances(
        folder / "data.jsonl", [dataclasses.replace(clip, metrics=_mapped(clip.metrics)) for clip in clips]
    )


def _mapped(labels: dict[str, float]) -> dict[str, float]:
    found = {}
    for name, value in labels.items():
        least, greatest = urgentmos_small.RANGES[name]
        low, high = _SCALE
        found[name] = low + (high - low) * (min(max(value, least), greatest) - least) / (greatest - least)
    return found


def train(data: Path, run: Path, **changes: Any) -> Path:
    """Trains the first stage, or resumes it; the model as training has it is `run/model`."""
    config = urgentmos_small.get_config()
    config.data.root = str(data)
    config.update(**changes)
    trainer = Trainer(config, run, name="configs/urgentmos_small.py")
    trainer.run()
    trainer.export(run / "model")
    return run / "model"


def package(trained: Path, folder: Path, origin: dict[str, Any]) -> None:
    """Writes the released folder: the metrics' own ranges, and weights in float16."""
    module, _ = load_folder(trained)
    config = module.config
    categories = {
        category: {name: _released(name, metric) for name, metric in metrics.items()}
        for category, metrics in config.categories.items()
    }
    module.config = dataclasses.replace(config, categories=categories)
    save_folder(folder, module, origin)
    weights = safetensors.numpy.load_file(folder / WEIGHTS_FILE)
    safetensors.numpy.save_file({name: x.astype(np.float16) for name, x in weights.items()}, folder / WEIGHTS_FILE)


def _released(name: str, metric: Metric) -> Metric:
    least, greatest = urgentmos_small.RANGES[name]
    return dataclasses.replace(metric, minimum=least, maximum=greatest)
