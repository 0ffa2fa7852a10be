"""Audio files and arrays -> float32 mono waveforms at 16 kHz, or an `AudioError` that says why not.

A decoder's success means little: libsndfile reads a WAV file cut in half without a word, and leaves out
damaged Ogg pages. So what was decoded is compared with what the file claims to hold.
"""

import contextlib
import functools
import math
import numbers
import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import soundfile
import soxr

from urgentmos_jax.audio.consistency import contradiction
from urgentmos_jax.audio.containers import ogg_fault
from urgentmos_jax.audio.errors import AudioError, audio_error
from urgentmos_jax.audio.measures import Measures
from urgentmos_jax.audio.media import MediaFile
from urgentmos_jax.audio.opening import (
    ForwardFile,
    Source,
    check_hours,
    check_layout,
    content_of,
    decoder_message,
    file_state,
    open_audio,
    raw_bytes,
)
from urgentmos_jax.audio.recordings import Recording

SAMPLE_RATE_HZ = 16000
RESAMPLER = "soxr_hq"

_MAX_LEVEL = 10.0
_INTEGERS = ("int16", "int32", "uint8")
_LSB = 2.0**-15
_BLOCK_SAMPLES = 16384
_LOSS_CAUSES = {"MP3": "cut, damaged, or without the Xing tag that `ffmpeg -i OLD -c copy NEW` writes"}


@dataclass(frozen=True)
class Clip:
    """A clip ready for the model.

    Attributes:
        waveform: [T] float32, mono, 16 kHz, contiguous.
        sample_rate_hz: Sample rate before resampling.
        duration_s: Length before resampling, in seconds.
        flags: "silent" if the clip moves by at most 1 LSB of 16 bits around its middle; "inconsistent" if its file
            contradicts itself (sizes, rates, checksums), as a damaged one does.
    """

    waveform: np.ndarray
    sample_rate_hz: int
    duration_s: float
    flags: tuple[str, ...] = ()


