"""Batches of training with labels that are partly missing, and a model small enough to train on them."""

import numpy as np

from tests.helpers.corpus import speech_like
from urgentmos_jax.data.batching import BatchArrays
from urgentmos_jax.encoders.compact import CompactConfig
from urgentmos_jax.metrics import Metric
from urgentmos_jax.model.heads import HeadConfig
from urgentmos_jax.model.transformer import TransformerConfig
from urgentmos_jax.model.urgentmos import EncoderConfig, ModelConfig

CONFIG = ModelConfig(
    encoders=(
        EncoderConfig(CompactConfig(hidden_size=8, num_hidden_layers=1, num_attention_heads=2, intermediate_size=12)),
    ),
    categories={
        "quality": {"mos_overall": Metric(1, 5, comparative=True), "pesq": Metric(1, 4.5)},
        "db": {"sdr": Metric()},
    },
    width=8,
    category=TransformerConfig(layers=1, heads=2, feedforward=12, dropout=0.1),
    absolute=HeadConfig("attentive"),
    comparative=HeadConfig("attentive"),
)
SIZE = 8000
RNG = np.random.default_rng(0)
CLIPS = [speech_like(i, n) for i, n in enumerate((8000, 7000, 6000, 5000))]
LABELS = RNG.uniform(1, 4, (4, 3)).astype(np.float32)
LABELS[1, 1] = LABELS[3, 2] = np.nan


def rows(clips, labels, cmos, rows: int, size: int) -> BatchArrays:
    """A batch from clips [n][sides], labels [n][sides][K] and cmos [n][C]; NaN = missing."""
    sides = len(clips[0])
    waveform, lengths = np.zeros((rows, sides, size), np.float32), np.zeros((rows, sides), np.int32)
    all_labels = np.full((rows, sides, len(labels[0][0])), np.nan, np.float32)
    all_cmos = np.full((rows, len(cmos[0])), np.nan, np.float32)
    for row, pair in enumerate(clips):
        for side, clip in enumerate(pair):
            waveform[row, side, : len(clip)], lengths[row, side] = clip, len(clip)
    all_labels[: len(clips)], all_cmos[: len(clips)] = labels, cmos
    masks = {"label_mask": ~np.isnan(all_labels), "cmos_mask": ~np.isnan(all_cmos)}
    numbers = {"labels": np.nan_to_num(all_labels), "cmos": np.nan_to_num(all_cmos)}
    return BatchArrays(waveform=waveform, states={}, lengths=lengths, **numbers, **masks)


def pair_batch(which: list[int], *, rows_: int = 4) -> BatchArrays:
    """Rows (clip i, clip i - 1)."""
    sides = [(i, i - 1) for i in which]
    cmos = [[LABELS[a, 0] - LABELS[b, 0]] for a, b in sides]
    return rows([[CLIPS[a], CLIPS[b]] for a, b in sides], [[LABELS[a], LABELS[b]] for a, b in sides], cmos, rows_, SIZE)
