"""Frames of a padded batch, and the transformers that run over them."""

from typing import Any, NamedTuple

import torch
from torch import Tensor, nn


class Frames(NamedTuple):
    """Frames of a padded batch.

    Attributes:
        states: [B, L, D].
        valid: [B, L] bool, True on the frames of the clip.
        padding: [B, L] bool, the opposite, as `torch.nn` wants it; None if nothing is padded.
    """

    states: Tensor
    valid: Tensor
    padding: Tensor | None

    def rows(self, index: Tensor) -> "Frames":
        """Returns the clips numbered in `index` [N]."""
        return Frames(*(None if field is None else field[index] for field in self))


def mask_of(lengths: Tensor, device: torch.device) -> Tensor:
    """Returns [B, longest] bool, True below each of the lengths [B], which lie on the host."""
    steps = torch.arange(int(lengths.max()), device=device)
    return steps < lengths.to(device, non_blocking=True)[:, None]


def transformer(config: dict[str, Any] | None) -> nn.TransformerEncoder | None:
    """Builds what a checkpoint's config names; None of None."""
    if config is None:
        return None
    layer = {key: value for key, value in config["encoder_layer"].items() if key != "_target_"}
    # Masks here are always left-aligned; checking that would wait for the device.
    return nn.TransformerEncoder(nn.TransformerEncoderLayer(**layer), num_layers=config["num_layers"], mask_check=False)


def encode(encoder: nn.TransformerEncoder | None, frames: Frames) -> Frames:
    """Returns the frames as the encoder leaves them; None leaves them as they are."""
    if encoder is None:
        return frames
    return frames._replace(states=encoder(frames.states, src_key_padding_mask=frames.padding))


def concatenate(a: Frames, b: Frames) -> Frames:
    """Returns the clips of A and then those of B; both are padded to one length."""
    return Frames(*(None if left is None else torch.cat([left, right]) for left, right in zip(a, b, strict=True)))
