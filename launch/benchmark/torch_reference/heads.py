"""Pooling, and the heads of absolute and of comparative scores."""

import math
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from launch.benchmark.torch_reference.frames import Frames, concatenate, encode, transformer


class MeanPooling(nn.Module):
    """Mean over the valid frames."""

    def prepare(self, states: Tensor) -> Tensor:
        """Returns the frames [B, L, D] as they enter pooling."""
        return states

    def forward(self, states: Tensor, frames: Frames) -> tuple[Tensor, Tensor]:
        """Pools.

        Args:
            states: [B, L, D] prepared frames.
            frames: gives the masks.

        Returns:
            Pooled [B, D] and the weight of each frame [B, L].
        """
        weights = frames.valid / frames.valid.sum(1, keepdim=True)
        return _weighted(weights, states), weights


class AttentivePooling(MeanPooling):
    """Softmax of a small network's score of each frame."""

    def __init__(self, input_dim: int, hidden_dim: int = 128, dropout: float = 0.1):
        super().__init__()
        self.score = nn.Sequential(
            nn.Linear(input_dim, hidden_dim), nn.Tanh(), nn.Dropout(dropout), nn.Linear(hidden_dim, 1, bias=False)
        )

    def forward(self, states: Tensor, frames: Frames) -> tuple[Tensor, Tensor]:
        scores = self.score(states)[..., 0]
        if frames.padding is not None:
            scores = scores.masked_fill(frames.padding, -torch.inf)
        weights = scores.softmax(1)
        return _weighted(weights, states), weights


class MetricTokenPooling(MeanPooling):
    """Attention of a learned query to the frames."""

    def __init__(self, input_dim: int, num_heads: int = 4):
        super().__init__()
        self.metric_token = nn.Parameter(0.02 * torch.randn(input_dim))
        self.attn = nn.MultiheadAttention(input_dim, num_heads, batch_first=True)
        self.norm_q = nn.LayerNorm(input_dim)
        self.norm_x = nn.LayerNorm(input_dim)

    def prepare(self, states: Tensor) -> Tensor:
        return self.norm_x(states)

    def forward(self, states: Tensor, frames: Frames) -> tuple[Tensor, Tensor]:
        query = self.norm_q(self.metric_token).expand(len(states), 1, -1)
        pooled, weights = self.attn(query, states, states, key_padding_mask=frames.padding)
        return pooled[:, 0], weights[:, 0]


class RangeActivation(nn.Module):
    """Keeps a score within the bounds of its metric, either of which may be infinite."""

    def __init__(self, lower: float, upper: float):
        super().__init__()
        self.register_buffer("min_value", torch.tensor(lower))
        self.register_buffer("max_value", torch.tensor(upper))
        # Plain numbers for the branches, which would otherwise wait for the device.
        self.lower, self.upper = lower, upper

    def forward(self, scores: Tensor) -> Tensor:
        lower, upper = self.lower, self.upper
        if math.isfinite(lower) and math.isfinite(upper):
            return lower + (upper - lower) * scores.sigmoid()
        if math.isfinite(lower):
            return lower + F.softplus(scores - lower)
        if math.isfinite(upper):
            return upper - F.softplus(upper - scores)
        return scores


class AbsolutePredictor(nn.Module):
    """Score of one metric from the frames of its category.

    Args:
        config: `metric2absolute_score_predictor` of the model's config.
        bounds: lower and upper bound of the metric.
    """

    def __init__(self, config: dict[str, Any], bounds: tuple[float, float]):
        super().__init__()
        self.encoder = transformer(config["encoder_cfg"])
        self.pooler = _pooler(config["pooler_cfg"])
        self.prediction_head = nn.Linear(config["input_dim"], 1)
        self.activation = RangeActivation(*bounds)

    def forward(self, frames: Frames) -> Tensor:
        """Returns the scores [B]."""
        frames = encode(self.encoder, frames)
        pooled, _ = self.pooler(self.pooler.prepare(frames.states), frames)
        return self._score(pooled)

    def frames(self, frames: Frames) -> tuple[Tensor, Tensor]:
        """Returns score and pooling weight of each frame, [B, L] both, 0 on padding."""
        frames = encode(self.encoder, frames)
        states = self.pooler.prepare(frames.states)
        _, weights = self.pooler(states, frames)
        return self._score(states) * frames.valid, weights

    def _score(self, states: Tensor) -> Tensor:
        return self.activation(self.prediction_head(states)[..., 0])


class ComparativePredictor(nn.Module):
    """Preference between two clips from the frames of their category.

    Args:
        config: `metric2comparative_score_predictor` of the model's config.
    """

    def __init__(self, config: dict[str, Any]):
        super().__init__()
        width = config["input_dim"]
        self.cross_attn = nn.MultiheadAttention(width, config["num_heads"], batch_first=True)
        self.pooler = _pooler(config["pooler_cfg"])
        self.encoder = transformer(config["encoder_cfg"])
        self.classification_head = nn.Linear(width, 3)
        self.regression_head = nn.Linear(width, 1)

    def forward(self, a: Frames, b: Frames) -> tuple[Tensor, Tensor]:
        """Returns CMOS [P], positive if A is better, and logits [P, 3]: A better, B better, tie."""
        return self._attend(encode(self.encoder, a), encode(self.encoder, b))

    def both_orders(self, a: Frames, b: Frames) -> tuple[Tensor, Tensor]:
        """Returns what `forward` does for the pairs (A, B) and then (B, A), [2P] and [2P, 3].

        Both sides must be padded to one length.
        """
        a, b = encode(self.encoder, a), encode(self.encoder, b)
        return self._attend(concatenate(a, b), concatenate(b, a))

    def _attend(self, a: Frames, b: Frames) -> tuple[Tensor, Tensor]:
        states, _ = self.cross_attn(a.states, b.states, b.states, key_padding_mask=b.padding, need_weights=False)
        pooled, _ = self.pooler(self.pooler.prepare(states), a)
        return self.regression_head(pooled)[:, 0], self.classification_head(pooled)


def _pooler(config: dict[str, Any]) -> MeanPooling:
    kinds = {kind.__name__: kind for kind in (MeanPooling, AttentivePooling, MetricTokenPooling)}
    name = config["_target_"].rpartition(".")[-1]
    if name not in kinds:
        raise ValueError(f"unknown pooler {name!r}: expected one of {', '.join(kinds)}")
    return kinds[name](**{key: value for key, value in config.items() if key != "_target_"})


def _weighted(weights: Tensor, states: Tensor) -> Tensor:
    """Returns the sum over frames of weights [B, L] times states [B, L, D], [B, D]."""
    return torch.bmm(weights[:, None], states)[:, 0]
