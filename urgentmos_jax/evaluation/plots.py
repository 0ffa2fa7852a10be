"""Pictures of predictions. Needs matplotlib: `pip install "urgentmos_jax[report]"`."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

__all__ = ["frame_scores", "predicted_against_true"]


def predicted_against_true(
    path: Path, panels: Mapping[str, tuple[Sequence[float], Sequence[float]]], groups: Sequence[Sequence[str]]
) -> None:
    """Scatter plots side by side, one a metric.

    Args:
        path: PNG to write.
        panels: {title: (true [N], predicted [N])}.
        groups: For each panel the N names that colour its points.
    """
    plt = _pyplot()
    names = sorted({name for group in groups for name in group})
    figure, axes = plt.subplots(1, len(panels), figsize=(3.6 * len(panels), 3.9), squeeze=False, layout="constrained")
    for axis, (title, (true, predicted)), group in zip(axes[0], panels.items(), groups, strict=True):
        true, predicted, group = np.asarray(true), np.asarray(predicted), np.asarray(group)
        for number, name in enumerate(names):
            chosen = group == name
            axis.scatter(true[chosen], predicted[chosen], s=14, color=plt.cm.tab10(number % 10), label=name)
        low, high = min(true.min(), predicted.min()), max(true.max(), predicted.max())
        axis.plot([low, high], [low, high], color="0.7", linewidth=1, zorder=0)
        axis.set(title=title, xlabel="true")
    axes[0, 0].set_ylabel("predicted")
    handles, labels = axes[0, 0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=min(5, len(names)), frameon=False, fontsize=8)
    figure.savefig(path, dpi=90)
    plt.close(figure)


def frame_scores(
    path: Path, clips: Mapping[str, tuple[np.ndarray, Sequence[float]]], *, sample_rate_hz: int, metric: str
) -> None:
    """Waveforms with the score of each frame over time, one row a clip.

    Args:
        path: PNG to write.
        clips: {title: (waveform [T], frame scores [L])}.
        sample_rate_hz: Of the waveforms.
        metric: Name of the score.
    """
    plt = _pyplot()
    figure, axes = plt.subplots(len(clips), 1, figsize=(7, 2.2 * len(clips)), squeeze=False, layout="constrained")
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
    figure.savefig(path, dpi=90)
    plt.close(figure)


def _pyplot():
    try:
        import matplotlib
    except ImportError as error:
        raise ImportError('plots need matplotlib: pip install "urgentmos_jax[report]"') from error
    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    return plt