class AudioBlocks:
    """A clip as float32 mono at 16 kHz, block by block: a long recording takes no more memory than a short one.

    Iterating, which can be done once, yields the waveform in parts [n] and raises what `load_audio` raises, perhaps
    after some of them. The samples are those of the whole resampled at once.

    Args:
        source, sample_rate_hz, name, min_samples: See `load_audio`.
        measured: Measure bandwidth and clipping meanwhile.

    Attributes:
        sample_rate_hz: Sample rate before resampling.
        samples: Length so far, at 16 kHz.
        flags: At the end, those of a `Clip`, and where it is measured those of `Measures`.
        bandwidth_hz: At the end, where it is measured: the edge below which 99.9 % of the energy lies, see `Bandwidth`;
            None of silence.

    Raises:
        TypeError: The sample rate is not a number.
        ValueError: An array without a sample rate.
    """

    def __init__(
        self,
        source: Any,
        sample_rate_hz: float | None = None,
        *,
        name: str | None = None,
        min_samples: int = 400,
        measured: bool = False,
    ):
        path = os.fsdecode(source) if isinstance(source, str | os.PathLike) else None
        self._part = source if isinstance(source, Recording) else None
        if self._part:
            source, name = self._part.source, self._part.path
        self._is_array = path is None and self._part is None and not is_open_file(source)
        self._source, self._name, self._min_samples = path or source, path or name, min_samples
        if self._name is None and not self._is_array:
            self._name = "open file"
        check_rate(sample_rate_hz, "sample_rate_hz")
        if sample_rate_hz is None and self._is_array:
            text = "give its sample rate in Hz: `sample_rate` of a model's methods, `sample_rate_hz` of load_audio"
            raise ValueError(f"{name or 'array'}: an array does not know its sample rate; {text}")
        self.sample_rate_hz, self.samples, self._read = sample_rate_hz or 0, 0, 0
        self.flags: tuple[str, ...] = ()
        self.bandwidth_hz: float | None = None
        self._measured = measured

    @property
    def duration_s(self) -> float:
        """Length so far, before resampling, in seconds."""
        return self._read / self.sample_rate_hz

    def __iter__(self) -> Iterator[np.ndarray]:
        if self._is_array:
            array = _as_array(self._source, self.sample_rate_hz, self._name)
            self.sample_rate_hz = int(self.sample_rate_hz)
            yield from self._resampled(_scaled(array))
        else:
            if isinstance(self._source, AudioError):
                raise self._source
            known = self._part is not None or isinstance(self._source, str)
            source = self._source if known else content_of(self._source, self._name)
            with open_audio(source, self._name) as (file, claimed):
                self.sample_rate_hz = file.samplerate
                if self._part is None:
                    yield from self._resampled(_blocks(file, claimed, self._name))
                    self._check_whole(source, file.format, claimed)
                else:
                    yield from self._of_part(self._part, source, file, claimed)
        if not self._read:
            raise audio_error("empty", self._name, "it holds no samples; remove it or record it again")
        if self.samples < self._min_samples:
            lengths = (self.samples, self._min_samples)
            found, wanted = (f"{n} samples ({1e3 * n / SAMPLE_RATE_HZ:g} ms)" for n in lengths)
            text = f"it has {found} at 16 kHz, the minimum is {wanted}; give a longer clip"
            raise audio_error("too_short", self._name, text)

    def _of_part(
        self, part: Recording, source: Source, file: ForwardFile | MediaFile, claimed: int | None
    ) -> Iterator[np.ndarray]:
        first, count = part.span(file.samplerate, claimed)
        blocks = _part_blocks(file, claimed, self._name, first, count)
        yield from self._resampled(_channels(blocks, part.channels, self._name) if part.channels else blocks)
        if not first and count is None:
            self._check_whole(source, file.format, claimed)
            return
        wanted = count if count is not None else claimed - first if claimed is not None else 0
        if wanted - self._read > max(0.1 * file.samplerate, 0.02 * wanted) or not self._read:
            found = f"{self._read / file.samplerate:.3f} s of {wanted / file.samplerate:.3f} s from there on"
            text = f"its part from {part.start_s:g} s on: {found}; check its list, or copy or make the recording again"
            raise audio_error("truncated", self._name, text)
        if isinstance(source, str):
            fault, contradicts = _faults(source, file_state(source), file.format)
            if fault:
                raise _truncated(self._name, self._read, None, file.samplerate, fault)
            self.flags += ("inconsistent",) * contradicts

    def _resampled(self, blocks: Iterable[np.ndarray]) -> Iterator[np.ndarray]:
        quality = RESAMPLER.removeprefix("soxr_").upper()
        stream = None
        if self.sample_rate_hz != SAMPLE_RATE_HZ:
            stream = soxr.ResampleStream(self.sample_rate_hz, SAMPLE_RATE_HZ, 1, dtype="float32", quality=quality)
        measures = Measures(self.sample_rate_hz) if self._measured else None
        if measures:
            blocks = measures.channels_of(blocks)
        # Before resampling, which rings at the ends of a constant.
        low, high = np.float32(np.inf), np.float32(-np.inf)
        for block in _mixed(blocks, self.sample_rate_hz, self._name):
            self._read += len(block)
            if measures:
                measures.add(block)
            low, high = min(low, block.min()), max(high, block.max())
            part = stream.resample_chunk(block) if stream else block
            self.samples += len(part)
            if len(part):
                yield part
        if stream and self._read:
            part = stream.resample_chunk(np.zeros(0, np.float32), last=True)
            self.samples += len(part)
            yield part
        if high - low <= 2 * _LSB:
            self.flags = ("silent",)
        elif measures:
            self.flags, self.bandwidth_hz = measures.flags, measures.bandwidth_hz

    def _check_whole(self, source: Source, kind: str, claimed: int | None) -> None:
        fault, contradicts = _found_faults(source, self._name, kind)
        # Of MP3 and of FFmpeg's formats the length is an estimate.
        other_length = kind not in ("MP3", MediaFile.format) and claimed not in (None, self._read)
        if contradicts or other_length:
            self.flags += ("inconsistent",)
        if claimed is not None and claimed - self._read > max(0.1 * self.sample_rate_hz, 0.02 * claimed):
            fault = fault or _LOSS_CAUSES.get(kind, "its end is missing or damaged")
        if fault:
            raise _truncated(self._name, self._read, claimed, self.sample_rate_hz, fault)


