"""Models as files of other tools, each checked against the model before it appears."""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from urgentmos_jax.exporting.program import check_program, program_of
from urgentmos_jax.files import atomic_write, json_beside
from urgentmos_jax.scoring.model import Model
from urgentmos_jax.version import __version__

Format = Literal["stablehlo", "onnx"]


@dataclass(frozen=True)
class Exported:
    """What was written: bytes, recordings that were compared, the largest difference of a score."""

    size_bytes: int
    compared: int
    difference: float


def export_model(
    model: Model, path: Path, form: Format, *, recordings: Iterable[Any] = (), seconds: float | None = None
) -> Exported:
    """Writes the scores of a model, and FILE.meta.json, which says how it is used.

    Args:
        model: In float32.
        path: Of the file.
        form: "stablehlo" or "onnx".
        recordings: What it is compared on, up to their first window each; none: generated signals.
        seconds: See `program_of`.

    Raises:
        ExportError: The model cannot be exported so, or what was exported gives other scores. Nothing is written.
        ModuleNotFoundError: A package of the extra `[onnx]` or `[stablehlo]` is missing.
        OSError: The file cannot be written.
    """
    program = program_of(model, seconds)
    run: Any
    if form == "onnx":
        from urgentmos_jax.exporting.onnx import ONNX, to_onnx

        content = to_onnx(program)
        run = ONNX(content)
    else:
        from urgentmos_jax.exporting.stablehlo import StableHLO, to_stablehlo

        content = to_stablehlo(program)
        run = StableHLO(content)
    compared, difference = check_program(model, program, run, recordings)
    about = {"format": form, **program.about(), **model.describe(), "tool_version": __version__}
    about |= {"compared": compared, "largest_difference": difference, "size_bytes": len(content)}
    path.parent.mkdir(parents=True, exist_ok=True)
    with json_beside(f"{path}.meta.json", about), atomic_write(path, binary=True) as file:
        file.write(content)
    return Exported(len(content), compared, difference)
