"""Audio that libsndfile does not read, by FFmpeg: M4A, AAC, WebM, the sound of videos. PyAV, the extra `media`.

Formats are told apart by `containers.foreign_kind`, not by FFmpeg, some of whose formats make it open other files.
"""

import contextlib
import importlib.util
import io
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, cast

import numpy as np
import soundfile

from urgentmos_jax.audio.errors import audio_error

if TYPE_CHECKING:
    import av

# Those of AAC and AMR frames alone are guessed from the bit rate.
_TELL_LENGTHS = ("mov", "matroska", "asf", "avi", "flv")
_MAX_ELEMENTS = 1000
_BOXES = b"ftyp styp moov moof mdat mfra free skip wide sidx ssix prft emsg pdin meta udta uuid".split()


def has_media() -> bool:
    """Whether PyAV is installed."""
    return importlib.util.find_spec("av") is not None


def advice() -> str:
    """What to do besides where PyAV is not installed."""
    return "" if has_media() else ', or pip install "urgentmos_jax[media]"'


class MediaFile:
    """The first audio stream of a file, with what is used of a `soundfile.SoundFile`.

    Args:
        raw: The file, at its start; it stays open.
        demuxer: FFmpeg's name of its format.
        kind: The format, and what to do, for messages.
        name: Of the file, for messages.

    Attributes:
        samplerate, channels: Of its samples.
        claimed: Samples a channel by its header, None if that does not tell.

    Raises:
        AudioError: `undecodable`, or `truncated` where an end is missing without which it cannot be read.
    """

    format = "MEDIA"

    def __init__(self, raw: io.BufferedReader, demuxer: str, kind: str, name: str | None):
        import av

        if cut := cut_at(raw, demuxer):
            raise audio_error("truncated", name, f"{cut}; copy or make it again")
        raw.seek(0)
        self._error: Any = av.FFmpegError
        try:
            # PyAV types it as one that may be written to.
            self._container = cast("Any", av.open(raw, format=demuxer, metadata_errors="replace"))
        except self._error as error:
            raise audio_error("undecodable", name, f"it is {kind} (FFmpeg says: {error.strerror})") from error
        try:
            if not self._container.streams.audio:
                raise audio_error("undecodable", name, "it has no sound; give a recording")
            stream = self._container.streams.audio[0]
            self._resampler = av.AudioResampler(format="flt")
            self._frames = self._container.decode(stream)
            self._next: np.ndarray | None = None
            self.samplerate, self.channels = stream.rate, stream.channels
            try:
                # Its header may have half the rate, or fewer channels.
                self._next = self._decoded()
            except self._error as error:
                raise audio_error("undecodable", name, f"FFmpeg says: {error.strerror}; make it again") from error
            self.claimed = self._claimed(stream) if demuxer in _TELL_LENGTHS else None
        except BaseException:
            self._container.close()
            raise

    def __enter__(self) -> "MediaFile":
        return self

    def __exit__(self, *_: object) -> None:
        self._container.close()

    def read(self, _samples: int, **_options: Any) -> np.ndarray:
        """The next samples [n, channels] float32; none at the end.

        Raises:
            soundfile.SoundFileError: They cannot be decoded.
        """
        block, self._next = self._next, None
        try:
            return self._decoded() if block is None else block
        except self._error as error:
            raise soundfile.SoundFileError(error.strerror) from error
        except ValueError as error:  # Of the resampler: the layout is another from here on.
            raise soundfile.SoundFileError(str(error)) from error

    def _decoded(self) -> np.ndarray:
        for frame in self._frames:
            parts = self._resampler.resample(frame)
            if parts and sum(part.samples for part in parts):
                self.samplerate, self.channels = frame.sample_rate, len(frame.layout.channels)
                return np.concatenate([part.to_ndarray().reshape(-1, self.channels) for part in parts])
        return np.zeros((0, self.channels), np.float32)

    def _claimed(self, stream: "av.AudioStream") -> int | None:
        if stream.duration is not None and stream.time_base is not None:
            return round(float(stream.duration * stream.time_base) * self.samplerate)
        if told := stream.metadata.get("DURATION"):  # Of a stream of Matroska, as HH:MM:SS.
            with contextlib.suppress(ValueError):
                hours, minutes, seconds = map(float, told.split(":"))
                return round((3600 * hours + 60 * minutes + seconds) * self.samplerate)
        if self._container.duration is None or len(self._container.streams) > 1:
            return None  # That of a video may be longer than its sound.
        return round(self._container.duration / 1e6 * self.samplerate)


def cut_at(raw: io.BufferedReader, demuxer: str) -> str | None:
    """Says where a file ends before its last part does, of MP4, Matroska and AVI; None if it does not."""
    size = raw.seek(0, io.SEEK_END)
    parts = {"mov": _boxes, "matroska": _elements, "avi": _riff}.get(demuxer)
    ends = [end for end in parts(raw, size) if end > size] if parts else []
    return f"a part of it ends at byte {ends[0]}, the file at byte {size}" if ends else None


def _boxes(raw: io.BufferedReader, size: int) -> Iterator[int]:
    """Where each box of an MP4 file ends."""
    start = 0
    for _ in range(_MAX_ELEMENTS):
        raw.seek(start)
        head = raw.read(16)
        length = int.from_bytes(head[:4], "big")
        if length == 1:
            length = int.from_bytes(head[8:16], "big")
        if head[4:8] not in _BOXES or length < 8:  # Something behind the last one; or it goes up to the end.
            return
        start += length
        yield start


def _riff(raw: io.BufferedReader, _size: int) -> Iterator[int]:
    raw.seek(4)
    yield 8 + int.from_bytes(raw.read(4), "little")


def _elements(raw: io.BufferedReader, size: int) -> Iterator[int]:
    """Where the header and the segment of a Matroska file end; that of a live one is not known."""
    start = 0
    for _ in range(2):
        raw.seek(start)
        head = raw.read(12)
        if start >= size or len(head) < 12 or not head[4]:
            return
        width = 9 - head[4].bit_length()
        length = int.from_bytes(head[4 : 4 + width], "big") & (1 << 7 * width) - 1
        if length == (1 << 7 * width) - 1:
            return
        start += 4 + width + length
        yield start
