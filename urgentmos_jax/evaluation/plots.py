"""Pictures of predictions. Needs matplotlib: `pip install "urgentmos_jax[report]"`."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from urgentmos_jax.files import atomic_write


def predicted_against_true(
    path: Path, panels: Mapping[str, tuple[Sequence[float], Sequence[float]]], groups: Sequence[Sequence[str]]
) -> None:
    """Scatter plots side by side as PNG: {title: (true [N], predicted [N])}, N names that colour the points of each."""
    matplotlib = _matplotlib()
    names = sorted({name for group in groups for name in group})
    figure = matplotlib.figure.Figure(figsize=(3.6 * len(panels), 3.9), layout="constrained")
    axes = figure.subplots(1, len(panels), squeeze=False)
    for axis, (title, (true, predicted)), group in zip(axes[0], panels.items(), groups, strict=True):
        x, y = np.asarray(true), np.asarray(predicted)
        for number, name in enumerate(names):
            chosen = np.asarray(group) == name
            axis.scatter(x[chosen], y[chosen], s=14, color=_colour(number), label=name)
        low, high = min(x.min(), y.min()), max(x.max(), y.max())
        axis.plot([low, high], [low, high], color="0.7", linewidth=1, zorder=0)
        axis.set(title=title, xlabel="true")
    axes[0, 0].set_ylabel("predicted")
    handles, labels = axes[0, 0].get_legend_handles_labels()
    columns = min(5, 2 * len(panels), len(names))
    figure.legend(handles, labels, loc="outside lower center", ncols=columns, frameon=False, fontsize=8)
    _save(figure, path)


def frame_scores(
    path: Path, clips: Mapping[str, tuple[np.ndarray, Sequence[float]]], *, sample_rate_hz: int, metric: str
) -> None:
    """Waveforms with the score of each frame over time as PNG, a row a clip: {title: (waveform [T], scores [L])}."""
    figure = _matplotlib().figure.Figure(figsize=(7, 2.2 * len(clips)), layout="constrained")
    axes = figure.subplots(len(clips), 1, squeeze=False)
    low = min(min(scores) for _, scores in clips.values())
    high = max(max(scores) for _, scores in clips.values())
    margin = 0.05 * (high - low) or 1.0
    for axis, (title, (waveform, scores)) in zip(axes[:, 0], clips.items(), strict=True):
        seconds = len(waveform) / sample_rate_hz
        axis.plot(np.arange(len(waveform)) / sample_rate_hz, waveform, color="0.8", linewidth=0.5)
        axis.set(title=title, xlim=(0, seconds), yticks=[])
        curve = axis.twinx()
        curve.plot((np.arange(len(scores)) + 0.5) * seconds / len(scores), scores, color="tab:blue")
        curve.set(ylabel=metric, ylim=(low - margin, high + margin))
        curve.yaxis.set_label_position("left")
        curve.yaxis.tick_left()
    axes[-1, 0].set_xlabel("seconds")
    _save(figure, path)


def label_coverage(path: Path, manifests: Mapping[str, Mapping[str, tuple[float, np.ndarray]]]) -> None:
    """What labels there are, as PNG: the share of rows that carry each metric, and the histogram of each metric.

    Of {manifest: {metric: (share, labels [N])}}, the same metrics for all.

    Raises:
        ValueError: There is no label at all.
    """
    matplotlib = _matplotlib()
    names, metrics = list(manifests), list(next(iter(manifests.values()), {}))
    if not metrics:
        raise ValueError("there is no label to draw")
    columns = min(4, len(metrics))
    lines = -(-len(metrics) // columns)
    heights = [0.45 * len(names) + 1.5, 2.1 * lines]
    width = max(7.0, 0.8 * len(metrics) + 3, 2.6 * columns)
    figure = matplotlib.figure.Figure(figsize=(width, sum(heights)), layout="constrained")
    top, bottom = figure.subfigures(2, 1, height_ratios=heights)
    shares = np.array([[manifests[name][metric][0] for metric in metrics] for name in names])
    axis = top.subplots()
    axis.imshow(shares, cmap="Blues", vmin=0, vmax=1.2, aspect="auto")
    for (row, column), share in np.ndenumerate(shares):
        text = f"{100 * share:.0f} %" if share in (0, 1) or share >= 0.01 else "< 1 %"
        shade = "0.6" if share == 0 else "black" if share < 0.6 else "white"
        axis.text(column, row, text, ha="center", va="center", fontsize=9, color=shade)
    axis.set_xticks(range(len(metrics)), metrics, rotation=30, ha="right")
    axis.set_yticks(range(len(names)), names)
    axis.set_title("rows that carry a label", fontsize=10)
    axis.spines[:].set_visible(False)
    panels = bottom.subplots(lines, columns, squeeze=False)
    for panel, metric in zip(panels.flat, metrics, strict=False):
        every = np.concatenate([manifests[name][metric][1] for name in names])
        edges = np.histogram_bin_edges(every, bins=30)
        for number, name in enumerate(names):
            if len(values := manifests[name][metric][1]):
                shade = _colour(number)
                panel.hist(values, edges, density=True, histtype="step", color=shade, label=name)
        panel.set_title(metric, fontsize=9)
        panel.set_yticks([])
        panel.spines[["left", "top", "right"]].set_visible(False)
    for panel in panels.flat[len(metrics) :]:
        panel.set_axis_off()
    if len(names) > 1:
        handles = [matplotlib.lines.Line2D([], [], color=_colour(number)) for number in range(len(names))]
        bottom.legend(handles, names, loc="outside lower center", ncols=min(4, len(names)), frameon=False, fontsize=8)
    _save(figure, path)


def _save(figure: Any, path: Path) -> None:
    with atomic_write(path, binary=True) as file:
        figure.savefig(file, dpi=0.9 * figure.dpi, format=Path(path).suffix.removeprefix(".") or "png")


def _colour(number: int) -> Any:
    return _matplotlib().colormaps["tab10"](number % 10)


def _matplotlib() -> Any:
    """Without pyplot, whose backend is the caller's: in a notebook it shows pictures."""
    try:
        import matplotlib.figure
        import matplotlib.lines
    except ImportError as error:
        raise ImportError('plots need matplotlib: pip install "urgentmos_jax[report]"') from error
    return matplotlib
