"""What the adapters share: a model that is loaded where it is used, audio of other tools, tools that are missing."""

import functools
import importlib
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, Self

import numpy as np

from urgentmos_jax.scoring.loading import load_model
from urgentmos_jax.scoring.model import Model
from urgentmos_jax.scoring.rows import ScoreRow


class SharedModel:
    """A model by its folder or hub id, loaded in each process where it is first used.

    Workers are sent the name alone: a process that was forked off one that has loaded a model cannot compute. So give
    the name, not a `Model`, where a tool has workers.

    Args:
        source: Model folder, hub id (also `owner/name@revision`), or a `Model`.
    """

    def __init__(self, source: str | Path | Model):
        self._given = source if isinstance(source, Model) else None
        self._name = str(source.folder or "") if isinstance(source, Model) else str(source)

    @property
    def model(self) -> Model:
        """The model."""
        return self._given or _loaded(self._name)

    def __getstate__(self) -> dict[str, Any]:
        if not self._name:
            raise TypeError("a Model that has no folder cannot be sent to another process; give a folder or a hub id")
        return {"_given": None, "_name": self._name}

    def __deepcopy__(self, memo: dict[int, Any]) -> Self:
        return self  # Models do not change.


@functools.cache
def _loaded(name: str) -> Model:
    return load_model(name)


def score_each(
    model: Model, clips: Iterable[tuple[Any, float | None]], metrics: Sequence[str] | None = None
) -> list[ScoreRow]:
    """One row for each clip, in order.

    Args:
        model: The model.
        clips: Audio as `Model.score` takes it, and its sample rate in Hz where it is an array.
        metrics: Some of the model's metrics; None = all.
    """
    clips = list(clips)
    rows: dict[int, ScoreRow] = {}
    for rate in dict.fromkeys(rate for _, rate in clips):
        indices = [index for index, (_, one) in enumerate(clips) if one == rate]
        found = model.score([clips[index][0] for index in indices], sample_rate=rate, metrics=metrics)
        rows.update(zip(indices, found, strict=True))
    return [rows[index] for index in range(len(clips))]


def failure_of(row: ScoreRow) -> str | None:
    """`code: message` of a row that has no scores, else None."""
    error = row["error"]
    return None if error is None else f"{error['code']}: {error['message']}"


def scores_or_failures(
    model: Model, clips: Sequence[tuple[Any, float | None] | str], metrics: Sequence[str] | None = None
) -> list[tuple[dict[str, float], str | None]]:
    """{metric: score} of each clip, or none and why, `code: message`.

    Args:
        model, metrics: As in `score_each`.
        clips: As in `score_each`; in place of one that cannot be had, why, `code: message`.
    """
    rows = iter(score_each(model, [clip for clip in clips if not isinstance(clip, str)], metrics))
    found: list[tuple[dict[str, float], str | None]] = []
    for clip in clips:
        if isinstance(clip, str):
            found.append(({}, clip))
        else:
            row = next(rows)
            found.append((row["scores"] or {}, failure_of(row)))
    return found


def as_numpy(audio: Any) -> np.ndarray:
    """A torch tensor on any device, of any type of float, or an array, as a numpy array."""
    if hasattr(audio, "detach"):
        audio = audio.detach().float().cpu().numpy()
    return np.asarray(audio)


def clips_of(audio: Any, lengths: Any = None) -> list[np.ndarray]:
    """The clips [T] of a batch [..., T], or of a list of such; `lengths` are theirs in samples, None: the whole row.

    Raises:
        ValueError: There is not one length for each.
    """
    batches = [as_numpy(one) for one in (audio if isinstance(audio, list | tuple) else [audio])]
    clips = [clip for one in batches for clip in one.reshape(-1, one.shape[-1])]
    if lengths is None:
        return clips
    ends = as_numpy(lengths).astype(int).reshape(-1).tolist()
    if len(ends) != len(clips):
        raise ValueError(f"{len(ends)} lengths for {len(clips)} clips, expected one for each")
    return [clip[:end] for clip, end in zip(clips, ends, strict=True)]


def base_class(module: str, name: str, package: str) -> Any:
    """A class of a tool to build on; where the tool is missing one that says so when it is made.

    So every file here can be imported, and its documentation built, without the tools.
    """
    try:
        return getattr(importlib.import_module(module), name)
    except ModuleNotFoundError as error:
        if error.name is None or not f"{module}.".startswith(f"{error.name}."):  # Something else is missing.
            raise
    text = f"{module.partition('.')[0]} is missing: pip install {package}"

    class Missing:
        def __init__(self, *args: Any, **kwargs: Any):
            raise ModuleNotFoundError(text, name=module)

    return Missing
