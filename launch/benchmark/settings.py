"""What a benchmark is told."""

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Settings:
    """The flags of `launch.benchmark`.

    Attributes:
        scratch: Folder to work in.
        model: Model folder; None = the published architecture with random weights.
        checkpoint: The authors' model.pt that `model` was converted from, for torch.
        encoder: Folder of the encoder's config, for `checkpoint`.
        audio: Folder of recordings; None = generated clips.
        clips: How many clips, at most.
        rounds: How many rounds, each with one turn for everyone.
        batch_seconds: Audio a batch; None suits the device.
        against_torch: Whether the torch reference is measured in the same run.
    """

    scratch: Path
    model: Path | None = None
    checkpoint: Path | None = None
    encoder: Path | None = None
    audio: Path | None = None
    clips: int = 64
    rounds: int = 3
    batch_seconds: float | None = None
    against_torch: bool = False
