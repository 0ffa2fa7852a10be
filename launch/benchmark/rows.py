"""Scoring lists of very many recordings: time must be proportional to their number, and memory nearly constant."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import soundfile

from launch.benchmark.clips import generated
from launch.benchmark.growth import draw, slope
from launch.benchmark.measuring import command_figures, tell
from launch.benchmark.memory import small_model
from launch.benchmark.settings import Settings
from urgentmos_jax.audio.loading import SAMPLE_RATE_HZ

ROWS = (10_000, 30_000, 100_000)
# Of the run that has everything compiled, and of the one that says what a process takes for its start.
_WARM_UP, _FEW = 2000, 200
_FILES, _SECONDS = 8, 0.4


def measure(settings: Settings, *, rows: Sequence[int] = ROWS) -> dict[str, Any]:
    """Runs `urgentmos score` on lists that name a few short files again and again, each in a process of its own.

    Args:
        settings: Without a model, a tiny one with random weights is taken; with `plots` the curves are drawn there.
        rows: Of the lists, ascending.

    Returns:
        Of each list seconds, seconds of CPU and peak memory; the exponent of the CPU time beyond the start (1 is
        proportional), and bytes of memory for each further row.
    """
    model = settings.model or small_model(settings.scratch / "model")
    for number, clip in enumerate(generated(_FILES, seconds=_SECONDS)):
        soundfile.write(settings.scratch / f"{number}.wav", clip, SAMPLE_RATE_HZ)
    _score(settings.scratch, model, _WARM_UP)
    start = _score(settings.scratch, model, _FEW)
    figures: dict[str, Any] = {"model": str(settings.model or "tiny, random weights"), "start_cpu_seconds": start[1]}
    found: list[list[float]] = []
    for count in rows:
        if settings.time_is_over():
            break
        found.append(_score(settings.scratch, model, count))
        tell("{} rows: {:.1f} s, {:.1f} s of CPU, {:.0f} MB".format(count, *found[-1]))
        wall, cpu, peak = (list(column) for column in zip(*found, strict=True))
        done = list(rows[: len(found)])
        figures |= {"rows": done, "seconds": wall, "cpu_seconds": cpu, "peak_memory_mb": peak}
        settings.partial(figures)
    if len(found) > 1:
        beyond = np.subtract(cpu, start[1]).tolist()
        figures["cpu_exponent"] = slope(done, beyond)
        figures["rows_a_cpu_second"] = (done[-1] - done[0]) / (cpu[-1] - cpu[0])
        figures["memory_bytes_a_row"] = float(np.polyfit(done, peak, 1)[0] * 2**20)
        if settings.plots:
            draw(settings.plots, "rows", done, {"seconds of CPU beyond the start": beyond, "peak MB": peak})
    return figures


def _score(folder: Path, model: Path, count: int) -> list[float]:
    """Seconds, seconds of CPU and peak memory in MB of a list of so many rows."""
    listed = folder / f"{count}.txt"
    listed.write_text("".join(f"{number % _FILES}.wav\n" for number in range(count)), encoding="utf-8")
    output = folder / "rows.jsonl"
    figures = command_figures("score", str(listed), "--model", str(model), "--output", str(output))
    with output.open(encoding="utf-8") as file:
        written = sum(1 for _ in file)
    if written != count:
        raise SystemExit(f"{written} rows of {count} recordings")
    return figures
