"""Encoders from waveforms, and their fusion."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import pad_sequence
from transformers import AutoModel, PretrainedConfig, PreTrainedModel

from launch.benchmark.torch_reference.frames import Frames, mask_of

ENCODER_GRADIENT_SCALE = 0.1


class _ScaleGradient(torch.autograd.Function):
    """Identity whose gradient is multiplied by a constant."""

    @staticmethod
    def forward(ctx: Any, states: Tensor, scale: float) -> Tensor:
        ctx.scale = scale
        return states.view_as(states)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
        return gradient * ctx.scale, None


class WaveformEncoder(nn.Module):
    """WavLM, wav2vec2 or HuBERT with learned mixing of its hidden states.

    LayerDrop is switched off: transformers 5 leaves a dropped layer out of `hidden_states`, which then no
    longer match the mixing weights.

    Args:
        model: encoder from waveforms.
        do_normalize: bring every clip to zero mean and unit variance.
        freeze: leave the encoder untrained.
        layer_aggregation: mix all hidden states; otherwise take the last.
    """

    def __init__(
        self, model: PreTrainedModel, *, do_normalize: bool, freeze: bool = True, layer_aggregation: bool = True
    ):
        super().__init__()
        self.model = model.requires_grad_(not freeze)
        self.model.config.layerdrop = 0.0
        self.do_normalize, self.freeze = do_normalize, freeze
        self.layer_aggregation = layer_aggregation
        if layer_aggregation:
            self.weights = nn.Parameter(torch.zeros(model.config.num_hidden_layers + 1))

    @property
    def width(self) -> int:
        """D of the frames."""
        return self.model.config.hidden_size

    def frame_counts(self, samples: Tensor) -> Tensor:
        """Returns the frames of clips of so many samples, [B] int64 both."""
        return self.model._get_feat_extract_output_lengths(samples)

    def forward(self, waveforms: Tensor, mask: Tensor) -> Tensor:
        """Encodes.

        Args:
            waveforms: [B, T] float32, 16 kHz, zero where padded.
            mask: [B, T] bool, True on real samples.

        Returns:
            [B, L, D].
        """
        if self.do_normalize:
            count = mask.sum(1, keepdim=True)
            centred = (waveforms - waveforms.sum(1, keepdim=True) / count) * mask
            waveforms = centred * torch.rsqrt(centred.square().sum(1, keepdim=True) / count + 1e-7)
        with torch.set_grad_enabled(torch.is_grad_enabled() and not self.freeze):
            outputs = self.model(waveforms, attention_mask=mask.long(), output_hidden_states=self.layer_aggregation)
        if not self.layer_aggregation:
            return self._scaled(outputs.last_hidden_state)
        first, *rest = zip(self.weights.softmax(0), outputs.hidden_states, strict=True)
        mixed = first[0] * self._scaled(first[1])
        for weight, states in rest:
            mixed = torch.addcmul(mixed, weight, self._scaled(states))
        return mixed

    def _scaled(self, states: Tensor) -> Tensor:
        return _ScaleGradient.apply(states, ENCODER_GRADIENT_SCALE) if states.requires_grad else states


class FusedEncoder(nn.Module):
    """Encoders side by side, resampled to the longest, concatenated and projected.

    Args:
        encoders: at least one.
        output_dim: D after the projection.
    """

    def __init__(self, encoders: Sequence[WaveformEncoder], output_dim: int):
        super().__init__()
        self.feature_extractors = nn.ModuleList(encoders)
        width = sum(encoder.width for encoder in encoders)
        self.feat_proj = nn.Sequential(nn.Linear(width, output_dim), nn.LayerNorm(output_dim))

    def forward(self, waveforms: Sequence[Tensor]) -> Frames:
        """Encodes clips [T_i], float32, 16 kHz, each at least one frame long."""
        device = self.feat_proj[0].weight.device
        # Lengths stay on the host: nothing there waits for the device.
        samples = torch.tensor([len(waveform) for waveform in waveforms])
        padded = pad_sequence(list(waveforms), batch_first=True).to(device, non_blocking=True)
        mask = mask_of(samples, device)
        counts = [encoder.frame_counts(samples) for encoder in self.feature_extractors]
        longest = torch.stack(counts).amax(0)
        states = [
            _resample(encoder(padded, mask), count, longest)
            for encoder, count in zip(self.feature_extractors, counts, strict=True)
        ]
        states = self.feat_proj(states[0] if len(states) == 1 else torch.cat(states, -1))
        valid = mask_of(longest, device)
        return Frames(states, valid, None if longest.min() == longest.max() else ~valid)


def build_encoder(config: PretrainedConfig) -> PreTrainedModel:
    """Builds an encoder with fresh weights, float32."""
    return AutoModel.from_config(config, dtype=torch.float32)


def _resample(states: Tensor, counts: Tensor, targets: Tensor) -> Tensor:
    """Resamples each clip linearly in time: half-pixel centres, edges clamped.

    Args:
        states: [B, L, D].
        counts: [B] int64 on the host, frames of each clip.
        targets: [B] int64 on the host, frames wanted.

    Returns:
        [B, max(targets), D].
    """
    if counts.equal(targets):
        return states
    steps = torch.arange(int(targets.max()), device=states.device)
    last = (counts - 1).to(states.device)[:, None]
    ratio = (counts / targets).to(states.device)[:, None]
    position = ((steps + 0.5) * ratio - 0.5).clamp(min=0).minimum(last)
    below = position.long()
    above = (below + 1).minimum(last)
    rows = torch.arange(len(states), device=states.device)[:, None]
    return torch.lerp(states[rows, below], states[rows, above], (position - below)[..., None])
