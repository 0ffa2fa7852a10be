"""What the service has done so far, as Prometheus reads it (text format 0.0.4)."""

import threading
from bisect import bisect_left
from collections import defaultdict

_SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0)
_COUNTS = (1, 2, 4, 8, 16, 32, 64, 128)

Labels = tuple[tuple[str, str], ...]

_COUNTERS = {
    "urgentmos_requests_total": "Requests by path and HTTP status.",
    "urgentmos_rows_total": "Rows by path and result: done, or the code of the error.",
    "urgentmos_audio_seconds_total": "Audio that was computed.",
    "urgentmos_compute_seconds_total": "Time the model was busy.",
}
_HISTOGRAMS: dict[str, tuple[str, tuple[float, ...]]] = {
    "urgentmos_request_seconds": ("From the head of a request to the end of its answer.", _SECONDS),
    "urgentmos_batch_requests": ("Requests computed together.", _COUNTS),
    "urgentmos_batch_recordings": ("Recordings computed together.", _COUNTS),
}
_GAUGES = {
    "urgentmos_open_requests": "Requests that are not answered yet.",
    "urgentmos_waiting_requests": "Requests that wait for the model.",
    "urgentmos_waiting_audio_seconds": "Audio that waits for the model.",
}


class Monitor:
    """Counts; every method may be called from any thread."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._counts: dict[str, dict[Labels, float]] = {name: defaultdict(float) for name in _COUNTERS}
        # Of each histogram and labels: observations a bucket, and their sum.
        self._observed: dict[str, dict[Labels, tuple[list[int], list[float]]]] = {name: {} for name in _HISTOGRAMS}

    def add(self, name: str, value: float = 1.0, **labels: str) -> None:
        """Raises a counter."""
        with self._lock:
            self._counts[name][tuple(labels.items())] += value

    def observe(self, name: str, value: float, **labels: str) -> None:
        """Takes a value of a histogram."""
        bounds = _HISTOGRAMS[name][1]
        with self._lock:
            counts, sums = self._observed[name].setdefault(tuple(labels.items()), ([0] * (len(bounds) + 1), [0.0]))
            counts[bisect_left(bounds, value)] += 1
            sums[0] += value

    def text(self, gauges: dict[str, float]) -> str:
        """All of it, with the gauges as they are now (by names of `_GAUGES`)."""
        lines: list[str] = []
        with self._lock:
            for name, about in _COUNTERS.items():
                lines += _head(name, about, "counter")
                lines += [f"{name}{_labels(labels)} {value:.15g}" for labels, value in self._counts[name].items()]
            for name, (about, bounds) in _HISTOGRAMS.items():
                lines += _head(name, about, "histogram")
                for labels, (counts, sums) in self._observed[name].items():
                    total = 0
                    for bound, count in zip((*map(str, bounds), "+Inf"), counts, strict=True):
                        total += count
                        lines.append(f"{name}_bucket{_labels((*labels, ('le', bound)))} {total}")
                    lines += [f"{name}_sum{_labels(labels)} {sums[0]:.6f}", f"{name}_count{_labels(labels)} {total}"]
        for name, about in _GAUGES.items():
            lines += [*_head(name, about, "gauge"), f"{name} {gauges[name]:g}"]
        return "\n".join(lines) + "\n"


def _head(name: str, about: str, kind: str) -> list[str]:
    return [f"# HELP {name} {about}", f"# TYPE {name} {kind}"]


def _labels(labels: Labels) -> str:
    """Labels in braces; their values are words of ours, with nothing to escape."""
    return "{" + ",".join(f'{name}="{value}"' for name, value in labels) + "}" if labels else ""
