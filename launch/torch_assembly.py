"""The same model assembled in PyTorch: yardstick of the speed benchmark, live reference of the parity tests.

Encoders come from `transformers.AutoModel`, everything after them from `torch.nn`. Names in the state
dict are those of the published checkpoints, so they load with `strict=True` and `save_checkpoint` writes
files that our converter reads. Clips are padded and batched together as in the published model: with a
group-norm encoder padding therefore moves the scores, and a caller who wants the score of a clip alone
passes it alone.

Letters in shapes: B clips, T samples, L frames, D features, K metrics, P pairs, C comparative metrics.
"""

import json
import math
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils.rnn import pad_sequence
from transformers import AutoConfig, AutoModel, PretrainedConfig, PreTrainedModel

SAMPLE_RATE_HZ = 16_000
ENCODER_GRADIENT_SCALE = 0.1
HUBER_DELTA = 0.5
ABSOLUTE_WEIGHT = COMPARATIVE_WEIGHT = 0.5


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
        self,
        model: PreTrainedModel,
        *,
        do_normalize: bool,
        freeze: bool = True,
        layer_aggregation: bool = True,
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
        mask = _mask(samples, device)
        counts = [encoder.frame_counts(samples) for encoder in self.feature_extractors]
        longest = torch.stack(counts).amax(0)
        states = [
            _resample(encoder(padded, mask), count, longest)
            for encoder, count in zip(self.feature_extractors, counts, strict=True)
        ]
        states = self.feat_proj(states[0] if len(states) == 1 else torch.cat(states, -1))
        valid = _mask(longest, device)
        return Frames(states, valid, None if longest.min() == longest.max() else ~valid)


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
            nn.Linear(input_dim, hidden_dim),
            nn.Tanh(),
            nn.Dropout(dropout),
            nn.Linear(hidden_dim, 1, bias=False),
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
        self.encoder = _transformer(config["encoder_cfg"])
        self.pooler = _pooler(config["pooler_cfg"])
        self.prediction_head = nn.Linear(config["input_dim"], 1)
        self.activation = RangeActivation(*bounds)

    def forward(self, frames: Frames) -> Tensor:
        """Returns the scores [B]."""
        frames = _encode(self.encoder, frames)
        pooled, _ = self.pooler(self.pooler.prepare(frames.states), frames)
        return self._score(pooled)

    def frames(self, frames: Frames) -> tuple[Tensor, Tensor]:
        """Returns score and pooling weight of each frame, [B, L] both, 0 on padding."""
        frames = _encode(self.encoder, frames)
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
        self.encoder = _transformer(config["encoder_cfg"])
        self.classification_head = nn.Linear(width, 3)
        self.regression_head = nn.Linear(width, 1)

    def forward(self, a: Frames, b: Frames) -> tuple[Tensor, Tensor]:
        """Returns CMOS [P], positive if A is better, and logits [P, 3]: A better, B better, tie."""
        return self._attend(_encode(self.encoder, a), _encode(self.encoder, b))

    def both_orders(self, a: Frames, b: Frames) -> tuple[Tensor, Tensor]:
        """Returns what `forward` does for the pairs (A, B) and then (B, A), [2P] and [2P, 3].

        Both sides must be padded to one length.
        """
        a, b = _encode(self.encoder, a), _encode(self.encoder, b)
        return self._attend(_concatenate(a, b), _concatenate(b, a))

    def _attend(self, a: Frames, b: Frames) -> tuple[Tensor, Tensor]:
        states, _ = self.cross_attn(a.states, b.states, b.states, key_padding_mask=b.padding, need_weights=False)
        pooled, _ = self.pooler(self.pooler.prepare(states), a)
        return self.regression_head(pooled)[:, 0], self.classification_head(pooled)


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
            {category: _transformer(config["category2encoder"]["encoder_cfg"]) for category in self.category2metrics}
        )
        self.shared_encoder = _transformer(config.get("shared_encoder"))
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
                a, b = _encode(encoder, shared_a), _encode(encoder, shared_b)
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
                frames = _encode(encoder, shared)
                scores = [self.metric2absolute_score_predictor[name](frames) for name in names]
                targets = labels[:, [self.metrics.index(name) for name in names]]
                absolute.append(self._absolute_loss(torch.stack(scores, 1), targets))
            names = [name for name in self._comparative(category) if name in compared]
            if names:
                frames = _encode(encoder, shared.rows(pairs.T.flatten()))
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
        return _encode(self.shared_encoder, self.feature_extractor(waveforms))

    def _predictors(self, waveforms: Sequence[Tensor]) -> Iterator[tuple[str, AbsolutePredictor, Frames]]:
        shared = self._shared(waveforms)
        for category, metrics in self.category2metrics.items():
            frames = _encode(self.category2encoder[category], shared)
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


