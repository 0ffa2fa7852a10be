"""Where the time of scoring goes."""

import threading
from dataclasses import dataclass, field


@dataclass
class Times:
    """Seconds since the model was loaded. Reading and decoding go on in threads, while the model computes.

    Attributes:
        reading: Waiting for the bytes of files, of all threads.
        decoding: CPU time of decoding, resampling and measuring, of all threads.
        computing: In the model, compiling included.
        audio: Of the recordings that were decoded.
    """

    reading: float = 0.0
    decoding: float = 0.0
    computing: float = 0.0
    audio: float = 0.0
    _lock: threading.Lock = field(default_factory=threading.Lock, repr=False, compare=False)

    def since(self, before: "Times") -> "Times":
        """What was added since there was a copy."""
        return Times(
            self.reading - before.reading,
            self.decoding - before.decoding,
            self.computing - before.computing,
            self.audio - before.audio,
        )

    def copy(self) -> "Times":
        """A copy."""
        return self.since(Times())

    def add(self, *, reading: float = 0.0, decoding: float = 0.0, computing: float = 0.0, audio: float = 0.0) -> None:
        """Adds to each."""
        with self._lock:
            self.reading += reading
            self.decoding += decoding
            self.computing += computing
            self.audio += audio
