"""Training of urgentmos-small, and its folder as it lies in the package."""

import dataclasses
import shutil
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
from urgentmos_jax.weights.model_folder import DISTRIBUTION_FILE, WEIGHTS_FILE, load_folder, save_folder
from urgentmos_jax.weights.rules import flat_state

__all__ = ["package", "save_averaged", "train", "training_manifest"]

_SCALE = (1.0, 5.0)
# Part of the way from the pretrained to the fine-tuned encoder (arXiv 2109.01903, equation 1). On held-out clips of the
# voices of training 0.85 is as good as 1; on other voices better.
_TUNED = 0.85


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


def train(data: Path, run: Path, whisper: Path, **changes: Any) -> Path:
    """Trains the first stage from Whisper, or resumes it; the model as training has it is `run/model`."""
    config = urgentmos_small.get_config()
    config.model.encoders.whisper.pretrained = str(whisper)
    config.data.root = str(data)
    config.update(**changes)
    trainer = Trainer(config, run, name="configs/urgentmos_small.py")
    trainer.run()
    trainer.export(run / "tuned")
    save_averaged(run)
    return run / "model"


def save_averaged(run: Path) -> None:
    """Writes `run/model`: `run/tuned` with its encoder part of the way back to that of `run/start` (WiSE-FT)."""
    module, content = load_folder(run / "tuned")
    before = flat_state(load_folder(run / "start")[0])
    for path, x in flat_state(module).items():
        if path.startswith("encoders."):
            x[...] = _TUNED * x[...] + (1 - _TUNED) * before[path][...]
    save_folder(run / "model", module, content["origin"])


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
    if (trained / DISTRIBUTION_FILE).exists():
        shutil.copy(trained / DISTRIBUTION_FILE, folder / DISTRIBUTION_FILE)
    weights = safetensors.numpy.load_file(folder / WEIGHTS_FILE)
    safetensors.numpy.save_file({name: x.astype(np.float16) for name, x in weights.items()}, folder / WEIGHTS_FILE)


def _released(name: str, metric: Metric) -> Metric:
    least, greatest = urgentmos_small.RANGES.get(name, (metric.minimum, metric.maximum))
    return dataclasses.replace(metric, minimum=least, maximum=greatest)
