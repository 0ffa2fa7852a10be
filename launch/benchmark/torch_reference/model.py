"""The whole model, and its loss in training."""

import math
from collections.abc import Iterator, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from transformers import PreTrainedModel

from launch.benchmark.torch_reference.encoders import FusedEncoder, WaveformEncoder
from launch.benchmark.torch_reference.frames import Frames, encode, transformer
from launch.benchmark.torch_reference.heads import AbsolutePredictor, ComparativePredictor

HUBER_DELTA = 0.5
ABSOLUTE_WEIGHT = COMPARATIVE_WEIGHT = 0.5


class TorchUrgentMOS(nn.Module):
    """The whole model.

    Args:
        config: architecture in the published format (`config["model"]` of a checkpoint).
        encoders: one for each entry of the config's `feature_extractors`, in order.
        do_normalize: for each encoder, whether it takes normalised waveforms.
    """

    def __init__(self, config: dict[str, Any], encoders: list[PreTrainedModel], do_normalize: list[bool]):
        super().__init__()
        self.config = config
        fusion = config["feature_extractor"]
        wrapped = [
            WaveformEncoder(
                model,
                do_normalize=normalize,
                freeze=entry.get("freeze", True),
                layer_aggregation=entry.get("layer_aggregation", True),
            )
            for model, normalize, entry in zip(encoders, do_normalize, fusion["feature_extractors"], strict=True)
        ]
        self.feature_extractor = FusedEncoder(wrapped, fusion["output_dim"])
        self.category2metrics: dict[str, dict[str, dict]] = config["category2metrics"]
        self.category2encoder = nn.ModuleDict(
            {category: transformer(config["category2encoder"]["encoder_cfg"]) for category in self.category2metrics}
        )
        self.shared_encoder = transformer(config.get("shared_encoder"))
        entries = {name: entry for metrics in self.category2metrics.values() for name, entry in metrics.items()}
        self.metrics = list(entries)
        self.comparative_metrics = [name for name, entry in entries.items() if entry.get("comparative_score")]
        absolute = config["metric2absolute_score_predictor"]
        self._comparison = config["metric2comparative_score_predictor"]
        self.metric2comparative_score_predictor = nn.ModuleDict(
            {name: ComparativePredictor(self._comparison) for name in self.comparative_metrics}
        )
        self.metric2absolute_score_predictor = nn.ModuleDict(
            {name: AbsolutePredictor(absolute, _bounds(entry)) for name, entry in entries.items()}
        )
        criterion = absolute.get("criterion", "mse")
        if criterion not in ("mse", "huber"):
            raise ValueError(f"unknown criterion {criterion!r}: expected 'mse' or 'huber'")
        self._huber = criterion == "huber"

    def forward(self, waveforms: Sequence[Tensor]) -> dict[str, Tensor]:
        """Scores clips.

        Args:
            waveforms: B clips [T_i], float32, 16 kHz, at least 400 samples each.

        Returns:
            For each metric the scores [B].
        """
        return {name: predictor(frames) for name, predictor, frames in self._predictors(waveforms)}

    def frames(self, waveforms: Sequence[Tensor]) -> dict[str, tuple[Tensor, Tensor]]:
        """Scores the frames of clips, given as for `forward`.

        Returns:
            For each metric the frame scores [B, L] and their pooling weights [B, L], both 0 on padding.
        """
        return {name: predictor.frames(frames) for name, predictor, frames in self._predictors(waveforms)}

    def compare(self, waveforms_a: Sequence[Tensor], waveforms_b: Sequence[Tensor]) -> dict[str, tuple[Tensor, Tensor]]:
        """Compares clips, given as for `forward`, in the order (A, B) alone.

        Returns:
            For each comparative metric CMOS [B], positive if A is better, and logits [B, 3]: A better,
            B better, tie.
        """
        shared_a, shared_b = self._shared(waveforms_a), self._shared(waveforms_b)
        results = {}
        for category in self.category2metrics:
            names = self._comparative(category)
            if names:
                encoder = self.category2encoder[category]
                a, b = encode(encoder, shared_a), encode(encoder, shared_b)
                results |= {name: self.metric2comparative_score_predictor[name](a, b) for name in names}
        return results

    def training_loss(self, waveforms: Sequence[Tensor], labels: Tensor, pairs: Tensor, cmos: Tensor) -> Tensor:
        """Total loss of a batch, every pair being used in both orders.

        The category encoders run twice, for the scores and for the pairs, as in the published training code.
        Labels are best left on the host: which heads take part is settled from them there.

        Args:
            waveforms: B clips, as for `forward`.
            labels: [B, K] in the order of `metrics`, NaN if missing.
            pairs: [P, 2] int64, clips A and B.
            cmos: [P, C] in the order of `comparative_metrics`, positive if A is better, NaN if missing.

        Returns:
            [] float32.
        """
        shared = self._shared(waveforms)
        device = shared.states.device
        labelled = _labelled(self.metrics, labels)
        compared = _labelled(self.comparative_metrics, cmos)
        labels, pairs = labels.to(device, non_blocking=True), pairs.to(device, non_blocking=True)
        cmos = torch.cat([cmos, -cmos]).to(device, non_blocking=True)
        absolute, comparative = [], []
        for category, metrics in self.category2metrics.items():
            encoder = self.category2encoder[category]
            names = [name for name in metrics if name in labelled]
            if names:
                frames = encode(encoder, shared)
                scores = [self.metric2absolute_score_predictor[name](frames) for name in names]
                targets = labels[:, [self.metrics.index(name) for name in names]]
                absolute.append(self._absolute_loss(torch.stack(scores, 1), targets))
            names = [name for name in self._comparative(category) if name in compared]
            if names:
                frames = encode(encoder, shared.rows(pairs.T.flatten()))
                a, b = (Frames(*side) for side in zip(*map(_halves, frames), strict=True))
                outputs = [self.metric2comparative_score_predictor[name].both_orders(a, b) for name in names]
                regression, logits = (torch.stack(output, 1) for output in zip(*outputs, strict=True))
                targets = cmos[:, [self.comparative_metrics.index(name) for name in names]]
                comparative.append(self._comparative_loss(regression, logits, targets))
        total = shared.states.new_zeros(())
        if absolute:
            total = total + ABSOLUTE_WEIGHT * torch.stack(absolute).mean()
        if comparative:
            total = total + COMPARATIVE_WEIGHT * torch.stack(comparative).mean()
        return total

    def _shared(self, waveforms: Sequence[Tensor]) -> Frames:
        return encode(self.shared_encoder, self.feature_extractor(waveforms))

    def _predictors(self, waveforms: Sequence[Tensor]) -> Iterator[tuple[str, AbsolutePredictor, Frames]]:
        shared = self._shared(waveforms)
        for category, metrics in self.category2metrics.items():
            frames = encode(self.category2encoder[category], shared)
            for name in metrics:
                yield name, self.metric2absolute_score_predictor[name], frames

    def _comparative(self, category: str) -> list[str]:
        return [name for name in self.comparative_metrics if name in self.category2metrics[category]]

    def _absolute_loss(self, scores: Tensor, labels: Tensor) -> Tensor:
        """Loss of scores [B, K] against labels [B, K]."""
        mask = ~labels.isnan()
        labels = labels.nan_to_num()
        if self._huber:
            errors = F.huber_loss(scores, labels, reduction="none", delta=HUBER_DELTA)
        else:
            errors = F.mse_loss(scores, labels, reduction="none")
        return _masked_mean(errors, mask)

    def _comparative_loss(self, regression: Tensor, logits: Tensor, cmos: Tensor) -> Tensor:
        """Loss of regression [P, C] and logits [P, C, 3] against labels [P, C]."""
        mask = ~cmos.isnan()
        cmos = cmos.nan_to_num()
        margin = self._comparison["min_cmos_for_tie"]
        classes = torch.where(cmos > margin, 0, torch.where(cmos < -margin, 1, 2))
        errors = self._comparison["regression_weight"] * F.mse_loss(regression, cmos, reduction="none")
        entropy = F.cross_entropy(logits.movedim(-1, 1), classes, reduction="none")
        return _masked_mean(errors + self._comparison["classification_weight"] * entropy, mask)


def _bounds(entry: dict[str, Any]) -> tuple[float, float]:
    return float(entry.get("min", -math.inf)), float(entry.get("max", math.inf))


def _halves(field: Tensor | None) -> tuple[Tensor | None, ...]:
    return (None, None) if field is None else field.chunk(2)


def _labelled(names: Sequence[str], labels: Tensor) -> set[str]:
    """Returns the names of the columns of labels [N, len(names)] that hold a number."""
    present = (~labels.isnan()).any(0).tolist()
    return {name for name, some in zip(names, present, strict=True) if some}


def _masked_mean(errors: Tensor, mask: Tensor) -> Tensor:
    """Returns the mean over columns of the mean over the marked rows of each; errors and mask are [N, K]."""
    return ((errors * mask).sum(0) / mask.sum(0)).mean()
