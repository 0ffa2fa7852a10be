"""How the cost of scoring grows: with clips, their length, the batch, and devices; and memory with the batch.

A curve is a few points; its exponent is the slope of the logarithms: 1 is proportional, 0 constant.
"""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import jax
import numpy as np
from flax import nnx

from launch.benchmark.clips import generated
from launch.benchmark.measuring import tell, timed
from launch.benchmark.memory import small_model
from launch.benchmark.settings import Settings
from urgentmos_jax.audio.loading import SAMPLE_RATE_HZ
from urgentmos_jax.model.urgentmos import UrgentMOS
from urgentmos_jax.scoring.engine import Engine
from urgentmos_jax.weights.model_folder import load_folder

# Devices that a CPU is cut into; they share its cores, so their time says what is lost, not what is won.
DEVICES = 8
CLIP_SECONDS = 4.0
BATCH_SECONDS = 32.0
POINTS: dict[str, tuple[float, ...]] = {
    "clips": (8, 16, 32, 64),
    "clip_seconds": (2, 4, 8, 16, 32),
    "batch_seconds": (8, 16, 32, 64),
    "devices": (1, 2, 4, 8),
}


def measure(settings: Settings, *, points: dict[str, tuple[float, ...]] = POINTS) -> dict[str, Any]:
    """Measures a curve after the other, the least of --rounds of each point; a tiny model without --model.

    Args:
        settings: See `Settings`; with `plots` each curve is drawn there.
        points: Of each curve.

    Returns:
        Of each curve the points, seconds, and exponent; of the batch's also memory by XLA's plan, and how far it is
        from a straight line, as a part of its largest value.
    """
    module = load_folder(settings.model or small_model(settings.scratch / "model"))[0]
    figures: dict[str, Any] = {}
    curves: dict[str, Callable[[float], tuple[float, float]]] = {
        "clips": lambda n: _score(module, settings, clips=int(n)),
        "clip_seconds": lambda n: _score(module, settings, seconds=n),
        "batch_seconds": lambda n: _score(module, settings, clips=int(2 * n / CLIP_SECONDS), batch=n),
        "devices": lambda n: _score(module, settings, clips=4 * DEVICES, batch=BATCH_SECONDS / n, devices=int(n)),
    }
    for name, curve in curves.items():
        times, memory, done = [], [], []
        for point in points[name]:
            if settings.time_is_over():
                break
            seconds, size = curve(point)
            tell(f"{name} {point:g}: {seconds:.3g} s, {size / 1e6:.1f} MB a device")
            times.append(seconds)
            memory.append(size)
            done.append(point)
        if len(done) < 2:
            break
        figures |= {f"{name}": list(done), f"{name}_took": times, f"{name}_exponent": slope(done, times)}
        if name in ("batch_seconds", "devices"):
            figures[f"{name}_memory_mb"] = [size / 1e6 for size in memory]
        if name == "batch_seconds":
            figures["memory_off_a_line"] = off_a_line(done, memory)
        settings.partial(figures)
        if settings.plots:
            sizes = figures.get(f"{name}_memory_mb")
            draw(settings.plots, name, done, {"seconds": times} | ({"MB a device": sizes} if sizes else {}))
    return figures


def slope(points: Sequence[float], values: Sequence[float]) -> float:
    """Exponent of the power that fits best."""
    return float(np.polyfit(np.log(points), np.log(values), 1)[0])


def off_a_line(points: Sequence[float], values: Sequence[float]) -> float:
    """Largest distance from the straight line that fits best, as a part of the largest value."""
    line = np.polyval(np.polyfit(points, values, 1), points)
    return float(np.abs(line - values).max() / np.max(values))


def _score(
    module: UrgentMOS,
    settings: Settings,
    *,
    clips: int = 16,
    seconds: float = CLIP_SECONDS,
    batch: float = BATCH_SECONDS,
    devices: int = 1,
) -> tuple[float, float]:
    """Least seconds of scoring the clips, and bytes a device of the largest batch's program."""
    engine = Engine(module, batch_seconds=batch, devices=jax.devices()[:devices])
    params = engine.place(nnx.state(module))
    audio = list(generated(clips, seconds=seconds))

    def turn() -> None:
        engine.encode_windows(params, audio, frames=False, features=False)

    turn()
    least = min(timed(turn)[0] for _ in range(settings.rounds))
    _, traced = engine.trace(
        engine.abstract(nnx.state(module)),
        next(size for size in engine.bucket_sizes if size >= round(seconds * SAMPLE_RATE_HZ)),
    )
    plan = traced.lower().compile().memory_analysis()
    return least, float(plan.temp_size_in_bytes + plan.argument_size_in_bytes)


def draw(folder: Path, name: str, points: Sequence[float], curves: Mapping[str, Sequence[float]]) -> None:
    """Draws curves over points, by what they show, beside each other in `NAME.svg`."""
    try:
        from matplotlib import rc_context
        from matplotlib.figure import Figure
    except ImportError:
        raise SystemExit('--plots: matplotlib is missing: pip install "urgentmos_jax[report]"') from None
    folder.mkdir(parents=True, exist_ok=True)
    figure = Figure(figsize=(4 * len(curves), 3), layout="constrained")
    for index, (label, values) in enumerate(curves.items()):
        axes = figure.add_subplot(1, len(curves), index + 1)
        axes.plot(points, values, marker="o")
        axes.set(
            xlabel=name.replace("_", " "),
            ylabel=label,
            ylim=(0, 1.1 * max(values)),
            title=f"exponent {slope(points, values):.2f}",
        )
        axes.grid(alpha=0.3)
    with rc_context({"svg.fonttype": "none"}):  # Letters as text, which is smaller.
        figure.savefig(folder / f"{name}.svg", metadata={"Date": None})