def load_audio(
    source: Any, sample_rate_hz: float | None = None, *, name: str | None = None, min_samples: int = 400
) -> Clip:
    """Loads one clip as float32 mono at 16 kHz.

    Channels are averaged; soxr resamples. Files of the WAV family, FLAC, Ogg (Vorbis, Opus), MP3 and AIFF are
    known by their content, not by their name. MP3 files without a Xing tag do not say how long they are, so a
    cut one passes.

    Args:
        source: A path; or an open binary file, which is read from its start into memory and left as it was, open and
            at its position; or an array (anything `np.asarray` takes) [T], [T, channels] or [channels, T]: of two
            axes the shorter is the channels. Floats are taken as they are; integers are as audio has them: int16,
            int32, or uint8 (centred at 128), divided by their full scale.
        sample_rate_hz: Sample rate of an array. Files know their own, and this is not looked at.
        name: What errors call an array or an open file; others are called by their path.
        min_samples: Minimum length at 16 kHz, in samples.

    Returns:
        The clip.

    Raises:
        AudioError: `missing` (no such file, not a file, no permission), `empty`, `undecodable`, `truncated`
            (shorter than the file claims by more than 0.1 s and 2 %, stopped by damage, or a damaged Ogg
            page), `too_short`, `non_finite`, `too_large` (level above 10, or longer than 24 h),
            `unreadable_input` (a conversion to an array, or reading an open file, raised).
        TypeError: The sample rate is not a number.
        ValueError: An array without a sample rate.
    """
    blocks = AudioBlocks(source, sample_rate_hz, name=name, min_samples=min_samples)
    waveform = np.concatenate(list(blocks))
    return Clip(waveform, int(blocks.sample_rate_hz), blocks.duration_s, blocks.flags)


def is_open_file(source: Any) -> bool:
    """Whether an input is an open file, or anything else to read bytes from."""
    return hasattr(source, "read")


def check_rate(value: Any, argument: str) -> None:
    """Refuses a sample rate that is not a number.

    Raises:
        TypeError: It is not; the message names the argument.
    """
    if value is not None and not isinstance(value, numbers.Real):
        raise TypeError(f"{argument} is {value!r} of type {type(value).__name__}, expected a number of Hz, as 16000")


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
    with open_audio(path, path) as (file, claimed):
        if claimed is None:
            claimed = sum(len(block) for block in _blocks(file, claimed, path))
        if not claimed:
            raise audio_error("empty", path, "it holds no samples; remove it or record it again")
        return claimed / file.samplerate


def _truncated(name: str | None, decoded: int, claimed: int | None, rate_hz: float, why: str) -> AudioError:
    length = "no length" if claimed is None else f"{claimed / rate_hz:.3f} s"
    text = f"it decodes to {decoded / rate_hz:.3f} s and claims {length} ({why}); copy or make it again"
    return audio_error("truncated", name, text)


def _as_array(source: Any, rate_hz: float, name: str | None) -> np.ndarray:
    """Returns an array as [T, channels] of floats or integers; refuses implausible ones."""
    try:
        array = np.asarray(source)
    except (TypeError, ValueError) as error:
        raise audio_error("undecodable", name, f"it is not an array of numbers: {error}") from error
    except Exception as error:  # Whatever a foreign type raises, as tensors do that need a gradient.
        text = f"it cannot be made an array, {type(error).__name__}: {error}"
        raise audio_error("unreadable_input", name, text) from error
    if array.dtype.name == "bfloat16":
        array = array.astype(np.float32)
    if array.dtype.kind != "f" and array.dtype.name not in _INTEGERS:
        # Samples of 16 bits in a wider type, or in a list, would pass for silence.
        why = ", whose full scale is not known" if array.dtype.kind in "iu" else ""
        text = f"its dtype is {array.dtype}{why}; give floats in [-1, 1], int16, int32 or uint8"
        raise audio_error("undecodable", name, text)
    if array.ndim not in (1, 2):
        raise audio_error("undecodable", name, f"its shape is {array.shape}; give [T] or [T, channels]")
    if not array.size:
        raise audio_error("empty", name, f"its shape is {array.shape}, without samples; give [T] or [T, channels]")
    if array.ndim == 1:
        array = array[:, None]
    elif array.shape[0] == array.shape[1]:
        text = f"its shape {array.shape} does not tell samples from channels; give [T]"
        raise audio_error("undecodable", name, text)
    elif array.shape[0] < array.shape[1]:
        array = array.T
    check_layout(rate_hz, array.shape[1], name)
    check_hours(len(array), int(rate_hz), name)
    return array


