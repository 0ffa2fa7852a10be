"""Recordings that are no files of their own: parts of longer ones, members of archives, cells of tables."""

import io
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from urgentmos_jax.audio.errors import AudioError

# A part from the start on that ends so near to the end of its file is the whole file: lists round lengths.
_WHOLE_SECONDS = 0.1


@dataclass(frozen=True, slots=True)
class FilePart:
    """Bytes of a file that are a file themselves, as the member of an archive."""

    path: str
    start: int
    size: int


@dataclass(frozen=True, slots=True)
class Recording:
    """A recording that is no file of its own.

    Attributes:
        path: What rows and messages call it, and `--resume` knows it by: `shard.tar/key.wav`, `file.parquet#17`,
            `long.wav#t=1.5,4` (as W3C Media Fragments write a part in seconds).
        source: Path of a file, bytes within one, the content of one, or why there is none.
        start_s: Where it begins in the source, in seconds.
        duration_s: Its length; None: up to the end.
        channels: Of the source, from 0; their mean is taken. None: of all.
    """

    path: str
    source: str | bytes | FilePart | AudioError
    start_s: float = 0.0
    duration_s: float | None = None
    channels: tuple[int, ...] | None = None

    @property
    def nbytes(self) -> int:
        """Memory that it holds."""
        return len(self.source) if isinstance(self.source, bytes) else 0

    @property
    def is_part(self) -> bool:
        """Whether it is less than what is decoded of its source."""
        return self.start_s > 0 or self.duration_s is not None

    def span(self, rate_hz: int, claimed: int | None) -> tuple[int, int | None]:
        """First sample and number of samples, None: up to the end.

        Args:
            rate_hz: Of the source.
            claimed: Samples that its header claims, or None.
        """
        if self.duration_s is None:
            return math.floor(self.start_s * rate_hz + 0.5), None
        count = math.floor(self.duration_s * rate_hz + 0.5)
        if not self.start_s and claimed is not None and abs(claimed - count) <= _WHOLE_SECONDS * rate_hz:
            return 0, None
        return math.floor(self.start_s * rate_hz + 0.5), count


def of_dataset(value: Any) -> Any:
    """The recording of a row of a Hugging Face data set, `{"bytes": ..., "path": ...}`; anything else as it is."""
    if not isinstance(value, Mapping) or not {"bytes", "path"} & value.keys():
        return value
    data, path = value.get("bytes"), value.get("path")
    if data is None:
        return path
    return Recording(path, data) if path else io.BytesIO(data)


@dataclass(frozen=True, slots=True)
class Stored:
    """A recording in a file that is read from its start on, a table or a packed archive; see `manifests.inputs.stream`.

    Attributes:
        path: See `Recording`.
        container: The file.
        number: Of the row, or of the member, from 0.
        audio_root: Where else the path in a row is looked up that has no bytes.
    """

    path: str
    container: str
    number: int
    audio_root: Path | None = None