def from_checkpoint(path: Path, encoder_dirs: list[Path]) -> TorchUrgentMOS:
    """Loads a checkpoint in the published format, encoder weights included.

    Args:
        path: the torch file.
        encoder_dirs: for each encoder the folder of its `config.json` and `preprocessor_config.json`.

    Returns:
        The model in evaluation mode, float32, on the CPU.
    """
    checkpoint = torch.load(path, map_location="cpu", weights_only=True)
    encoders = [_encoder(AutoConfig.from_pretrained(folder)) for folder in encoder_dirs]
    do_normalize = [
        json.loads((Path(folder) / "preprocessor_config.json").read_text())["do_normalize"] for folder in encoder_dirs
    ]
    model = TorchUrgentMOS(checkpoint["config"]["model"], encoders, do_normalize)
    model.load_state_dict(checkpoint["model"], strict=True)
    return model.eval()


def random_model(
    encoder_config: PretrainedConfig, do_normalize: bool, model_config: dict[str, Any], seed: int
) -> TorchUrgentMOS:
    """Builds a model with one encoder and random weights, none left at 0 or 1 or equal between layers.

    Args:
        encoder_config: architecture of the encoder.
        do_normalize: whether the encoder takes normalised waveforms.
        model_config: architecture of the rest, as `published_config` gives it.
        seed: settles every weight.

    Returns:
        The model in evaluation mode, float32, on the CPU.
    """
    with torch.random.fork_rng(devices=[]), torch.no_grad():
        torch.manual_seed(seed)
        model = TorchUrgentMOS(model_config, [_encoder(encoder_config)], [do_normalize])
        for parameter in model.parameters():
            parameter.add_(0.02 * torch.randn_like(parameter))
        for encoder in model.feature_extractor.feature_extractors:
            if encoder.layer_aggregation:
                encoder.weights.normal_()
    return model.eval()


def save_checkpoint(model: TorchUrgentMOS, path: Path) -> None:
    """Writes the model in the published format, without optimiser state."""
    torch.save(
        {
            "model": model.state_dict(),
            "optimizer": {"state": {}, "param_groups": []},
            "scheduler": {},
            "update": 0,
            "config": {
                "model": model.config,
                "category2metrics": model.category2metrics,
                "dataloader": {"sample_rate": SAMPLE_RATE_HZ},
            },
        },
        path,
    )


def save_encoder_configs(model: TorchUrgentMOS, parent: Path) -> list[Path]:
    """Writes the encoders' settings, as `from_checkpoint` wants them, into the folders that the config names.

    Args:
        model: gives encoders and names.
        parent: where those folders are made.

    Returns:
        The folders in the order of the encoders.
    """
    folders = []
    fusion = model.config["feature_extractor"]
    for encoder, entry in zip(model.feature_extractor.feature_extractors, fusion["feature_extractors"], strict=True):
        folder = Path(parent) / entry["model_name"]
        encoder.model.config.save_pretrained(folder)
        settings = {
            "feature_extractor_type": "Wav2Vec2FeatureExtractor",
            "do_normalize": encoder.do_normalize,
            "feature_size": 1,
            "padding_side": "right",
            "padding_value": 0.0,
            "return_attention_mask": True,
            "sampling_rate": SAMPLE_RATE_HZ,
        }
        (folder / "preprocessor_config.json").write_text(json.dumps(settings, indent=2) + "\n")
        folders.append(folder)
    return folders


