"""The numbers of a run: `metrics.jsonl`, TensorBoard where its writer is installed, the console and a progress bar."""

import contextlib
import hashlib
import json
import logging
import math
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import absl.logging
import jax
import numpy as np

from urgentmos_jax.data.batching import LoadedBatch
from urgentmos_jax.files import StepLog, append_json_lines, is_remote, progress

logger = logging.getLogger(__name__)

# Updates that the host may be ahead of the devices.
AHEAD = 2


def show_log() -> logging.Logger:
    """Lets the package log on standard error, with the time; for programs, before they look for devices."""
    # Orbax logs every array it writes, and jax every kind of device that there is not.
    absl.logging.set_verbosity(absl.logging.WARNING)
    handler = logging.StreamHandler()
    handler.setFormatter(logging.Formatter("%(asctime)s %(message)s", "%H:%M:%S"))
    package = logging.getLogger("urgentmos_jax")
    package.addHandler(handler)
    package.setLevel(logging.INFO)
    package.propagate = False
    return package


class RunLog:
    """Gathers the reports of updates, which stay on the device until `flush`, so that no update waits for its numbers.

    Args:
        workdir: Gets `metrics.jsonl`, the folder `tensorboard`, and `not_finite.jsonl` where an update was left out.
        start: Update that the run resumes from; later lines of a killed run are dropped, they come again.
        updates: Length of the run.
        schedule: Learning rate of an update, counted from 0.
        writes: False on hosts that only need to know of bad updates.
    """

    def __init__(self, workdir: Path, start: int, updates: int, schedule: Callable[[int], Any], *, writes: bool = True):
        self.not_finite = workdir / "not_finite.jsonl"
        self.bad_in_a_row = 0
        self._updates, self._schedule, self._writes = updates, schedule, writes
        self._bad: float | None = None
        self._lines = StepLog(workdir / "metrics.jsonl", upto=start) if writes else None
        self._board = _board(workdir / "tensorboard", start) if writes else None
        self._bar = progress(None, updates, "update", start=start, hidden=not writes)
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

    def add(self, update: int, report: dict[str, jax.Array], group: Sequence[LoadedBatch]) -> None:
        """Takes the report of `TrainStep` and the batches of its update; the host waits where it is two updates ahead.

        So no more batches than that lie on the devices.
        """
        self._reports.append((update, report, [uids for batch in group for uids in batch.uids]))
        if len(self._reports) > AHEAD:
            jax.block_until_ready(self._reports[-1 - AHEAD][1])
        for batch in group:
            self._audio += batch.audio_seconds
            self._computed += batch.computed_seconds
        self._bar.update()

    def flush(self) -> None:
        """Fetches the reports and writes them: each update to the files, their mean to the console."""
        self._report()
        if self._lines is not None:
            self._lines.flush()

    def _report(self) -> None:
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
            self.write(update, "train", {**report, "learning_rate": rate}, batch=_digest(uids))
        means = {name: _mean([report[name] for _, report, _ in reports]) for name in reports[0][1]}
        speed = {"audio_seconds_a_second": self._audio / seconds, "padding_efficiency": self._audio / self._computed}
        speed["waiting_for_data"] = self._waited / seconds
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
            if self._writes:
                append_json_lines(self.not_finite, [{"step": update, "uids": uids}])
        self._bad = bad

    def write(self, step: int, kind: str, values: dict[str, float], **more: str) -> None:
        """Takes numbers for the files, which `flush` writes; what is not finite is left out."""
        if self._lines is None:
            return
        known = {name: value for name, value in values.items() if math.isfinite(value)}
        self._lines.add({"step": step, "kind": kind, **more, **known})
        if self._board is not None:
            for name, value in known.items():
                self._board.add_scalar(f"{kind}/{name}", value, step)

    def close(self) -> None:
        """Closes files and bar."""
        self._bar.close()
        if self._lines is not None:
            self._lines.flush()
        if self._board is not None:
            self._board.close()


def _mean(values: list[float]) -> float:
    finite = [value for value in values if math.isfinite(value)]
    return float(np.mean(finite)) if finite else math.nan


def _digest(uids: list) -> str:
    """Twelve hexadecimal digits that say which clips were in an update, in their order."""
    return hashlib.sha256(json.dumps(uids).encode()).hexdigest()[:12]


def _board(folder: Path, step: int) -> Any:
    if is_remote(folder):
        logger.warning("no TensorBoard files in a remote folder; the numbers are in metrics.jsonl")
        return None
    try:
        from tensorboardX import SummaryWriter
    except ImportError:
        logger.warning('no TensorBoard files; for them: pip install "urgentmos_jax[train]"')
        return None
    return SummaryWriter(str(folder), purge_step=step + 1)
