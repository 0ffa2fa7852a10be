"""A callback of Lightning that scores the validation audio.

>>> Trainer(callbacks=[ScoreAudio("urgentmos-small", sample_rate=24000)])

`validation_step` returns {"audio": [B, T], "lengths": [B] or nothing}; or `audio_of` finds them.
"""

import importlib.util
import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from urgentmos_jax.interop.shared import base_class
from urgentmos_jax.interop.tensorboard import ScoreLog
from urgentmos_jax.scoring.model import Model

_PACKAGE = "lightning.pytorch" if importlib.util.find_spec("lightning") else "pytorch_lightning"
Callback: Any = base_class(_PACKAGE, "Callback", "lightning")


class ScoreAudio(Callback):
    """Logs mean scores of the validation audio as `urgentmos/METRIC`, and to TensorBoard what `ScoreLog` writes.

    The means (NaN where no clip has scores) are logged as those of the module are, so that checkpoints and early
    stopping can watch them; over several processes they are averaged.

    Args:
        model: Model folder, hub id, or a `Model`.
        sample_rate: Of the audio, in Hz.
        metrics: Some of the model's metrics; None = all.
        audio_of: (what `validation_step` returned, batch) -> (audio, lengths or None); None: its keys `audio` and
            `lengths`.
        every: Score each such batch, the first among them.
    """

    def __init__(
        self,
        model: str | Path | Model,
        sample_rate: int,
        *,
        metrics: Sequence[str] | None = None,
        audio_of: Callable[[Any, Any], tuple[Any, Any]] | None = None,
        every: int = 1,
    ):
        super().__init__()
        self.scores = ScoreLog(model, sample_rate, metrics=metrics)
        self._audio_of, self._every = audio_of or _by_key, every

    def on_validation_batch_end(
        self, trainer: Any, pl_module: Any, outputs: Any, batch: Any, batch_idx: int, dataloader_idx: int = 0
    ) -> None:
        """Scores the audio of a batch, but not that of the check before training."""
        if not trainer.sanity_checking and batch_idx % self._every == 0:
            self.scores.add(*self._audio_of(outputs, batch))

    def on_validation_epoch_end(self, trainer: Any, pl_module: Any) -> None:
        """Logs what was gathered."""
        if trainer.sanity_checking:
            return
        # All processes log the same names, also one whose clips have no scores: Lightning waits for each.
        none = {f"{self.scores.prefix}/{name}": math.nan for name in self.scores.metrics}
        pl_module.log_dict(none | self.scores.means(), sync_dist=True)
        self.scores.write(_Shown(getattr(pl_module.logger, "experiment", None)), trainer.global_step)


class _Shown:
    """Of a writer what the module does not log."""

    def __init__(self, writer: Any):
        for name in ("add_histogram", "add_audio"):
            if hasattr(writer, name):
                setattr(self, name, getattr(writer, name))

    def add_scalar(self, *_: Any) -> None:
        """Scalars are logged by the module."""


def _by_key(outputs: Any, _: Any) -> tuple[Any, Any]:
    if not isinstance(outputs, dict) or "audio" not in outputs:
        raise ValueError("ScoreAudio: validation_step returns no dict with the key audio; return one, or give audio_of")
    return outputs["audio"], outputs.get("lengths")
