"""What a benchmark is told."""

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any


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
        cache: Folder of what was measured before, where a benchmark keeps that.
        plots: Folder for plots; None = none are made.
        minutes: After so many no new round or measurement begins; None = no bound.
        effort: Of the compiler, -1 to 1; see `launch.benchmark.slices`.
        partial: Is given what is known so far.
        began: `time.monotonic()` at the start.
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
    cache: Path | None = None
    plots: Path | None = None
    minutes: float | None = None
    effort: float = 0.0
    partial: Callable[[dict[str, Any]], None] = lambda found: None
    began: float = field(default_factory=time.monotonic)

    def time_is_over(self) -> bool:
        """Whether nothing new should begin."""
        return self.minutes is not None and time.monotonic() - self.began > 60 * self.minutes
