"""Audio files opened for decoding: paths, or bytes of open files, with what their headers claim."""

import contextlib
import functools
import io
import os
import stat
import threading
import time
from collections.abc import Iterator
from typing import Any

import soundfile

from urgentmos_jax.audio.containers import (
    PartFile,
    SampleChunk,
    foreign_kind,
    mp3_samples,
    sample_chunk,
    tag_bytes,
    with_sample_bytes,
)
from urgentmos_jax.audio.errors import audio_error
from urgentmos_jax.audio.media import MediaFile, advice, has_media
from urgentmos_jax.audio.recordings import FilePart

# What is read, by libsndfile's names, and the suffixes that such files have.
_FORMATS = {
    "WAV": (".wav", ".wave"),
    "WAVEX": (),
    "RF64": (".rf64",),
    "W64": (".w64",),
    "AIFF": (".aiff", ".aif", ".aifc"),
    "FLAC": (".flac",),
    "OGG": (".ogg", ".oga", ".opus"),
    "MP3": (".mp3",),
}
AUDIO_SUFFIXES = tuple(suffix for suffixes in _FORMATS.values() for suffix in suffixes)
# What FFmpeg reads besides.
MEDIA_SUFFIXES = (
    *(".m4a", ".mp4", ".m4v", ".mov", ".3gp", ".aac", ".webm", ".weba", ".mkv", ".mka"),
    *(".wma", ".wmv", ".amr", ".avi", ".flv"),
)

Source = str | bytes | FilePart

_RATES_HZ = (1000, 768_000)
_MAX_CHANNELS = 64
_MAX_HOURS = 24
_WANTED = "Give WAV, AIFF, FLAC, Ogg (Vorbis, Opus) or MP3"
# One at a time, as the same open file may be given twice.
_READING = threading.Lock()


class ForwardFile(soundfile.SoundFile):
    """A sound file read from start to end.

    soundfile seeks after each block of a seekable file, which hides lost Ogg pages and fails at the end of a
    FLAC file without a length.
    """

    def seekable(self) -> bool:
        return False


class _ReadTime(threading.local):
    seconds = 0.0


_READ = _ReadTime()


def reading_seconds() -> float:
    """How long this thread has waited for the bytes of files, in all."""
    return _READ.seconds


class _TimedFile(io.FileIO):
    def readinto(self, buffer: Any) -> int:
        start = time.perf_counter()
        try:
            return super().readinto(buffer) or 0
        finally:
            _READ.seconds += time.perf_counter() - start


class _NamelessFile(io.BufferedReader):
    """An open file that the decoder knows by its content: it would take a `.raw` or `.vox` by its name."""

    name = None


def decoder_message(error: soundfile.SoundFileError) -> str:
    """What libsndfile said, without soundfile's repetition of the path."""
    return getattr(error, "error_string", str(error))


def content_of(file: Any, name: str | None) -> bytes:
    """All bytes of an open file, whose position stays."""
    start = time.perf_counter()
    try:
        with _READING:
            position = file.tell() if file.seekable() else None
            if position is not None:
                file.seek(0)
            data = file.read()
            if position is not None:
                file.seek(position)
    except Exception as error:  # Whatever a foreign type raises.
        text = f"it cannot be read, {type(error).__name__}: {str(error).rstrip('.')}; give it open, in binary mode"
        raise audio_error("unreadable_input", name, text) from error
    finally:
        _READ.seconds += time.perf_counter() - start
    if not isinstance(data, bytes):
        text = f"its read() gives {type(data).__name__}, not bytes; open the file in binary mode"
        raise audio_error("unreadable_input", name, text)
    return data


def read_suffixes() -> tuple[str, ...]:
    """Suffixes of the recordings that are read here, which those of the extra `media` are where it is installed."""
    return AUDIO_SUFFIXES + (MEDIA_SUFFIXES if has_media() else ())


