"""Batches across requests: what arrives within a short delay is computed together.

One thread has the model. While it computes, requests wait; it then takes the oldest of them, as many as fill the
device, and the engine sorts their windows by length into batches.
"""

import sys
import threading
import time
from collections import defaultdict, deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import Any

from urgentmos_jax.scoring.model import Model
from urgentmos_jax.scoring.row_formats import Row
from urgentmos_jax.scoring.rows import Compared, Order, Scored
from urgentmos_jax.serving.limits import Limits, busy
from urgentmos_jax.serving.recordings import Recording

# Batches of the device that are taken at a time: enough to sort by length, few to wait for.
_BATCHES = 2


@dataclass(frozen=True)
class Options:
    """What is asked of recordings; jobs with the same are computed together.

    Attributes:
        compare: Pairs, in place of scores.
        frames: Add the score and weight of each frame.
        order: Of comparisons, see `Model.compare`.
        metrics: Some of the model's metrics; None = all.
    """

    compare: bool = False
    frames: bool = False
    order: Order = "both"
    metrics: tuple[str, ...] | None = None


@dataclass(eq=False)
class Job:
    """The recordings of a request, loaded.

    Attributes:
        recordings: Of its rows; of pairs A and B one after the other.
        options: What is asked of them.
        uids: Of the rows of pairs; None stands for the names of A and B.
        seconds: Of audio.
        rows: Become those of the answer, in order.
    """

    recordings: Sequence[Recording]
    options: Options
    seconds: float
    uids: Sequence[str | None] = ()
    rows: Future[list[Row]] = field(default_factory=Future)
    arrived: float = field(default_factory=time.monotonic)


class Batcher:
    """Computes jobs in a thread of its own, several at a time.

    Args:
        model: Computes.
        limits: Its delay, and how much may wait.
        note: Is told of each computation: requests, recordings, seconds of audio, seconds it took.
    """

    def __init__(self, model: Model, limits: Limits, note: Callable[[int, int, float, float], None] | None = None):
        self._model, self._limits, self._note = model, limits, note
        self._full_seconds = _BATCHES * model.engine.batch_seconds
        self._waiting: deque[Job] = deque()
        self._waiting_seconds = 0.0
        self._stopping = False
        self._changed = threading.Condition()
        self._thread = threading.Thread(target=self._run, name="batcher", daemon=True)

    @property
    def computes(self) -> bool:
        """Whether jobs are computed."""
        return self._thread.is_alive()

    @property
    def waiting(self) -> tuple[int, float]:
        """Jobs that wait, and their seconds of audio."""
        with self._changed:
            return len(self._waiting), self._waiting_seconds

    def start(self) -> None:
        """Begins to compute."""
        self._thread.start()

    def stop(self) -> None:
        """Computes what waits, and ends."""
        with self._changed:
            self._stopping = True
            self._changed.notify_all()
        self._thread.join()

    def submit(self, job: Job) -> None:
        """Takes a job, whose `rows` are then on the way.

        Raises:
            Refused: Too much waits.
        """
        with self._changed:
            if self._stopping:
                raise busy("the service is being stopped; try again later")
            if self._waiting and self._waiting_seconds + job.seconds > self._limits.max_waiting_seconds:
                raise busy(f"{self._waiting_seconds:.0f} s of audio wait; try again later")
            self._waiting.append(job)
            self._waiting_seconds += job.seconds
            self._changed.notify_all()

    def drop(self, job: Job) -> None:
        """Forgets a job that nobody waits for any more, unless it is being computed."""
        with self._changed:
            if job.rows.cancel() and job in self._waiting:
                self._waiting.remove(job)
                self._waiting_seconds -= job.seconds

    def _run(self) -> None:
        while jobs := self._take():
            start = time.monotonic()
            by_options: dict[Options, list[Job]] = defaultdict(list)
            for job in jobs:
                if job.rows.set_running_or_notify_cancel():
                    by_options[job.options].append(job)
            for options, alike in by_options.items():
                self._compute(options, alike)
            if self._note and by_options:
                done = [job for alike in by_options.values() for job in alike]
                recordings, seconds = sum(len(job.recordings) for job in done), sum(job.seconds for job in done)
                self._note(len(done), recordings, seconds, time.monotonic() - start)

    def _take(self) -> list[Job]:
        """The oldest jobs, once the first has waited long enough or there are enough; none at the end."""
        with self._changed:
            while True:
                self._changed.wait_for(lambda: self._waiting or self._stopping)
                if not self._waiting:
                    return []
                left = self._waiting[0].arrived + self._limits.delay_seconds - time.monotonic()
                self._changed.wait_for(self._is_enough, max(0.0, left))
                if self._waiting:  # The only one may have been dropped.
                    break
            jobs, seconds = [self._waiting.popleft()], 0.0
            while self._waiting and jobs[-1].seconds + seconds + self._waiting[0].seconds <= self._full_seconds:
                seconds += jobs[-1].seconds
                jobs.append(self._waiting.popleft())
            self._waiting_seconds = sum(job.seconds for job in self._waiting)
        return jobs

    def _is_enough(self) -> bool:
        return self._stopping or not self._waiting or self._waiting_seconds >= self._full_seconds

    def _compute(self, options: Options, jobs: Sequence[Job]) -> None:
        try:
            rows = deque(self._rows(options, jobs))
        except Exception as error:
            if len(jobs) == 1:
                jobs[0].rows.set_exception(error)
            else:  # One must not take the others with it.
                for job in jobs:
                    self._compute(options, [job])
            return
        for job in jobs:
            count = len(job.uids) if options.compare else len(job.recordings)
            job.rows.set_result([rows.popleft() for _ in range(count)])

    def _rows(self, options: Options, jobs: Sequence[Job]) -> list[Row]:
        recordings = [recording for job in jobs for recording in job.recordings]
        names = [recording.uid for recording in recordings]
        # Features wait in memory: nothing of a request is written to disk.
        settings: dict[str, Any] = {"uids": names, "max_feature_bytes": sys.maxsize}
        rows: list[Row] = []
        if not options.compare:
            scored = self._model.assess(recordings, frames=options.frames, metrics=options.metrics, **settings)
            for recording, result in zip(recordings, scored, strict=True):
                assert isinstance(result, Scored)
                row = result.row
                rows.append({**row, "path": recording.path, "error": recording.as_given(row["error"])})
            return rows
        sides = list(zip(recordings[::2], recordings[1::2], strict=True))
        uids = [given for job in jobs for given in job.uids]
        results = self._model.assess(
            recordings,
            [(2 * i, 2 * i + 1) for i in range(len(sides))],
            order=options.order,
            comparative_metrics=options.metrics,
            pair_uids=[uid or f"{a.uid} {b.uid}" for uid, (a, b) in zip(uids, sides, strict=True)],
            **settings,
        )
        for result in results:
            if isinstance(result, Compared):
                a, b = sides[len(rows)]
                error = a.as_given(b.as_given(result.row["error"]))
                rows.append({**result.row, "paths": [a.path, b.path], "error": error})
        return rows
