"""Distill-MOS (Stahl and Gamper 2025) of recordings, by a model folder made of the package's own file.

Unlike the other labels it is computed in this process: jax uses all cores, and a model a process would be one too many.
"""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from urgentmos_jax.files import file_hash
from urgentmos_jax.labels.packages import WeightsMissing

if TYPE_CHECKING:
    from urgentmos_jax.scoring.model import Model

METRIC = "distill_mos"
HOW_TO_MAKE = (
    "pip download --no-deps distillmos && unzip distillmos-*.whl"
    " && urgentmos convert distillmos/weights/distill_mos_v7.pt FOLDER, then --distill-mos FOLDER"
)
_WEIGHTS = "model.safetensors"

Row = dict[str, Any]


def weights_hash(folder: Path) -> str:
    """SHA-256 of a model folder's weights.

    Raises:
        WeightsMissing: It is no model folder.
    """
    if not (folder / _WEIGHTS).is_file():
        raise WeightsMissing(f"--distill-mos {folder}: no model folder; make it: {HOW_TO_MAKE}")
    return file_hash(folder / _WEIGHTS)


def load(folder: Path) -> "Model":
    """Loads a model folder that predicts `distill_mos`; its scores are as trained, whatever it was calibrated to.

    Raises:
        WeightsMissing: It cannot be loaded, or predicts something else.
    """
    from urgentmos_jax.scoring.loading import load_model  # jax, which the other labels do without.

    try:
        model = load_model(folder)
    except (ValueError, OSError) as error:
        raise WeightsMissing(f"--distill-mos {folder}: {error}; make it again: {HOW_TO_MAKE}") from None
    if METRIC not in model.metrics:
        text = f"--distill-mos {folder}: the model predicts {', '.join(model.metrics)}"
        raise WeightsMissing(f"{text}, not {METRIC}; make one that does: {HOW_TO_MAKE}")
    return model.with_calibrations({})  # A label is the package's number.


def rows(model: "Model", recordings: Sequence[tuple[str, Row, str]]) -> Iterator[Row]:
    """Rows of results, in order, as each group of recordings is done.

    A recording over 60 s is cut into windows, whose values are averaged by length. Silence has no value.

    Args:
        model: See `load`.
        recordings: (uid, what is measured, path) of each.
    """
    scored = model.iter_scores([path for _, _, path in recordings], metrics=[METRIC])
    for (uid, of, _), row in zip(recordings, scored, strict=True):
        if row["error"] or row["scores"] is None:
            yield {"uid": uid, "of": of, "values": {}, "error": row["error"]}
            continue
        silent = "silent" in row["flags"]
        value = None if silent else row["scores"][METRIC]
        reasons = {METRIC: "the clip is silent"} if silent else {}
        yield {"uid": uid, "of": of, "values": {METRIC: value}, "reasons": reasons, "error": None}
