"""Says what is being done, at least every few seconds: compiling takes a while and says nothing of itself."""

import logging
import sys
import threading
import time

from tqdm import tqdm


class Progress(logging.Handler):
    """Prints a line on standard error when a step begins, and again whenever nothing was logged for a while.

    As a context manager it listens to a logger, whose records count as signs of life, and prints until it is left.

    Args:
        logger: The logger that is listened to.
        every_seconds: The longest silence.
    """

    def __init__(self, logger: logging.Logger, *, every_seconds: float = 4.0):
        super().__init__()
        self._logger, self._every = logger, every_seconds
        self._step, self._began, self._last = "", time.monotonic(), time.monotonic()
        self._left = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)

    def __enter__(self) -> "Progress":
        self._logger.addHandler(self)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._left.set()
        self._thread.join()
        self._logger.removeHandler(self)

    def begin(self, step: str) -> None:
        """Announces the next step."""
        self._step, self._began = step, time.monotonic()
        self._say(step)

    def emit(self, record: logging.LogRecord) -> None:
        """Notes that something was logged."""
        self._last = time.monotonic()

    def _watch(self) -> None:
        while not self._left.wait(0.5):
            if self._step and time.monotonic() - self._last >= self._every:
                self._say(f"{self._step}: {time.monotonic() - self._began:.0f} s so far")

    def _say(self, text: str) -> None:
        self._last = time.monotonic()
        tqdm.write(f"{time.strftime('%H:%M:%S')} {text}", file=sys.stderr)
        sys.stderr.flush()
