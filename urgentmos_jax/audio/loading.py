"""Audio files and arrays -> float32 mono waveforms at 16 kHz, or an `AudioError` that says why not.

A decoder's success means little: libsndfile reads a WAV file cut in half without a word, and leaves out
damaged Ogg pages. So what was decoded is compared with what the file claims to hold.
"""

import contextlib
import io
import os
import stat
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any, BinaryIO

import numpy as np
import soundfile
import soxr

from urgentmos_jax.audio.containers import (
    SampleChunk,
    TailFile,
    foreign_kind,
    mp3_samples,
    ogg_fault,
    sample_chunk,
    tag_bytes,
    with_sample_bytes,
)

SAMPLE_RATE_HZ = 16000
RESAMPLER = "soxr_hq"
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
CODES = ("missing", "empty", "undecodable", "truncated", "too_short", "non_finite", "too_large", "unreadable_input")

_RATES_HZ = (1000, 768_000)
_MAX_CHANNELS = 64
_MAX_HOURS = 24
_MAX_LEVEL = 10.0
_WANTED = "Give WAV, AIFF, FLAC, Ogg (Vorbis, Opus) or MP3"
_INTEGERS = ("int16", "int32", "uint8")
_LSB = 2.0**-15
_BLOCK_SAMPLES = 16384
_LOSS_CAUSES = {"MP3": "cut, damaged, or without the Xing tag that `ffmpeg -i OLD -c copy NEW` writes"}


class AudioError(ValueError):
    """A clip that cannot be used.

    Attributes:
        code: One of `CODES`.
        message: A sentence with the path, what was found, what was expected and what to do.
        path: The file, the name given for an array, or None.
    """

    def __init__(self, code: str, message: str, path: str | None = None):
        super().__init__(code, message, path)  # All three in `args`, so that the error pickles.
        self.code, self.message, self.path = code, message, path

    def __str__(self) -> str:
        return self.message


@dataclass(frozen=True)
class Clip:
    """A clip ready for the model.

    Attributes:
        waveform: [T] float32, mono, 16 kHz, contiguous.
        sample_rate_hz: Sample rate before resampling.
        duration_s: Length before resampling, in seconds.
        flags: "silent" if the clip moves by at most 1 LSB of 16 bits around its middle.
    """

    waveform: np.ndarray
    sample_rate_hz: int
    duration_s: float
    flags: tuple[str, ...] = ()


def load_audio(
    source: Any, sample_rate_hz: int | None = None, *, name: str | None = None, min_samples: int = 400
) -> Clip:
    """Loads one clip as float32 mono at 16 kHz.

    Channels are averaged; soxr resamples. Files of the WAV family, FLAC, Ogg (Vorbis, Opus), MP3 and AIFF are
    known by their content, not by their name. MP3 files without a Xing tag do not say how long they are, so a
    cut one passes.

    Args:
        source: A path; or an array (anything `np.asarray` takes) [T], [T, channels] or [channels, T]: of two
            axes the shorter is the channels. Floats are taken as they are; integers are as audio has them: int16,
            int32, or uint8 (centred at 128), divided by their full scale.
        sample_rate_hz: Sample rate of an array. Files know their own, and this is not looked at.
        name: What errors call an array; files are called by their path.
        min_samples: Minimum length at 16 kHz, in samples.

    Returns:
        The clip.

    Raises:
        AudioError: `missing` (no such file, not a file, no permission), `empty`, `undecodable`, `truncated`
            (shorter than the file claims by more than 0.1 s and 2 %, stopped by damage, or a damaged Ogg
            page), `too_short`, `non_finite`, `too_large` (level above 10, or longer than 24 h).
        ValueError: An array without a sample rate.
    """
    if isinstance(source, str | os.PathLike):
        name = os.fsdecode(source)
        mono, rate_hz = _read_file(name)
    else:
        if sample_rate_hz is None:
            text = "give its sample rate in Hz: `sample_rate` of a model's methods, `sample_rate_hz` of load_audio"
            raise ValueError(f"{name or 'array'}: an array does not know its sample rate; {text}")
        mono, rate_hz = _read_array(source, sample_rate_hz, name)
    if not len(mono):
        raise _error("empty", name, "it holds no samples; remove it or record it again")
    # Before resampling, which rings at the ends of a constant.
    silent = np.ptp(mono) <= 2 * _LSB
    waveform = mono
    if rate_hz != SAMPLE_RATE_HZ:
        quality = RESAMPLER.removeprefix("soxr_").upper()
        waveform = np.ascontiguousarray(soxr.resample(mono, rate_hz, SAMPLE_RATE_HZ, quality=quality))
    if len(waveform) < min_samples:
        lengths = (len(waveform), min_samples)
        found, wanted = (f"{n} samples ({1e3 * n / SAMPLE_RATE_HZ:g} ms)" for n in lengths)
        text = f"it has {found} at 16 kHz, the minimum is {wanted}; give a longer clip"
        raise _error("too_short", name, text)
    return Clip(waveform, rate_hz, len(mono) / rate_hz, ("silent",) if silent else ())


