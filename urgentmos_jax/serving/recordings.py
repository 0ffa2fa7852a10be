"""A recording of a request: decoded before it waits for the model, and never more of it than a request may have."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np

from urgentmos_jax.audio.loading import AudioBlocks, AudioError
from urgentmos_jax.scoring.rows import RowError


class TooLong(Exception):
    """The recordings of a request are longer than it may have."""


class Recording(AudioBlocks):
    """A recording of a request. Once loaded it can be iterated, as an `AudioBlocks`, as often as asked.

    Args:
        uid: Of its row.
        source: Path, or an open file.
        path: As the request gave it, None of an uploaded recording.
        min_samples: See `load_audio`.
    """

    def __init__(self, uid: str, source: object, *, path: str | None = None, min_samples: int = 400):
        super().__init__(source, name=uid, min_samples=min_samples, measured=True)
        self.uid, self.path = uid, path
        self._full_path = str(source) if isinstance(source, str | Path) else None
        self._blocks: list[np.ndarray] = []
        self._error: AudioError | None = None

    def load(self, max_seconds: float) -> float:
        """Decodes it; what is wrong with it is raised when it is iterated.

        Args:
            max_seconds: It may have.

        Returns:
            Its length in seconds, 0 of one that cannot be decoded.

        Raises:
            TooLong: It is longer.
        """
        try:
            for block in super().__iter__():
                self._blocks.append(block)
                if self.duration_s > max_seconds:
                    raise TooLong
        except AudioError as error:
            self._blocks, self._error = [], error
        self._source = None
        return 0.0 if self._error else self.duration_s

    def __iter__(self) -> Iterator[np.ndarray]:
        if self._error:
            raise self._error
        yield from self._blocks

    def as_given(self, error: RowError | None) -> RowError | None:
        """The error of a row without the folder that the service reads from, of which clients know nothing."""
        if error is None or self._full_path is None or self.path is None:
            return error
        return RowError(code=error["code"], message=error["message"].replace(self._full_path, self.path))
