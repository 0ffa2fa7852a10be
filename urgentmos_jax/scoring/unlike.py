"""Whether a recording is unlike those that a model was trained on: the distance of its features from theirs."""

import logging
from collections.abc import Iterable
from typing import Any

import numpy as np

from urgentmos_jax.audio.loading import SAMPLE_RATE_HZ, AudioError
from urgentmos_jax.files import summarise_errors
from urgentmos_jax.manifests.inputs import stream
from urgentmos_jax.scoring.decoding import Decoder, source_name
from urgentmos_jax.scoring.model import Model
from urgentmos_jax.scoring.rows import EncodedWindow, pooled
from urgentmos_jax.statistics.training_distribution import TrainingDistribution, fit

logger = logging.getLogger(__name__)


def recording_features(model: Model, recordings: Iterable[Any]) -> np.ndarray:
    """[N, D] features of recordings, as `rows.unlike_flag` takes them; NaN for those that fail, which are logged."""
    engine = model.engine
    named = ((source_name(source, index), source) for index, source in enumerate(stream(recordings)))
    found: list[np.ndarray] = []
    windows: list[EncodedWindow] = []
    failed: list[str] = []
    planner = engine.planner()
    limits = {"longest": engine.window_samples, "shortest": engine.min_samples}
    with Decoder(named, SAMPLE_RATE_HZ, **limits, batch_seconds=engine.batch_seconds, times=engine.times) as groups:
        for group in groups:
            waveforms = [waveform for item in group for waveform in item.windows]
            options = {"frames": False, "features": False, "pooled": True}
            encoded = iter(engine.encode_windows(model.params, waveforms, planner=planner, **options))
            for item in group:
                windows += [next(encoded) for _ in item.windows]
                if item.end is None:
                    continue  # The next group has more of it.
                if isinstance(item.end, AudioError):
                    failed.append(item.end.message)
                    found.append(np.full(model.config.width, np.nan, np.float32))
                else:
                    found.append(pooled(windows))
                windows = []
    if failed:
        logger.warning(summarise_errors(failed, "recordings could not be scored"))
    return np.array(found).reshape(-1, model.config.width)


def fit_distribution(model: Model, clips: Iterable[Any], held_out: Iterable[Any]) -> TrainingDistribution:
    """What the clips look like that a model was trained on.

    `model.with_distribution` attaches it, `scoring.stored.add_distribution` writes it into the model's folder.

    Args:
        model: With the parameters that the distribution is for.
        clips: It was trained on, as the inputs of `Model.score` (arrays at 16 kHz); some thousand are enough.
        held_out: Clips of the same kind that it was not trained on, 100 or more: 1 % of them are unlike by definition.

    Raises:
        ValueError: Fewer than two of either can be scored.
    """
    sides = [recording_features(model, one) for one in (clips, held_out)]
    return fit(*(side[np.isfinite(side).all(1)] for side in sides))