@contextlib.contextmanager
def open_audio(source: Source, name: str | None) -> Iterator[tuple[ForwardFile | MediaFile, int | None]]:
    """Opens a path, or the bytes of a file, with a plausible header; yields it and the samples a channel it claims
    (None: unknown)."""
    if not _byte_count(source, name):
        raise audio_error("empty", name, "it has 0 bytes; remove it or record it again")
    with raw_bytes(source, name) as raw:
        size = raw.seek(0, io.SEEK_END)
        raw.seek(0)
        chunk = sample_chunk(raw, size)
        stream = with_sample_bytes(raw, chunk) if chunk and chunk.held > chunk.claimed else raw
        stream.seek(0)
        try:
            file = ForwardFile(stream)
        except soundfile.SoundFileError as error:
            refusal = error
        else:
            with file:
                yield file, _claimed_samples(file, chunk, source, name)
            return
    with raw_bytes(source, name) as raw:
        foreign = foreign_kind(raw)
        if foreign and foreign.demuxer and has_media():
            with MediaFile(raw, foreign.demuxer, foreign.text, name) as media:
                check_layout(media.samplerate, media.channels, name)
                check_hours(media.claimed or 0, media.samplerate, name)
                yield media, media.claimed
            return
    text = f"the decoder says: {decoder_message(refusal)} {_WANTED}"
    if foreign:
        text = f"it is {foreign.text}{advice() if foreign.demuxer else ''}"
    raise audio_error("undecodable", name, text) from refusal


def _byte_count(source: Source, name: str | None) -> int:
    if isinstance(source, bytes):
        return len(source)
    try:
        status = os.stat(source if isinstance(source, str) else source.path)
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise audio_error("missing", name, f"it cannot be found: {reason}; check the path") from error
    if not stat.S_ISREG(status.st_mode):
        kind = "a directory" if stat.S_ISDIR(status.st_mode) else "a pipe, socket or device"
        raise audio_error("missing", name, f"it is {kind}; give the path of an audio file")
    return status.st_size if isinstance(source, str) else source.size


def _opened(source: Source) -> io.FileIO | io.BytesIO | io.BufferedReader:
    if isinstance(source, bytes):
        return io.BytesIO(source)
    if isinstance(source, str):
        return _TimedFile(source)
    return io.BufferedReader(PartFile(_TimedFile(source.path), source.start, size=source.size))


@contextlib.contextmanager
def raw_bytes(source: Source, name: str | None) -> Iterator[_NamelessFile]:
    """A path, or the bytes of a file, from where its container begins."""
    try:
        with _opened(source) as file, _NamelessFile(PartFile(file, tag_bytes(file))) as raw:
            yield raw
    except OSError as error:
        reason = f"it cannot be read: {error.strerror}; check the disk and its permissions"
        raise audio_error("missing", name, reason) from error


def _claimed_samples(file: ForwardFile, chunk: SampleChunk | None, source: Source, name: str | None) -> int | None:
    """Returns the samples a channel that the header claims, None if unknown; refuses implausible headers."""
    if file.format not in _FORMATS:
        raise audio_error("undecodable", name, f"its format is {file.format}. {_WANTED}")
    check_layout(file.samplerate, file.channels, name)
    claimed = file.frames
    if file.format == "MP3":
        if isinstance(source, str):
            claimed = _counted_mp3(source, file_state(source), claimed)
        else:
            with raw_bytes(source, name) as raw:
                claimed = mp3_samples(raw, claimed)
    claimed = claimed if 0 <= claimed < 2**62 else None
    if chunk and chunk.held < chunk.claimed:
        if not claimed:
            why = f"{chunk.held} of {chunk.claimed} bytes of samples"
            raise audio_error("truncated", name, f"it holds {why}; copy or make it again")
        claimed = round(claimed * chunk.claimed / chunk.held)
    check_hours(claimed or 0, file.samplerate, name)
    return claimed


def file_state(path: str) -> tuple[int, int]:
    """What tells that a file is the one that was read before: its size and when it was changed."""
    status = os.stat(path)
    return status.st_size, status.st_mtime_ns


# Lists name many parts of a long recording, one after the other.
@functools.lru_cache(maxsize=64)
def _counted_mp3(path: str, _state: tuple[int, int], claimed: int) -> int:
    with raw_bytes(path, path) as raw:
        return mp3_samples(raw, claimed)


def check_layout(rate_hz: float, channels: int, name: str | None) -> None:
    """Refuses sample rates and numbers of channels that no recording has."""
    low, high = _RATES_HZ
    if not low <= rate_hz <= high or rate_hz != int(rate_hz):
        text = f"its sample rate is {rate_hz} Hz; give an integer from {low} to {high}"
        raise audio_error("undecodable", name, text)
    if channels > _MAX_CHANNELS:
        text = f"it has {channels} channels, more than {_MAX_CHANNELS}; check its layout"
        raise audio_error("undecodable", name, text)


def check_hours(samples: int, rate_hz: int, name: str | None) -> None:
    """Refuses lengths that no recording has."""
    hours = samples / rate_hz / 3600
    if hours > _MAX_HOURS:
        text = f"it claims {hours:.1f} h, more than {_MAX_HOURS} h; cut it into parts"
        raise audio_error("too_large", name, text)