def probe(source: str | os.PathLike) -> float:
    """Reads how long a file claims to be, without decoding it (except FLAC files that do not say).

    Args:
        source: A path.

    Returns:
        The duration in seconds; `load_audio` refuses files that do not hold what they claim.

    Raises:
        AudioError: As `load_audio` for files that cannot be opened or have no usable header.
    """
    path = os.fsdecode(source)
    with _open(path) as (file, claimed):
        if claimed is None:
            claimed = sum(len(block) for block in _blocks(file, claimed, path))
        if not claimed:
            raise _error("empty", path, "it holds no samples; remove it or record it again")
        return claimed / file.samplerate


class _ForwardFile(soundfile.SoundFile):
    """A sound file read from start to end.

    soundfile seeks after each block of a seekable file, which hides lost Ogg pages and fails at the end of a
    FLAC file without a length.
    """

    def seekable(self) -> bool:
        return False


class _NamelessFile(io.BufferedReader):
    """An open file that the decoder knows by its content: it would take a `.raw` or `.vox` by its name."""

    name = None


def _error(code: str, name: str | None, text: str) -> AudioError:
    return AudioError(code, f"{name or 'array'}: {text}", name)


def _decoder_message(error: soundfile.SoundFileError) -> str:
    """What libsndfile said, without soundfile's repetition of the path."""
    return getattr(error, "error_string", str(error))


def _truncated(path: str, decoded: int, claimed: int | None, rate_hz: int, why: str) -> AudioError:
    length = "no length" if claimed is None else f"{claimed / rate_hz:.3f} s"
    text = f"it decodes to {decoded / rate_hz:.3f} s and claims {length} ({why}); copy or make it again"
    return _error("truncated", path, text)


@contextlib.contextmanager
def _open(path: str) -> Iterator[tuple[_ForwardFile, int | None]]:
    """Opens a file with a plausible header; yields it and the samples a channel it claims (None: unknown)."""
    try:
        status = os.stat(path)
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise _error("missing", path, f"it cannot be found: {reason}; check the path") from error
    if not stat.S_ISREG(status.st_mode):
        kind = "a directory" if stat.S_ISDIR(status.st_mode) else "a pipe, socket or device"
        raise _error("missing", path, f"it is {kind}; give the path of an audio file")
    if not status.st_size:
        raise _error("empty", path, "it has 0 bytes; remove it or record it again")
    with _raw(path) as raw:
        size = raw.seek(0, io.SEEK_END)
        raw.seek(0)
        chunk = sample_chunk(raw, size)
        stream = with_sample_bytes(raw, chunk) if chunk and chunk.held > chunk.claimed else raw
        stream.seek(0)
        try:
            file = _ForwardFile(stream)
        except soundfile.SoundFileError as error:
            text = f"the decoder says: {_decoder_message(error)}"
            with _raw(path) as raw:
                foreign = foreign_kind(raw)
            raise _error("undecodable", path, f"it is {foreign}" if foreign else f"{text} {_WANTED}") from error
        with file:
            yield file, _claimed_samples(file, chunk, path)


