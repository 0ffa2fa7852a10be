"""Cuts of Lhotse with scores, as `lhotse.workflows.annotate_dnsmos` gives its own.

>>> with CutSet.open_writer("scored.jsonl.gz") as writer:
...     for cut in annotate(cuts, "urgentmos-small"):
...         writer.write(cut)
>>> good = cuts.filter(lambda cut: cut.custom["mos_overall"] > 3.5)
"""

import dataclasses
import itertools
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

from urgentmos_jax.interop.shared import SharedModel, scores_or_failures
from urgentmos_jax.scoring.model import Model

_BATCH = 64


def annotate(
    manifest: Iterable[Any], model: str | Path | Model, *, metrics: Sequence[str] | None = None
) -> Iterator[Any]:
    """Scores cuts, or recordings, which become cuts.

    Args:
        manifest: A `CutSet`, or a `RecordingSet`, or some of theirs; of several channels the mean is scored.
        model: Model folder, hub id, or a `Model`.
        metrics: Some of the model's metrics; None = all.

    Yields:
        The cuts in order, with {metric: score} in `custom`, or with the reason in `custom["score_error"]`.

    Raises:
        ValueError: Mixed cuts, which hold nothing of the kind.
    """
    shared = SharedModel(model)
    waiting = iter(manifest)
    while group := list(itertools.islice(waiting, _BATCH)):
        cuts = [one.to_cut() if hasattr(one, "to_cut") else one for one in group]
        if mixed := [cut.id for cut in cuts if not hasattr(cut, "with_custom")]:
            raise ValueError(
                f"{', '.join(mixed)}: mixed cuts hold no scores; `cut.save_audio(FILE)` makes cuts that do"
            )
        found = scores_or_failures(shared.model, [_load(cut) for cut in cuts], metrics)
        for cut, (scores, failure) in zip(cuts, found, strict=True):
            custom = dict(cut.custom or {})
            for name in (*(metrics or shared.model.metrics), "score_error"):  # Of an earlier time.
                custom.pop(name, None)
            yield dataclasses.replace(cut, custom=custom | scores | ({"score_error": failure} if failure else {}))


def _load(cut: Any) -> tuple[Any, float] | str:
    """Its samples and their rate, or why they cannot be read."""
    try:
        return cut.load_audio(), float(cut.sampling_rate)
    except Exception as error:  # Of any reader of Lhotse's.
        return f"unreadable_input: {error}"
