"""The model that is measured, with the same weights for torch."""

from pathlib import Path

from absl import app
from flax import nnx

from configs import f1c1m5_d_corpus
from launch.benchmark.settings import Settings
from urgentmos_jax.model.urgentmos import ModelConfig, UrgentMOS
from urgentmos_jax.training.config import read_config
from urgentmos_jax.training.start import with_sizes
from urgentmos_jax.weights.model_folder import save_folder


def model_files(settings: Settings) -> tuple[Path, Path | None, Path | None]:
    """Returns the model folder, and the checkpoint and the encoder's folder with the same weights for torch."""
    if settings.model:
        if settings.against_torch and not (settings.checkpoint and settings.encoder):
            raise app.UsageError("--against torch: with --model give --checkpoint and --encoder too")
        return settings.model, settings.checkpoint, settings.encoder
    folder = settings.scratch / "model"
    if not settings.against_torch:
        save_folder(folder, UrgentMOS(published_config(), rngs=nnx.Rngs(0)), {"kind": "random weights"})
        return folder, None, None
    try:
        from launch.benchmark.torch_reference import checkpoints
    except ImportError as error:
        raise app.UsageError(f"--against torch: {error}; pip install torch") from None
    from transformers import WavLMConfig

    from urgentmos_jax.weights.urgent_mos import read_checkpoint

    model = checkpoints.random_model(WavLMConfig(), False, checkpoints.published_config(), 0)
    checkpoint = settings.scratch / "model.pt"
    checkpoints.save_checkpoint(model, checkpoint)
    (encoder,) = checkpoints.save_encoder_configs(model, settings.scratch)
    converted = read_checkpoint(checkpoint, [encoder])
    save_folder(folder, converted.module, converted.origin)
    return folder, checkpoint, encoder


def published_config() -> ModelConfig:
    """Returns F1C1M5: WavLM-base-plus, one category of five metrics."""
    return with_sizes(read_config(f1c1m5_d_corpus.get_config()).model, offline=True)