@contextlib.contextmanager
def _raw(path: str) -> Iterator[BinaryIO]:
    try:
        with io.FileIO(path) as file:
            start = tag_bytes(file)
        with _NamelessFile(TailFile(path, start)) as raw:
            yield raw
    except OSError as error:
        reason = f"it cannot be read: {error.strerror}; check the disk and its permissions"
        raise _error("missing", path, reason) from error


def _claimed_samples(file: _ForwardFile, chunk: SampleChunk | None, path: str) -> int | None:
    """Returns the samples a channel that the header claims, None if unknown; refuses implausible headers."""
    if file.format not in _FORMATS:
        raise _error("undecodable", path, f"its format is {file.format}. {_WANTED}")
    _check_layout(file.samplerate, file.channels, path)
    claimed = file.frames
    if file.format == "MP3":
        with _raw(path) as raw:
            claimed = mp3_samples(raw, claimed)
    claimed = claimed if 0 <= claimed < 2**62 else None
    if chunk and chunk.held < chunk.claimed:
        if not claimed:
            why = f"{chunk.held} of {chunk.claimed} bytes of samples"
            raise _error("truncated", path, f"it holds {why}; copy or make it again")
        claimed = round(claimed * chunk.claimed / chunk.held)
    _check_hours(claimed or 0, file.samplerate, path)
    return claimed


def _check_layout(rate_hz: float, channels: int, name: str | None) -> None:
    low, high = _RATES_HZ
    if not low <= rate_hz <= high or rate_hz != int(rate_hz):
        text = f"its sample rate is {rate_hz} Hz; give an integer from {low} to {high}"
        raise _error("undecodable", name, text)
    if channels > _MAX_CHANNELS:
        text = f"it has {channels} channels, more than {_MAX_CHANNELS}; check its layout"
        raise _error("undecodable", name, text)


def _check_hours(samples: int, rate_hz: int, name: str | None) -> None:
    hours = samples / rate_hz / 3600
    if hours > _MAX_HOURS:
        text = f"it claims {hours:.1f} h, more than {_MAX_HOURS} h; cut it into parts"
        raise _error("too_large", name, text)


def _read_file(path: str) -> tuple[np.ndarray, int]:
    """Returns a file's samples [T] float32 and its sample rate in Hz."""
    with _open(path) as (file, claimed):
        rate_hz = file.samplerate
        mono = _mix(_blocks(file, claimed, path), rate_hz, path)
        fault = None
        if file.format == "OGG":
            with _raw(path) as raw:
                fault = ogg_fault(raw)
    if claimed is not None and claimed - len(mono) > max(0.1 * rate_hz, 0.02 * claimed):
        fault = fault or _LOSS_CAUSES.get(file.format, "its end is missing or damaged")
    if fault:
        raise _truncated(path, len(mono), claimed, rate_hz, fault)
    return mono, rate_hz


