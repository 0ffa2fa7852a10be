"""Evaluating, ranking and reporting on predictions of many clips: time, and memory that stays bounded."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np

from launch.benchmark.measuring import command_figures, tell
from launch.benchmark.settings import Settings

_SYSTEMS = 50
_METRIC = "mos_overall"
_EVALUATE = """
import json, sys, time
from pathlib import Path
from launch.benchmark.peak import peak_memory_mb
from urgentmos_jax.evaluation.datasets import read_datasets
from urgentmos_jax.evaluation.evaluating import evaluate
from urgentmos_jax.evaluation.predictions import join, read_predictions
started = time.perf_counter()
datasets = read_datasets([Path(sys.argv[1])], check_files=False)
predictions = {path: join(datasets, read_predictions(path)) for path in sys.argv[2:]}
read = time.perf_counter()
before = peak_memory_mb()
results = evaluate(datasets, predictions).results
done = time.perf_counter()
after = peak_memory_mb()
levels = [level for one in results for level in one.levels.values()]
assert all(interval.low < interval.value < interval.high for level in levels for interval in level.intervals.values())
print(json.dumps([read - started, done - read, before, after]))
"""


def measure(settings: Settings) -> dict[str, Any]:
    """Evaluates in a process of its own: clips of shared references, then clips without; one model, then two. Then the
    commands `evaluate`, `rank` and `report`, of the clips of shared references.

    Returns:
        Seconds of reading and of all statistics with intervals (two models: and their differences), peak memory after
        reading and in all; of the commands seconds of CPU and peak memory, and the size of the page.
    """
    clips = settings.clips
    figures: dict[str, Any] = {"clips": clips, "systems": _SYSTEMS, "references": -(-clips // _SYSTEMS)}
    files = _write(settings.scratch, clips)
    for name, manifest, models in (("", "shared", 1), ("_without_references", "alone", 1), ("_of_two", "alone", 2)):
        command = [sys.executable, "-c", _EVALUATE, str(files[manifest]), *map(str, files["predictions"][:models])]
        done = subprocess.run(command, check=False, capture_output=True, text=True)
        if done.returncode:
            raise SystemExit(done.stderr)
        keys = ("read_seconds", "evaluate_seconds", "peak_memory_mb_read", "peak_memory_mb")
        figures |= {f"{key}{name}": value for key, value in zip(keys, json.loads(done.stdout), strict=True)}
        settings.partial(figures)
    page = settings.scratch / "page.html"
    predicted = [str(files["shared"]), "--predictions", str(files["predictions"][0])]
    for command, *more in (("evaluate",), ("rank",), ("report", "--output", str(page))):
        if settings.time_is_over():
            break
        found = command_figures(command, *predicted, *more)
        figures |= dict(zip((f"{command}_seconds_of_cpu", f"{command}_command_mb"), found[1:], strict=True))
        tell("urgentmos {}: {:.1f} s, {:.1f} s of CPU, {:.0f} MB".format(command, *found))
        settings.partial(figures)
    return figures | ({"report_mb": page.stat().st_size / 1e6} if page.exists() else {})


def _write(scratch: Path, clips: int) -> dict[str, Any]:
    """Manifests and two files of predictions; labels have ties, as means of ratings have."""
    rng = np.random.default_rng(0)
    system, reference = np.arange(clips) % _SYSTEMS, np.arange(clips) // _SYSTEMS
    quality = rng.normal(0, 0.6, _SYSTEMS)[system] + rng.normal(0, 0.4, clips)[reference] + rng.normal(0, 0.5, clips)
    labels = np.clip(np.round((3 + quality) * 8) / 8, 1, 5)
    predicted = 3 + quality + rng.normal(0, [[0.3], [0.6]], (2, clips))
    files: dict[str, Any] = {name: scratch / f"{name}.jsonl" for name in ("shared", "alone")}
    files["predictions"] = [scratch / f"{name}.jsonl" for name in ("one", "other")]
    for name in ("shared", "alone"):
        with files[name].open("w", encoding="utf-8") as file:
            for place in range(clips):
                row = {"uid": f"u{place}", "audio_path": f"{place}.wav", "duration": 4.0}
                row |= {"system_id": f"s{system[place]}", "metrics": {_METRIC: labels[place]}}
                row |= {"reference_id": f"r{reference[place]}"} if name == "shared" else {}
                file.write(json.dumps(row) + "\n")
    for path, values in zip(files["predictions"], predicted, strict=True):
        with path.open("w", encoding="utf-8") as file:
            for place, value in enumerate(values):
                file.write(json.dumps({"uid": f"u{place}", "scores": {_METRIC: round(value, 6)}}) + "\n")
    return files
