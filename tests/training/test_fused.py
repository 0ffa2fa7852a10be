"""A model of four encoders from folders, one of them trained."""

from pathlib import Path

import jax
import numpy as np
import pytest

from configs.compact import get_config
from tests.helpers.corpus import GOLDEN, write_corpus
from urgentmos_jax.training.config import ConfigError
from urgentmos_jax.training.trainer import Trainer
from urgentmos_jax.weights.rules import flat_state


@pytest.mark.slow
def test_a_fused_model_is_trained(tmp_path: Path):
    """Four encoders from folders, one of them trained; a length beyond the window is refused first."""
    root = tmp_path / "data"
    write_corpus(root / "mine" / "train", [8000, 9000, 9500, 8500])
    values = get_config()
    values.data.update(root=str(root), valid=())
    values.batch = dict(seconds=3.0, clips=4, accumulate=1)
    shared = dict(gradient_scale=0.1, noise=False)
    values.model.encoders = {
        name: dict(
            pretrained=str(GOLDEN / "encoders" / name),
            layer_aggregation="qwen" not in name,
            freeze=name != "qwen3-omni",
            dtype="float32" if name == "qwen3-omni" else "bfloat16",
            **shared,
        )
        for name in ("wavlm-large", "whisper", "qwen2-audio", "qwen3-omni")
    }
    values.model.width = 8
    values.model.category.update(dict(heads=2, feedforward=12))
    values.update(dict(updates=2, save_every=2, validate_every=100, log_every=1))
    values.data.max_seconds = 40.0
    with pytest.raises(ConfigError, match=r"data\.max_seconds is 40, an encoder takes 30 s"):
        Trainer(values, tmp_path / "run", devices=jax.devices()[:1])
    assert not (tmp_path / "run").exists()
    values.data.max_seconds = 20.0
    trainer = Trainer(values, tmp_path / "run", devices=jax.devices()[:1])
    before = {path: np.asarray(v[...]) for path, v in flat_state(trainer.module()).items()}
    trainer.run()
    after = flat_state(trainer.module())
    moved = {path for path, value in before.items() if (np.asarray(after[path][...]) != value).any()}
    trained = next(i for i, e in enumerate(trainer.module().config.encoders) if not e.freeze)
    assert any(path.startswith(f"encoders.{trained}.") for path in moved)
    assert not any(path.startswith("encoders.") and not path.startswith(f"encoders.{trained}.") for path in moved)
    assert {"fusion.project.kernel", "fusion.norm.scale"} <= moved