def _found_faults(source: Source, name: str | None, kind: str) -> tuple[str | None, bool]:
    """What is damaged in a file, and whether it contradicts itself."""
    if kind == MediaFile.format:
        return None, False
    with raw_bytes(source, name) as raw:
        fault = ogg_fault(raw) if kind == "OGG" else None
    with raw_bytes(source, name) as raw:
        return fault, bool(contradiction(raw))


@functools.lru_cache(maxsize=64)
def _faults(path: str, _state: tuple[int, int], kind: str) -> tuple[str | None, bool]:
    """Those of a file of which many parts are read, one after the other."""
    return _found_faults(path, path, kind)


def _channels(blocks: Iterable[np.ndarray], channels: tuple[int, ...], name: str | None) -> Iterator[np.ndarray]:
    for block in blocks:
        if max(channels) >= block.shape[1]:
            text = f"channel {max(channels)} (from 0) is asked for, it has {block.shape[1]}; check its list"
            raise audio_error("undecodable", name, text)
        yield block[:, channels]


def _blocks(file: ForwardFile | MediaFile, claimed: int | None, name: str | None) -> Iterator[np.ndarray]:
    """Yields [n, channels] float32: memory follows what the file holds, not what it claims."""
    decoded = 0
    while True:
        try:
            block = file.read(_BLOCK_SAMPLES, dtype="float32", always_2d=True)
        except soundfile.SoundFileError as error:
            why = f"the decoder says: {decoder_message(error)}"
            raise _truncated(name, decoded, claimed, file.samplerate, why) from error
        if not len(block):
            return
        decoded += len(block)
        check_hours(decoded, file.samplerate, name)
        yield block


def _part_blocks(
    file: ForwardFile | MediaFile, claimed: int | None, name: str | None, first: int, count: int | None
) -> Iterator[np.ndarray]:
    """As `_blocks`, of `count` samples from the first on; None: up to the end."""
    position = 0
    if first and isinstance(file, ForwardFile):
        with contextlib.suppress(soundfile.SoundFileError):  # Of codecs that only go forward.
            position = file.seek(first if claimed is None else min(first, claimed))
    end = math.inf if count is None else first + count
    for block in _blocks(file, claimed, name):
        start, position = position, position + len(block)
        wanted = block[max(first - start, 0) : len(block) if position <= end else int(end) - start]
        if len(wanted):
            yield wanted
        if position >= end:
            return


def _scaled(array: np.ndarray) -> Iterator[np.ndarray]:
    """Yields [n, channels] floats of an array [T, channels] of floats or integers."""
    kind, full_scale = array.dtype.kind, 2.0 ** (8 * array.dtype.itemsize - 1)
    for start in range(0, len(array), _BLOCK_SAMPLES):
        block = array[start : start + _BLOCK_SAMPLES]
        yield block if kind == "f" else block.astype(np.float64) / full_scale - (kind == "u")


def _mixed(blocks: Iterable[np.ndarray], rate_hz: float, name: str | None) -> Iterator[np.ndarray]:
    """Averages channels, blocks [n, channels] to [n] float32; refuses NaN, infinity and levels above 10 at the end."""
    position, bad_count, first_bad, peak, peak_at = 0, 0, 0, 0.0, 0
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
            yield np.ascontiguousarray(block[:, 0]) if block.shape[1] == 1 else block.mean(axis=1)
    if bad_count:
        where = f"the first is sample {first_bad} ({first_bad / rate_hz:.3f} s)"
        raise audio_error("non_finite", name, f"{bad_count} samples are NaN or infinite, {where}; make it again")
    if peak > _MAX_LEVEL:
        where = f"sample {peak_at} ({peak_at / rate_hz:.3f} s)"
        text = f"its level reaches {peak:g} at {where}, more than {_MAX_LEVEL:g}; scale it to [-1, 1]"
        raise audio_error("too_large", name, text)
