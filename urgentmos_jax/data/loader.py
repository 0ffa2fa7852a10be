"""Batches decoded ahead of their use by Grain, in processes that are watched."""

import functools
import logging
import multiprocessing
import os
import queue
import signal
import threading
import time
from collections.abc import Iterator
from typing import Any

from urgentmos_jax.data.batching import HostRows, LoadedBatch
from urgentmos_jax.data.reading import BatchReader
from urgentmos_jax.lazy import missing

try:
    import grain
    from absl import flags
except ModuleNotFoundError as error:
    raise missing(error, "train") from None

logger = logging.getLogger(__name__)

# Batches decoded ahead of the computation.
AHEAD = 4
# A batch that does not come within so many seconds, behind the first, is taken for stuck.
PATIENCE_SECONDS = 25.0
FIRST_PATIENCE_SECONDS = 120.0
RESTARTS = 3


class DataWorkerLost(RuntimeError):
    """Processes that decode were killed or are stuck, and starting them again did not help."""


class LoadedBatches(Iterator[LoadedBatch]):
    """Loads batches `start` to `stop` - 1 in order, ahead of their use.

    The plan says what a batch holds, so its number is all it takes to resume: where a process was killed or is stuck,
    all are started again at the next batch, and the order stays.

    Args:
        reader: Of the plan's batches.
        start, stop: Counted over all epochs.
        rows: Of this host.
        workers: Processes that decode; 0 decodes in threads of this process. The batches are the same.
    """

    def __init__(self, reader: BatchReader, start: int, stop: int, *, workers: int, rows: HostRows | None = None):
        self._reader, self._next, self._stop, self._workers = reader, start, stop, workers
        self._rows = rows or HostRows()
        self._restarts, self._patience = 0, FIRST_PATIENCE_SECONDS
        self._open()

    def _open(self) -> None:
        self._queue: queue.Queue = queue.Queue(1)
        self._ended = threading.Event()
        self._processes: list[Any] = []
        self._others = set(multiprocessing.active_children())
        dataset = grain.MapDataset.range(self._next, self._stop).map(
            functools.partial(self._reader.load, rows=self._rows)
        )
        if self._workers:
            if not flags.FLAGS.is_parsed():
                flags.FLAGS.mark_as_parsed()  # Grain's processes read absl's flags.
            ahead = grain.ReadOptions(num_threads=1, prefetch_buffer_size=1)
            options = grain.MultiprocessingOptions(
                num_workers=self._workers, per_worker_buffer_size=max(1, AHEAD // self._workers)
            )
            init = functools.partial(_begin_worker, os.getpid())
            dataset = dataset.to_iter_dataset(ahead).mp_prefetch(options, worker_init_fn=init)
        else:
            dataset = dataset.to_iter_dataset(grain.ReadOptions(num_threads=2, prefetch_buffer_size=AHEAD))
        self._iterator = iter(dataset)
        self._thread = threading.Thread(target=_pull, args=(self._iterator, self._queue, self._ended), daemon=True)
        self._thread.start()

    def __next__(self) -> LoadedBatch:
        if self._next >= self._stop:
            raise StopIteration
        began = time.monotonic()
        while True:
            if len(self._processes) < self._workers:
                self._processes = [one for one in multiprocessing.active_children() if one not in self._others]
            try:
                batch, error = self._queue.get(timeout=0.2)
            except queue.Empty:
                if time.monotonic() - began > self._patience:
                    self._open_again(f"no batch for {self._patience:.0f} s; data workers {self._pids()}")
                    began = time.monotonic()
                continue
            if error is None:
                self._next += 1
                self._restarts, self._patience = 0, PATIENCE_SECONDS
                return batch
            # Grain's words for a process that died; what `BatchReader.load` raises comes as it is.
            if "terminated unexpectedly" not in str(error):
                raise error
            self._open_again(f"data worker {self._pids(lost=True)}")
            began = time.monotonic()

    def _pids(self, *, lost: bool = False) -> str:
        """Processes and how they ended."""
        named = [
            f"{one.pid} ended by {_reason(one.exitcode)}" if one.exitcode else str(one.pid)
            for one in self._processes
            if one.exitcode or not lost
        ]
        return ", ".join(named) or ("killed as it began" if lost else "threads of this process")

    def _open_again(self, fault: str) -> None:
        self._restarts += 1
        if self._restarts > RESTARTS or not self._workers:
            raise DataWorkerLost(
                f"{fault}; {self._restarts} tries to resume from batch {self._next} failed. Look at the storage of the "
                f"audio and at the memory of this machine, then give the same command again: it resumes the run"
            )
        logger.warning("%s; started again at batch %d", fault, self._next)
        for one in set(multiprocessing.active_children()) - self._others:
            one.kill()
        self.close()
        self._patience = FIRST_PATIENCE_SECONDS
        self._open()

    def close(self) -> None:
        """Ends threads and processes."""
        self._ended.set()
        self._thread.join(timeout=5)
        if hasattr(self._iterator, "close"):
            self._iterator.close()
        self._iterator = None


def _pull(iterator: Iterator[Any], batches: queue.Queue, ended: threading.Event) -> None:
    found: tuple[Any, Exception | None] = (None, None)
    while not ended.is_set() and found[1] is None:
        try:
            found = (next(iterator), None)
        except Exception as error:
            found = (None, error)
        while not ended.is_set():
            try:
                batches.put(found, timeout=0.5)
                break
            except queue.Full:
                continue


def _begin_worker(parent: int, number: int, count: int) -> None:
    """Of a data worker: signals to the process group are the parent's to handle, and the worker ends with it."""
    del number, count
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    signal.signal(signal.SIGINT, signal.SIG_IGN)

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(1)
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


def _reason(exitcode: int) -> str:
    return signal.Signals(-exitcode).name if exitcode < 0 else f"exit status {exitcode}"
