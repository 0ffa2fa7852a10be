"""Work in several processes; a task that kills its process takes no other task with it."""

import multiprocessing
import os
import signal
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from typing import TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")


def in_processes(
    function: Callable[[Item], Result], items: Iterable[Item], processes: int
) -> Iterator[tuple[Item, Result | None]]:
    """Calls a function on each item, in several processes.

    The processes are new ones, not forks: the caller may hold threads of jax. They end with the caller, however it
    ends. The main module needs the guard `if __name__ == "__main__"`.

    Args:
        function: Importable, as its items and results are picklable. What it raises is raised here.
        items: Any number; few are in flight at a time.
        processes: Number of them.

    Yields:
        (item, result), in any order; a result of None where the process died of the item.
    """
    waiting = deque(items)
    suspects: deque[Item] = deque()
    while waiting or suspects:
        # When a process dies, all that were in flight go again, one at a time: which one dies then is the culprit.
        queue, size, limit = (suspects, 1, 1) if suspects else (waiting, processes, 2 * processes)
        running: dict[Future, Item] = {}
        pool = ProcessPoolExecutor(size, mp_context=multiprocessing.get_context("spawn"), initializer=_begin)
        try:
            while queue or running:
                with one_thread_each(), _without_interrupts():  # Of processes that start here.
                    while queue and len(running) < limit:
                        future = pool.submit(function, queue[0])
                        running[future] = queue.popleft()
                done, _ = wait(running, return_when=FIRST_COMPLETED)
                for future in done:
                    result = future.result()
                    yield running.pop(future), result
        except BrokenProcessPool:
            if queue is waiting:
                suspects.extend(running.values())
            else:
                yield from ((item, None) for item in running.values())
        finally:
            pool.shutdown(wait=True, cancel_futures=True)


@contextmanager
def one_thread_each() -> Iterator[None]:
    """Lets processes started here use one BLAS thread: a pool of threads in each takes twice the CPU time."""
    names = ("OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "OMP_NUM_THREADS", "VECLIB_MAXIMUM_THREADS")
    before = {name: os.environ[name] for name in names if name in os.environ}
    os.environ.update(dict.fromkeys(names, "1"))
    try:
        yield
    finally:
        for name in names:
            del os.environ[name]
        os.environ.update(before)


@contextmanager
def _without_interrupts() -> Iterator[None]:
    """Has Ctrl-C wait, for this process until the end, for those that start meanwhile until `_begin` ignores it."""
    if not hasattr(signal, "pthread_sigmask"):  # Windows.
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _begin() -> None:
    """Leaves Ctrl-C to the parent, and ends with it: otherwise it would wait for the queue for ever."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)

    def end_with_parent() -> None:
        if parent := multiprocessing.parent_process():
            parent.join()
        os._exit(1)

    threading.Thread(target=end_with_parent, daemon=True).start()
