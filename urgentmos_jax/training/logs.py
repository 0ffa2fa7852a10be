"""Figures of a run: `metrics.jsonl`, TensorBoard where its writer is installed, the console and a progress bar."""

import contextlib
import json
import logging
import math
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import absl.logging
import jax
import numpy as np
from tqdm import tqdm

from urgentmos_jax.audio import SAMPLE_RATE_HZ

__all__ = ["RunLog", "show_log"]

logger = logging.getLogger(__name__)


def show_log() -> logging.Logger:
    """Lets the package tell on standard error what it does, with the time; for programs."""
    absl.logging.set_verbosity(absl.logging.WARNING)  # Orbax tells of every array it writes.
    handler = logging.StreamHandler()
    handler.setFormatter(logging.Formatter("%(asctime)s %(message)s", "%H:%M:%S"))
    package = logging.getLogger("urgentmos_jax")
    package.addHandler(handler)
    package.setLevel(logging.INFO)
    package.propagate = False
    return package


class RunLog:
    """Gathers the reports of updates, which stay on the device until `flush`, so that no update waits for its figures.

    Args:
        workdir: Gets `metrics.jsonl`, the folder `tensorboard`, and `not_finite.jsonl` where an update was left out.
        start: Update that the run goes on from; later lines of a killed run are dropped, they come again.
        updates: Length of the run.
        schedule: Learning rate of an update, counted from 0.
    """

    def __init__(self, workdir: Path, start: int, updates: int, schedule: Callable[[int], Any]):
        self.not_finite = workdir / "not_finite.jsonl"
        self.bad_in_a_row = 0
        self._updates, self._schedule, self._bad = updates, schedule, None
        self._file = _reopened(workdir / "metrics.jsonl", start)
        self._board = _board(workdir / "tensorboard", start)
        self._bar = tqdm(total=updates, initial=start, unit="update", file=sys.stderr, disable=None, dynamic_ncols=True)
        self._reports: list[tuple[int, Any, list]] = []
        self.restart_clock()

    def restart_clock(self) -> None:
        """Leaves what came since the last `flush` (a validation, say) out of the rates."""
        self._started, self._waited, self._audio, self._computed = time.perf_counter(), 0.0, 0.0, 0.0

    @contextlib.contextmanager
    def waiting(self) -> Iterator[None]:
        """Counts the time inside as waiting for data."""
        start = time.perf_counter()
        yield
        self._waited += time.perf_counter() - start

    def add(self, update: int, report: dict[str, jax.Array], group: list[dict[str, Any]]) -> None:
        """Takes the report of `TrainStep` and the batches of its update."""
        self._reports.append((update, report, [uids for batch in group for uids in batch["uids"]]))
        for batch in group:
            self._audio += float(batch["arrays"]["lengths"].sum()) / SAMPLE_RATE_HZ
            self._computed += batch["arrays"]["waveform"].size / SAMPLE_RATE_HZ
        self._bar.update()

    def flush(self) -> None:
        """Fetches the reports and writes them: each update to the files, their mean to the console."""
        reports = [
            (update, {name: float(value) for name, value in jax.device_get(report).items()}, uids)
            for update, report, uids in self._reports
        ]
        self._reports = []
        if not reports:
            return
        seconds = time.perf_counter() - self._started
        for update, report, uids in reports:
            self._note_bad(update, report, uids)
            rate = float(self._schedule(update - 1))
            self.write(update, "train", {**report, "learning_rate": rate})
        means = {name: _mean([report[name] for _, report, _ in reports]) for name in reports[0][1]}
        speed = {
            "audio_seconds_a_second": self._audio / seconds,
            "padding_efficiency": self._audio / self._computed,
            "waiting_for_data": self._waited / seconds,
        }
        self.write(reports[-1][0], "speed", speed)
        self._bar.set_postfix(loss=f"{means['loss']:.3f}")
        errors = " ".join(
            f"{name.removeprefix('error/')} {value:.3f}"
            for name, value in means.items()
            if name.startswith("error/") and math.isfinite(value)
        )
        logger.info(
            "update %d/%d loss %.4f (%s) lr %.2e grad_norm %.2f, %.0f audio s/s, padding %.2f, waiting %.0f %%",
            *(reports[-1][0], self._updates, means["loss"], errors, rate, means["grad_norm"]),
            *(speed["audio_seconds_a_second"], speed["padding_efficiency"], 100 * speed["waiting_for_data"]),
        )
        self.restart_clock()

    def _note_bad(self, update: int, report: dict[str, float], uids: list) -> None:
        bad, self.bad_in_a_row = report["bad"], int(report["bad_in_a_row"])
        if report["bad_in_a_row"] > 0 and bad != self._bad:
            logger.warning("update %d left out: its gradients are not finite; clips in %s", update, self.not_finite)
            with self.not_finite.open("a", encoding="utf-8") as file:
                file.write(json.dumps({"step": update, "uids": uids}) + "\n")
        self._bad = bad

    def write(self, step: int, kind: str, values: dict[str, float]) -> None:
        """Writes figures to the files; what is not finite is left out."""
        known = {name: value for name, value in values.items() if math.isfinite(value)}
        self._file.write(json.dumps({"step": step, "kind": kind, **known}) + "\n")
        self._file.flush()
        if self._board is not None:
            for name, value in known.items():
                self._board.add_scalar(f"{kind}/{name}", value, step)

    def close(self) -> None:
        """Closes files and bar."""
        self._bar.close()
        self._file.close()
        if self._board is not None:
            self._board.close()


def _mean(values: list[float]) -> float:
    finite = [value for value in values if math.isfinite(value)]
    return float(np.mean(finite)) if finite else math.nan


def _reopened(path: Path, step: int) -> Any:
    """A file of JSON lines without those behind `step`; the last line of a killed run may be cut."""
    kept = []
    if path.exists():
        lines = [line for line in path.read_text(encoding="utf-8").split("\n") if line.endswith("}")]
        kept = [line for line in lines if json.loads(line)["step"] <= step]
    path.write_text("".join(f"{line}\n" for line in kept), encoding="utf-8")
    return path.open("a", encoding="utf-8")


def _board(folder: Path, step: int) -> Any:
    try:
        from tensorboardX import SummaryWriter
    except ImportError:
        logger.warning('no TensorBoard files; for them: pip install "urgentmos_jax[train]"')
        return None
    return SummaryWriter(str(folder), purge_step=step + 1)
