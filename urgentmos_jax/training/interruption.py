"""SIGTERM and Ctrl-C: a run that is asked to end saves a checkpoint first."""

import contextlib
import signal
import sys
import threading
from collections.abc import Iterator
from typing import Any

from jax.experimental import multihost_utils

from urgentmos_jax.training import topology


class Interrupted(RuntimeError):
    """A signal ended the run, behind a checkpoint; `signal` is its number."""

    def __init__(self, number: int, message: str):
        super().__init__(f"{signal.Signals(number).name}: {message}")
        self.signal = number


class Interruption:
    """Asks for a checkpoint and an end after the update under way.

    On several hosts a SIGTERM to one of them, as preemption sends it, ends all of them at the same update.
    """

    def __init__(self) -> None:
        self._signal = 0

    @contextlib.contextmanager
    def caught(self) -> Iterator[None]:
        """Catches signals inside; a second one ends the process at once."""
        if topology.host_count() > 1 or threading.current_thread() is not threading.main_thread():
            yield
            return
        before = {number: signal.signal(number, self._note) for number in (signal.SIGTERM, signal.SIGINT)}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    def _note(self, number: int, frame: Any) -> None:
        del frame
        self._signal = number
        signal.signal(number, signal.default_int_handler if number == signal.SIGINT else signal.SIG_DFL)
        print(f"\n{signal.Signals(number).name}: saving a checkpoint, then ending", file=sys.stderr)

    def after(self, update: int) -> int:
        """The signal that ends the run after this update, 0 for none; to be asked after each one."""
        if topology.host_count() > 1 and multihost_utils.reached_preemption_sync_point(update):
            self._signal = signal.SIGTERM
        return self._signal
