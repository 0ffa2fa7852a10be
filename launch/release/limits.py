"""Where urgentmos-small fails: recordings unlike those it learnt from, beside Distill-MOS itself."""

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from launch.release.unlike import make
from urgentmos_jax.audio.loading import SAMPLE_RATE_HZ, load_audio
from urgentmos_jax.scoring.model import Model
from urgentmos_jax.statistics.ranks import spearman
from urgentmos_jax.tables import markdown_table

__all__ = ["limits"]

_COUNT = 20
Change = Callable[[np.ndarray, np.ndarray, np.random.Generator], np.ndarray]


def _loud(gain_db: float) -> Change:
    return lambda x, other, rng: np.clip(x * 10 ** (gain_db / 20), -1, 1)


def _cut(seconds: float) -> Change:
    return lambda x, other, rng: x[SAMPLE_RATE_HZ : SAMPLE_RATE_HZ + round(seconds * SAMPLE_RATE_HZ)]


KINDS: dict[str, Change] = {
    "as in training": lambda x, other, rng: x,
    "20 dB softer": _loud(-20),
    "10 dB louder, clipped where it must": _loud(10),
    "0.5 s": _cut(0.5),
    "1 s": _cut(1.0),
    "20 s": lambda x, other, rng: np.concatenate([x, other] * 4)[: 20 * SAMPLE_RATE_HZ],
    "two talkers at once": lambda x, other, rng: make("overlapping", rng, [x, other]),
    "music alone": lambda x, other, rng: make("music", rng, [x, other]),
}


def limits(model: Model, distill_mos: Model, paths: Sequence[Path], seed: int = 0) -> str:
    """A Markdown table: for each kind of recording, how `distill_mos` of ours agrees with Distill-MOS itself.

    Args:
        model: Ours.
        distill_mos: The predictor itself.
        paths: Clips never trained on, of which 20 are drawn, and 20 others that are mixed or joined with them.
        seed: Of what is drawn.
    """
    rng = np.random.default_rng(seed)
    count = min(_COUNT, len(paths) // 2)
    chosen = [load_audio(paths[i]).waveform for i in rng.permutation(len(paths))[: 2 * count]]
    rows = [["recordings", "Distill-MOS, mean", "ours, mean", "mean difference without sign", "SRCC"]]
    for kind, change in KINDS.items():
        clips = [
            np.asarray(change(x, other, rng), np.float32)
            for x, other in zip(chosen[:count], chosen[count:], strict=True)
        ]
        found = []
        for one in (distill_mos, model):
            scored = one.score(clips, sample_rate=SAMPLE_RATE_HZ)
            found.append(np.array([row["scores"]["distill_mos"] for row in scored]))
        true, ours = found
        numbers = (true.mean(), ours.mean(), np.abs(true - ours).mean(), spearman(ours, true))
        rows.append([kind, *(f"{number:.2f}" for number in numbers)])
    return markdown_table(rows, {0})