def published_config(
    width: int = 768,
    metrics: Sequence[str] = ("mos_overall", "scoreq", "utmos", "nisqa_mos", "distill_mos"),
    layers: int = 6,
    heads: int = 8,
    feedforward: int = 2048,
) -> dict[str, Any]:
    """Returns the published F1C1M5 architecture: one frozen encoder, one category, mean pooling.

    Args:
        width: D.
        metrics: all of them from 1 to 5; the first is comparative too.
        layers: Transformer layers of the category encoder.
        heads: attention heads of these.
        feedforward: feed-forward width of these.
    """
    entries = {name: {"min": 1.0, "max": 5.0} for name in metrics}
    entries[metrics[0]]["comparative_score"] = True
    category2metrics = {"mos": entries}
    module = "urgent_mos.model"
    head = {
        "_recursive_": False,
        "category2metrics": category2metrics,
        "pooler_cfg": {"_target_": f"{module}.pooling.MeanPooling"},
        "encoder_cfg": None,
        "input_dim": width,
    }
    return {
        "_target_": f"{module}.urgent_mos.UrgentMOS",
        "feature_extractor": {
            "_target_": f"{module}.audio_encoder.FusedAudioEncoder",
            "feature_extractors": [
                {"_target_": f"{module}.audio_encoder.AudioEncoder", "model_name": "encoder", "freeze": True}
            ],
            "output_dim": width,
        },
        "category2metrics": category2metrics,
        "category2encoder": {
            "_target_": f"{module}.urgent_mos.build_category_encoders",
            "_recursive_": False,
            "category2metrics": category2metrics,
            "encoder_cfg": {
                "_target_": "torch.nn.TransformerEncoder",
                "encoder_layer": {
                    "_target_": "torch.nn.TransformerEncoderLayer",
                    "d_model": width,
                    "nhead": heads,
                    "dim_feedforward": feedforward,
                    "batch_first": True,
                },
                "num_layers": layers,
            },
        },
        "metric2absolute_score_predictor": {
            "_target_": f"{module}.urgent_mos.build_absolute_score_predictors",
            **head,
        },
        "metric2comparative_score_predictor": {
            "_target_": f"{module}.urgent_mos.build_comparative_score_predictors",
            **head,
            "num_heads": 4,
            "min_cmos_for_tie": 0.5,
            "regression_weight": 0.5,
            "classification_weight": 0.5,
        },
        "shared_encoder": None,
        "use_symmetric_preference": True,
    }


def _encoder(config: PretrainedConfig) -> PreTrainedModel:
    return AutoModel.from_config(config, dtype=torch.float32)


def _transformer(config: dict[str, Any] | None) -> nn.TransformerEncoder | None:
    if config is None:
        return None
    layer = {key: value for key, value in config["encoder_layer"].items() if key != "_target_"}
    # Masks here are always left-aligned; checking that would wait for the device.
    return nn.TransformerEncoder(nn.TransformerEncoderLayer(**layer), num_layers=config["num_layers"], mask_check=False)


def _pooler(config: dict[str, Any]) -> MeanPooling:
    kinds = {kind.__name__: kind for kind in (MeanPooling, AttentivePooling, MetricTokenPooling)}
    name = config["_target_"].rpartition(".")[-1]
    if name not in kinds:
        raise ValueError(f"unknown pooler {name!r}: expected one of {', '.join(kinds)}")
    return kinds[name](**{key: value for key, value in config.items() if key != "_target_"})


def _bounds(entry: dict[str, Any]) -> tuple[float, float]:
    return float(entry.get("min", -math.inf)), float(entry.get("max", math.inf))


def _encode(encoder: nn.TransformerEncoder | None, frames: Frames) -> Frames:
    if encoder is None:
        return frames
    return frames._replace(states=encoder(frames.states, src_key_padding_mask=frames.padding))


def _concatenate(a: Frames, b: Frames) -> Frames:
    return Frames(*(None if left is None else torch.cat([left, right]) for left, right in zip(a, b, strict=True)))


def _halves(field: Tensor | None) -> tuple[Tensor | None, ...]:
    return (None, None) if field is None else field.chunk(2)


def _mask(lengths: Tensor, device: torch.device) -> Tensor:
    """Returns [B, longest] bool, True below each of the lengths [B], which lie on the host."""
    steps = torch.arange(int(lengths.max()), device=device)
    return steps < lengths.to(device, non_blocking=True)[:, None]


def _weighted(weights: Tensor, states: Tensor) -> Tensor:
    """Returns the sum over frames of weights [B, L] times states [B, L, D], [B, D]."""
    return torch.bmm(weights[:, None], states)[:, 0]


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


def _labelled(names: Sequence[str], labels: Tensor) -> set[str]:
    """Returns the names of the columns of labels [N, len(names)] that hold a number."""
    present = (~labels.isnan()).any(0).tolist()
    return {name for name, some in zip(names, present, strict=True) if some}


def _masked_mean(errors: Tensor, mask: Tensor) -> Tensor:
    """Returns the mean over columns of the mean over the marked rows of each; errors and mask are [N, K]."""
    return ((errors * mask).sum(0) / mask.sum(0)).mean()