def _read_array(source: Any, rate_hz: float, name: str | None) -> tuple[np.ndarray, int]:
    """Returns an array's samples [T] float32 and its sample rate in Hz."""
    try:
        array = np.asarray(source)
    except (TypeError, ValueError) as error:
        raise _error("undecodable", name, f"it is not an array of numbers: {error}") from error
    except Exception as error:  # Whatever a foreign type raises, as tensors do that need a gradient.
        text = f"it cannot be made an array, {type(error).__name__}: {error}"
        raise _error("unreadable_input", name, text) from error
    if array.dtype.name == "bfloat16":
        array = array.astype(np.float32)
    if array.dtype.kind not in "fiu":
        raise _error("undecodable", name, f"its dtype is {array.dtype}; give floats in [-1, 1], int16, int32 or uint8")
    if array.dtype.kind in "iu" and array.dtype.name not in _INTEGERS:
        # Samples of 16 bits in a wider type, or in a list, would pass for silence.
        text = (
            f"its dtype is {array.dtype}, whose full scale is not known; give floats in [-1, 1], int16, int32 or uint8"
        )
        raise _error("undecodable", name, text)
    if array.ndim not in (1, 2):
        raise _error("undecodable", name, f"its shape is {array.shape}; give [T] or [T, channels]")
    if not array.size:
        raise _error("empty", name, f"its shape is {array.shape}, without samples; give [T] or [T, channels]")
    if array.ndim == 1:
        array = array[:, None]
    elif array.shape[0] == array.shape[1]:
        text = f"its shape {array.shape} does not tell samples from channels; give [T]"
        raise _error("undecodable", name, text)
    elif array.shape[0] < array.shape[1]:
        array = array.T
    _check_layout(rate_hz, array.shape[1], name)
    _check_hours(len(array), int(rate_hz), name)
    return _mix(_scaled(array), int(rate_hz), name), int(rate_hz)


def _blocks(file: _ForwardFile, claimed: int | None, path: str) -> Iterator[np.ndarray]:
    """Yields [n, channels] float32: memory follows what the file holds, not what it claims."""
    decoded = 0
    while True:
        try:
            block = file.read(_BLOCK_SAMPLES, dtype="float32", always_2d=True)
        except soundfile.SoundFileError as error:
            why = f"the decoder says: {_decoder_message(error)}"
            raise _truncated(path, decoded, claimed, file.samplerate, why) from error
        if not len(block):
            return
        decoded += len(block)
        _check_hours(decoded, file.samplerate, path)
        yield block


def _scaled(array: np.ndarray) -> Iterator[np.ndarray]:
    """Yields [n, channels] floats of an array [T, channels] of floats or integers."""
    kind, full_scale = array.dtype.kind, 2.0 ** (8 * array.dtype.itemsize - 1)
    for start in range(0, len(array), _BLOCK_SAMPLES):
        block = array[start : start + _BLOCK_SAMPLES]
        yield block if kind == "f" else block.astype(np.float64) / full_scale - (kind == "u")


def _mix(blocks: Iterable[np.ndarray], rate_hz: int, name: str | None) -> np.ndarray:
    """Averages channels, blocks [n, channels] to [T] float32; refuses NaN, infinity and levels above 10."""
    mono, position, bad_count, first_bad, peak, peak_at = [], 0, 0, 0, 0.0, 0
    for block in blocks:
        level = np.abs(block)
        if not level.max() <= peak:  # A new peak, or NaN.
            bad = ~np.isfinite(block)
            if bad.any() and not bad_count:
                first_bad = position + int(bad.any(axis=1).argmax())
            bad_count += int(bad.sum())
            level = np.where(bad, 0, level).max(axis=1)
            if level.max() > peak:
                peak, peak_at = float(level.max()), position + int(level.argmax())
        position += len(block)
        if not bad_count and peak <= _MAX_LEVEL:
            block = block.astype(np.float32, copy=False)
            mono.append(block[:, 0] if block.shape[1] == 1 else block.mean(axis=1))
    if bad_count:
        where = f"the first is sample {first_bad} ({first_bad / rate_hz:.3f} s)"
        raise _error("non_finite", name, f"{bad_count} samples are NaN or infinite, {where}; make it again")
    if peak > _MAX_LEVEL:
        where = f"sample {peak_at} ({peak_at / rate_hz:.3f} s)"
        text = f"its level reaches {peak:g} at {where}, more than {_MAX_LEVEL:g}; scale it to [-1, 1]"
        raise _error("too_large", name, text)
    return np.concatenate(mono) if mono else np.zeros(0, np.float32)
