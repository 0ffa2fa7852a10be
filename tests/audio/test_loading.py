"""Every way a clip can be bad gives its `AudioError`; a good one gives the same samples whatever holds it."""

import collections
import io
import itertools
import json
import os
import pickle
import random
import re
import struct
import subprocess
import sys
import tempfile
import time
import tracemalloc
import zipfile
from pathlib import Path

import jax.numpy as jnp
import numpy as np
import pytest
import soundfile
import soxr

from urgentmos_jax.audio import loading as audio
from urgentmos_jax.audio import opening
from urgentmos_jax.audio.errors import CODES
from urgentmos_jax.audio.loading import AudioBlocks, AudioError, load_audio, probe
from urgentmos_jax.audio.opening import AUDIO_SUFFIXES

RATE_HZ = 16000
ROOT = Path(__file__).parents[2]
MUTATIONS = int(os.environ.get("URGENTMOS_MUTATIONS", "300"))
PCM_16 = {"format": "WAV", "subtype": "PCM_16"}
VORBIS = {"format": "OGG", "subtype": "VORBIS"}
OPUS = {"format": "OGG", "subtype": "OPUS"}
MP3 = {"format": "MP3"}
FLAC = {"format": "FLAC"}
LIST = b"LIST\x1a\0\0\0INFOISFT\x0d\0\0\0Lavf60.16.100\0"


def tone(seconds=5.0, rate_hz=RATE_HZ, frequency_hz=440.0, noise=0.05):
    """[T] float32."""
    time_s = np.arange(int(seconds * rate_hz)) / rate_hz
    hiss = noise * np.random.default_rng(0).standard_normal(len(time_s))
    return (0.5 * np.sin(2 * np.pi * frequency_hz * time_s) + hiss).astype(np.float32)


def encode(samples, rate_hz=RATE_HZ, **kind):
    file = io.BytesIO()
    soundfile.write(file, samples, rate_hz, **kind)
    return file.getvalue()


def wav(samples=16000, rate_hz=RATE_HZ, channels=1, codec=1, claimed_bytes=None, riff_bytes=None, tail=b""):
    data = np.random.default_rng(1).integers(-3000, 3000, samples, dtype="<i2").tobytes()
    layout = (codec, channels, rate_hz, rate_hz * 2 & 0xFFFFFFFF, 2 * channels & 0xFFFF, 16)
    body = b"WAVEfmt " + struct.pack("<IHHIIHH", 16, *layout)
    body += b"data" + struct.pack("<I", len(data) if claimed_bytes is None else claimed_bytes) + data + tail
    return b"RIFF" + struct.pack("<I", len(body) if riff_bytes is None else riff_bytes) + body


def flac_claiming(samples, data=None):
    """A FLAC file whose header claims another length; 0 means unknown."""
    data = bytearray(data or encode(tone(), **FLAC))
    data[21] = data[21] & 0xF0 | samples >> 32
    data[22:26] = struct.pack(">I", samples & 0xFFFFFFFF)
    return bytes(data)


def ogg_pages(data):
    starts = [0]
    while starts[-1] < len(data):
        start = starts[-1]
        starts.append(start + 27 + data[start + 26] + sum(data[start + 27 : start + 27 + data[start + 26]]))
    return starts[:-1]


def flip(data, position):
    return data[:position] + bytes([data[position] ^ 16]) + data[position + 1 :]


def without_xing(data):
    """A 16 kHz MP3 file without its first frame, which holds the tag and no samples."""
    kbps = (0, 8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160)[data[2] >> 4]
    assert b"Xing" in data[:40] or b"Info" in data[:40]
    return data[72 * kbps * 1000 // 16000 + (data[2] >> 1 & 1) :]


@pytest.fixture
def put(tmp_path):
    """Writes bytes to a file, and returns its path."""

    def write(data, name="clip.wav"):
        (tmp_path / name).write_bytes(data)
        return tmp_path / name

    return write


def refusal(code, source, *arguments, call=load_audio, **options):
    """Returns the error, which must have this code and name the clip."""
    with pytest.raises(AudioError) as caught:
        call(source, *arguments, **options)
    error = caught.value
    assert (error.code, str(error)) == (code, error.message)
    assert code in CODES
    if isinstance(source, str | os.PathLike):
        assert error.path == os.fspath(source)
        assert os.fspath(source) in error.message
    return error


# What cannot be read.


def test_missing(tmp_path):
    for call in (load_audio, probe):
        assert "No such file" in refusal("missing", tmp_path / "none.wav", call=call).message
        assert "directory" in refusal("missing", tmp_path, call=call).message
        refusal("missing", "nul\0byte.wav", call=call)
        refusal("missing", str(tmp_path / ("x" * 300)), call=call)
    (tmp_path / "loop.wav").symlink_to(tmp_path / "loop.wav")
    refusal("missing", tmp_path / "loop.wav")


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no named pipes on this system")
def test_pipe_does_not_block(tmp_path):
    os.mkfifo(tmp_path / "pipe.wav")
    refusal("missing", tmp_path / "pipe.wav")


@pytest.mark.skipif(not hasattr(os, "seteuid"), reason="no users on this system")
def test_no_permission():
    user = os.geteuid()
    with tempfile.TemporaryDirectory() as folder:  # pytest's own folders are closed to other users as a whole.
        path = Path(folder, "clip.wav")
        path.write_bytes(wav())
        path.chmod(0)
        Path(folder).chmod(0o755)
        try:
            os.seteuid(user or 65534)  # Root may read everything.
            error = refusal("missing", path)
        finally:
            os.seteuid(user)
    assert "it cannot be read: Permission denied" in error.message


def test_failing_disk_is_an_audio_error(put, monkeypatch):
    def broken(raw, size):
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(opening, "sample_chunk", broken)
    assert "Input/output" in refusal("missing", put(wav())).message


@pytest.mark.parametrize("data", [b"", wav(0), wav(0, tail=LIST), wav(0, claimed_bytes=0xFFFFFFFF)])
def test_empty(put, data):
    for call in (load_audio, probe):
        refusal("empty", put(data), call=call)


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (np.random.default_rng(0).bytes(5000), "not recognised"),
        (b"<!DOCTYPE html><html>Not found</html>" * 100, "an HTML page, perhaps that of a failed download"),
        (b"\n<html>Not found</html>", "an HTML page"),
        (b"\0\0\0\x20ftypM4A " + bytes(5000), "an MP4 or M4A file; convert it: `ffmpeg"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:0\n", "run `git lfs pull`"),
        (b"\x1aE\xdf\xa3" + bytes(100), "a Matroska or WebM file"),
        (b"PK\x03\x04" + bytes(100), "a zip archive"),
        (wav()[:30], "decoder says"),
        (wav(codec=0x1234), "decoder says"),
        (b"ID3", "decoder says"),
        (b"OggS" + bytes(100), "decoder says"),
        (encode(tone(), format="AU", subtype="PCM_16"), "format is AU"),
    ],
)
@pytest.mark.parametrize("name", ["clip.wav", "clip.mp3", "clip.raw", "clip.vox", "clip"])
def test_undecodable(put, data, words, name):
    error = refusal("undecodable", put(data, name))
    assert words in error.message
    refusal("undecodable", put(data, name), call=probe)


# What lost a part.


@pytest.mark.parametrize("fraction", [0.1, 0.5, 0.9])
@pytest.mark.parametrize(
    "kind",
    [
        PCM_16,
        {"format": "WAVEX", "subtype": "PCM_24"},
        {"format": "WAV", "subtype": "ULAW"},
        {"format": "WAV", "subtype": "IMA_ADPCM"},
        {"format": "WAV", "subtype": "FLOAT", "endian": "BIG"},
        {"format": "RF64", "subtype": "PCM_16"},
        {"format": "W64", "subtype": "PCM_16"},
        {"format": "AIFF", "subtype": "PCM_16"},
        FLAC,
        MP3,
    ],
    ids=lambda kind: "-".join(kind.values()),
)
def test_cut_file_is_truncated_with_both_lengths(put, kind, fraction):
    data = encode(tone(), **kind)
    whole = load_audio(put(data))
    message = refusal("truncated", put(data[: int(fraction * len(data))])).message
    found_s, claimed_s = map(float, re.search("decodes to (.*) s and claims (.*) s ", message).groups())
    assert claimed_s == pytest.approx(whole.duration_s, rel=0.04)
    assert max(0, fraction - 0.25) * whole.duration_s <= found_s <= (fraction + 0.02) * whole.duration_s


def test_cut_within_the_tolerance_is_taken(put):
    data = encode(tone(), **PCM_16)
    assert load_audio(put(data[: -2 * 1599])).duration_s == pytest.approx(5 - 0.1, abs=1e-3)
    refusal("truncated", put(data[: -2 * 1601]))
    long = encode(tone(60), **PCM_16)
    assert load_audio(put(long[: -2 * 19000])).duration_s == pytest.approx(60 - 1.1875)
    refusal("truncated", put(long[: -2 * 19500]))


def test_chunk_of_boundless_size(put):
    data = encode(tone(), format="W64", subtype="PCM_16")
    start = data.index(b"fmt ")
    junk = b"junk" + data[start + 4 : start + 16] + b"\xff" * 8
    assert load_audio(put(data[:start] + junk + data[start:])).duration_s == 5


def test_header_without_its_samples_is_truncated(put):
    assert "0 of 32000 bytes" in refusal("truncated", put(wav(0, claimed_bytes=32000))).message


@pytest.mark.parametrize("kind", [VORBIS, OPUS], ids=["vorbis", "opus"])
def test_damaged_ogg(put, kind):
    data = encode(tone(), **kind)
    pages = ogg_pages(data)
    assert len(pages) > 5
    assert load_audio(put(data)).duration_s == probe(put(data)) == 5
    assert load_audio(put(data + b"TAG" + bytes(125))).duration_s == 5
    for start in pages[2:]:
        message = refusal("truncated", put(flip(data, start + 60))).message
        assert f"page at byte {start}" in message
    for start in pages[3:]:
        assert "does not end" in refusal("truncated", put(data[:start])).message
        assert f"page at byte {start}" in refusal("truncated", put(data[: start + 40])).message
    for start, end in itertools.pairwise(pages[2:]):
        message = refusal("truncated", put(data[:start] + data[end:])).message
        assert f"missing before byte {start}" in message
    assert f"begins at byte {len(data)}" in refusal("truncated", put(data + data)).message
    for position in range(0, pages[2], 7):
        assert refusal_code(put(flip(data, position))) in ("undecodable", "truncated")


def refusal_code(path):
    with pytest.raises(AudioError) as caught:
        load_audio(path)
    return caught.value.code


def test_flipped_flac_is_refused(put):
    data = encode(tone(), **FLAC)
    for fraction in (0.05, 0.5, 0.99):
        error = refusal("truncated", put(flip(data, int(fraction * len(data)))))
        assert "decoder" in error.message
        assert "claims 5.000 s" in error.message


def test_flac_of_unknown_length(put):
    path = put(flac_claiming(0))
    known = load_audio(put(flac_claiming(80000), "b.flac"))
    np.testing.assert_array_equal(load_audio(path).waveform, known.waveform)
    assert probe(path) == 5
    assert "claims no length" in refusal("truncated", put(path.read_bytes()[:50000])).message


def test_mp3_without_a_tag(put):
    """libsndfile guesses the length from the first bit rate: right for a constant one only."""
    constant = without_xing(encode(tone(), bitrate_mode="CONSTANT", compression_level=0.5, **MP3))
    for tag in (b"", b"ID3\x04\0\0\0\0\x20\0" + bytes(4096)):
        assert load_audio(put(tag + constant)).duration_s == pytest.approx(5, abs=0.15)
    quiet_first = tone(20) * (np.arange(20 * RATE_HZ) > 10 * RATE_HZ)
    for samples, taken in ((quiet_first, True), (quiet_first[::-1], False)):
        path = put(without_xing(encode(samples, bitrate_mode="VARIABLE", compression_level=0.5, **MP3)))
        assert probe(path) == pytest.approx(20, abs=0.15)
        if taken:
            assert load_audio(path).duration_s == pytest.approx(20, abs=0.15)
        else:
            assert "Xing" in refusal("truncated", path).message


def test_mp3_with_a_damaged_first_frame(put):
    loud_first = tone(20) * (np.arange(20 * RATE_HZ) < 10 * RATE_HZ)
    data = without_xing(encode(loud_first, compression_level=0.5, **MP3))
    refusal("undecodable", put(data[100:]))
    refusal("truncated", put(flip(data, 2)))


def test_joined_mp3_files_are_not_cut_in_silence(put):
    data = encode(tone(), **MP3)
    refusal("truncated", put(data + data))


# What is out of range.


def test_too_short(put):
    short = np.full(399, 0.5, np.float32) * np.sin(np.arange(399, dtype=np.float32))
    message = refusal("too_short", put(encode(short, **PCM_16))).message
    assert "399 samples (24.9375 ms)" in message
    assert "400 samples (25 ms)" in message
    refusal("too_short", short, RATE_HZ, name="a")
    assert len(load_audio(short, RATE_HZ, min_samples=399).waveform) == 399
    assert len(load_audio(np.tile(short, 2), 32000, min_samples=399).waveform) == 399
    refusal("too_short", np.tile(short, 2), 32000)
    refusal("too_short", short[:1], 48000)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("subtype", ["FLOAT", "DOUBLE", None])
def test_non_finite(put, value, subtype):
    samples = np.stack([tone(), tone()], 1)
    samples[40000:40003, 1] = value
    samples[70000, 0] = value
    if subtype:
        message = refusal("non_finite", put(encode(samples, format="WAV", subtype=subtype))).message
    else:
        message = refusal("non_finite", samples, RATE_HZ).message
    assert message.split(": ")[1].startswith("4 samples")
    assert "sample 40000 (2.500 s)" in message


def test_too_large(put):
    samples = tone(2)
    samples[20000] = -10.5
    for source, rate_hz in ((put(encode(samples, format="WAV", subtype="FLOAT")), None), (samples, RATE_HZ)):
        message = refusal("too_large", source, rate_hz).message
        assert "10.5 at sample 20000 (1.250 s)" in message
        assert "[-1, 1]" in message
    refusal("too_large", tone(1).astype(np.float64) * 1e300, RATE_HZ)
    samples[20000] = -10
    assert load_audio(samples, RATE_HZ).waveform.min() == -10
    samples[5] = np.nan
    refusal("non_finite", samples * 2, RATE_HZ)


CRAFTED = {
    "rate 0": (wav(500, rate_hz=0), "undecodable"),
    "rate 1": (wav(500, rate_hz=1), "undecodable"),
    "rate 768001": (wav(500, rate_hz=768001), "undecodable"),
    "rate 2**32 - 1": (wav(500, rate_hz=2**32 - 1), "undecodable"),
    "0 channels": (wav(500, channels=0), "undecodable"),
    "65 channels": (wav(6500, channels=65), "undecodable"),
    "65535 channels": (wav(70000, channels=65535), "undecodable"),
    "wav of 24 h": (wav(500, claimed_bytes=24 * 3600 * 32000), "truncated"),
    "wav of 37 h": (wav(500, claimed_bytes=0xFFFFFFF0), "too_large"),
    "flac of 24 h": (flac_claiming(24 * 3600 * RATE_HZ)[:1024], "truncated"),
    "whole flac of 24 h": (flac_claiming(24 * 3600 * RATE_HZ), "truncated"),
    "flac of 25 h": (flac_claiming(25 * 3600 * RATE_HZ)[:1024], "too_large"),
}


def test_implausible_headers_take_no_memory(tmp_path):
    pytest.importorskip("resource")
    for number, (data, _) in enumerate(CRAFTED.values()):
        (tmp_path / f"{number}.wav").write_bytes(data)
    program = """
import json, pathlib, resource, sys
from urgentmos_jax.audio import loading as audio

pages = int(pathlib.Path("/proc/self/statm").read_text().split()[0])
limit = pages * resource.getpagesize() + 2**27
resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
codes = []
for number in range(int(sys.argv[2])):
    try:
        audio.load_audio(f"{sys.argv[1]}/{number}.wav")
    except Exception as error:
        codes.append(getattr(error, "code", repr(error)))
try:
    bytearray(2**28)
except MemoryError:
    print(json.dumps(codes))
"""
    if not Path("/proc/self/statm").exists():
        pytest.skip("the limit is set from /proc/self/statm")
    command = [sys.executable, "-c", program, str(tmp_path), str(len(CRAFTED))]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    assert dict(zip(CRAFTED, json.loads(done.stdout), strict=True)) == {k: v[1] for k, v in CRAFTED.items()}


# What is taken, and as what.


GRID = (np.random.default_rng(2).integers(-128, 128, 2000) / 128).astype(np.float32)


@pytest.mark.parametrize(
    "dtype", ["int16", "int32", "uint8", "float16", "float32", "float64", "longdouble", "bfloat16", ">i2", ">f4"]
)
def test_all_dtypes_give_the_same(dtype):
    dtype = jnp.dtype(dtype)
    samples = GRID.astype(dtype)
    if dtype.kind in "iu":
        exact = [int(value * 128) + 128 * (dtype.kind == "u") for value in GRID]
        samples = np.array([value << 8 * (dtype.itemsize - 1) for value in exact], dtype)
    clip = load_audio(samples, RATE_HZ)
    assert clip.waveform.dtype == np.float32
    np.testing.assert_array_equal(clip.waveform, GRID)
    two = load_audio(np.stack([samples, samples[::-1]], 1), RATE_HZ).waveform
    np.testing.assert_array_equal(two, (GRID + GRID[::-1]) / 2)


@pytest.mark.parametrize("dtype", ["int8", "uint16", "uint32", "int64", "uint64"])
def test_integers_that_audio_does_not_have_are_refused(dtype):
    """16-bit samples in int64, or in a list, were taken for silence: the scale was that of the type."""
    samples = np.abs(GRID * 100).astype(np.int16).astype(dtype)
    for source in (samples, samples.tolist()):
        with pytest.raises(AudioError, match=r"give floats in \[-1, 1\], int16, int32 or uint8") as caught:
            load_audio(source, RATE_HZ)
        assert caught.value.code == "undecodable"


def test_other_arrays():
    for samples in (jnp.asarray(GRID), GRID.tolist(), GRID[::-1][::-1], np.asfortranarray(GRID)):
        clip = load_audio(samples, np.int64(16000))
        np.testing.assert_array_equal(clip.waveform, GRID)
        assert clip.waveform.flags.c_contiguous
    assert load_audio(GRID, 16000.0).sample_rate_hz == 16000
    assert not np.shares_memory(load_audio(GRID, RATE_HZ).waveform, GRID)


@pytest.mark.parametrize(
    ("source", "code"),
    [
        (np.zeros(2000, bool), "undecodable"),
        (np.zeros(2000, complex), "undecodable"),
        (np.array(["a"] * 2000), "undecodable"),
        (None, "undecodable"),
        ([[1.0], [1.0, 2.0]], "undecodable"),
        (np.float32(1), "undecodable"),
        (np.zeros((2, 2000, 1)), "undecodable"),
        (np.zeros((500, 500)), "undecodable"),
        (np.zeros((65, 500)), "undecodable"),
        (np.zeros(0), "empty"),
        (np.zeros((2, 0)), "empty"),
        ([], "empty"),
    ],
)
def test_refused_arrays(source, code):
    error = refusal(code, source, RATE_HZ, name="my clip")
    assert error.path == "my clip"
    assert error.message.startswith("my clip: ")
    error = refusal(code, source, RATE_HZ)
    assert error.path is None
    assert error.message.startswith("array: ")


@pytest.mark.parametrize("rate_hz", [0, 1, 999, 768001, -16000, 16000.5, np.nan, np.inf])
def test_refused_rates(rate_hz):
    refusal("undecodable", GRID, rate_hz)


@pytest.mark.parametrize("rate_hz", ["16000", [16000], (16000,), b"16000", np.array([16000])])
def test_rates_that_are_no_numbers(rate_hz):
    with pytest.raises(TypeError, match=r"sample_rate_hz is .*16000.*, expected a number of Hz"):
        load_audio(GRID, rate_hz)


def test_array_needs_a_rate():
    with pytest.raises(ValueError, match="sample_rate_hz") as caught:
        load_audio(GRID)
    assert not isinstance(caught.value, AudioError)


def test_channels_are_averaged(put):
    left, right = tone(3, 24000), tone(3, 24000, 1000)
    stereo = np.stack([left, right], 1)
    mono = load_audio((left + right) / 2, 24000).waveform
    file = put(encode(stereo, 24000, format="WAV", subtype="FLOAT"))
    for clip in (load_audio(stereo, 24000), load_audio(stereo.T, 24000), load_audio(file)):
        np.testing.assert_allclose(clip.waveform, mono, atol=1e-6)
        assert (len(clip.waveform), clip.duration_s, clip.sample_rate_hz) == (48000, 3, 24000)


@pytest.mark.parametrize("rate_hz", [8000, 11025, 16000, 24000, 44100, 48000])
def test_resampling_keeps_frequency_and_level(put, rate_hz):
    samples = tone(3, rate_hz, noise=0)
    clip = load_audio(put(encode(samples, rate_hz, format="WAV", subtype="FLOAT")), 8000)
    assert clip.waveform.flags.c_contiguous
    assert (clip.waveform.shape, clip.waveform.dtype) == ((48000,), np.float32)
    assert (clip.sample_rate_hz, clip.duration_s, clip.flags) == (rate_hz, 3, ())
    middle = clip.waveform[16000:32000]
    assert np.abs(np.fft.rfft(middle)).argmax() == 440
    assert np.sqrt(np.mean(middle**2)) == pytest.approx(0.5 / np.sqrt(2), rel=0.01)
    np.testing.assert_array_equal(load_audio(samples, rate_hz).waveform, clip.waveform)


def test_resampling_does_not_alias():
    middle = load_audio(tone(3, 48000, 12000, noise=0), 48000).waveform[16000:32000]
    assert np.abs(middle).max() < 1e-4
    assert audio.RESAMPLER == "soxr_hq"


@pytest.mark.parametrize("rate_hz", [8000, 11025, 24000, 44100, 48000, 16001])
def test_samples_in_blocks_are_those_of_the_whole(rate_hz):
    samples = tone(3.3, rate_hz)
    blocks = AudioBlocks(samples, rate_hz)
    parts = list(blocks)
    assert len(parts) > 2
    np.testing.assert_array_equal(np.concatenate(parts), soxr.resample(samples, rate_hz, RATE_HZ, quality="HQ"))
    assert blocks.samples == sum(map(len, parts)) and blocks.duration_s == len(samples) / rate_hz


@pytest.mark.parametrize("claimed_bytes", [None, 0])
def test_a_long_file_is_never_held_whole(put, claimed_bytes):
    path = put(wav(48000 * 60, 48000, claimed_bytes=claimed_bytes, riff_bytes=claimed_bytes))
    tracemalloc.start()
    try:
        samples = sum(len(block) for block in AudioBlocks(path))
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    # As float32 it would take 11.5 MB at its own rate.
    assert samples == RATE_HZ * 60 and peak < 1e6


def test_open_files_are_read_from_their_start_and_left_as_they_were(put):
    data = encode(tone(2, 24000), 24000, **PCM_16)
    whole = load_audio(put(data))
    memory = io.BytesIO(data)
    memory.seek(0, io.SEEK_END)
    with zipfile.ZipFile(put(b"", "a.zip"), "w") as archive:
        archive.writestr("clip.wav", data)
    with (
        put(data).open("rb") as file,
        zipfile.ZipFile(archive.filename) as archive,
        archive.open("clip.wav") as member,
        subprocess.Popen(["cat", put(data)], stdout=subprocess.PIPE).stdout as pipe,
    ):
        file.seek(100)
        for source, position in ((memory, len(data)), (file, 100), (member, 0), (pipe, None)):
            clip = load_audio(source)
            np.testing.assert_array_equal(clip.waveform, whole.waveform)
            assert (clip.sample_rate_hz, clip.duration_s) == (24000, whole.duration_s)
            assert not source.closed and (position is None or source.tell() == position)


@pytest.mark.parametrize(
    ("data", "code"), [(b"", "empty"), (wav(0), "empty"), (b"<html>", "undecodable"), (wav()[:20000], "truncated")]
)
def test_faults_of_open_files_are_those_of_paths(put, data, code):
    found, wanted = refusal(code, io.BytesIO(data), name="upload"), refusal(code, put(data))
    assert found.message == wanted.message.replace(wanted.path, "upload") and found.path == "upload"


def test_what_is_not_open_or_not_binary_is_refused(put):
    closed = io.BytesIO(wav())
    closed.close()
    text = put(b"abc").open()
    with text:
        assert "not bytes; open the file in binary mode" in refusal("unreadable_input", text).message
    for source in (closed, text):
        assert "closed file; give it open" in refusal("unreadable_input", source).message


@pytest.mark.parametrize(
    ("kind", "tolerance"),
    [
        (PCM_16, 4e-5),
        ({"format": "WAV", "subtype": "PCM_U8"}, 0.01),
        ({"format": "WAV", "subtype": "PCM_24"}, 1e-6),
        ({"format": "WAV", "subtype": "PCM_32"}, 1e-6),
        ({"format": "WAV", "subtype": "FLOAT"}, 0),
        ({"format": "WAV", "subtype": "DOUBLE"}, 0),
        ({"format": "WAV", "subtype": "ULAW"}, 0.02),
        ({"format": "WAV", "subtype": "ALAW"}, 0.02),
        ({"format": "WAV", "subtype": "PCM_16", "endian": "BIG"}, 4e-5),
        ({"format": "WAVEX", "subtype": "PCM_24"}, 1e-6),
        ({"format": "RF64", "subtype": "PCM_16"}, 4e-5),
        ({"format": "W64", "subtype": "PCM_16"}, 4e-5),
        ({"format": "AIFF", "subtype": "PCM_16"}, 4e-5),
        ({"format": "FLAC", "subtype": "PCM_16"}, 4e-5),
        ({"format": "FLAC", "subtype": "PCM_24"}, 1e-6),
        (VORBIS, 0.1),
        (OPUS, 0.1),
        (MP3, 0.1),
    ],
    ids=lambda value: "-".join(value.values()) if isinstance(value, dict) else "",
)
def test_codecs(put, kind, tolerance):
    """The content decides, not the name."""
    samples = tone(noise=0.01)
    path = put(encode(samples, **kind))
    clip = load_audio(str(path))
    assert probe(path) == clip.duration_s == 5
    inner = slice(1000, -1000) if tolerance == 0.1 else slice(None)  # The lossy codecs blur the ends.
    np.testing.assert_allclose(clip.waveform[inner], samples[inner], atol=tolerance)


@pytest.mark.parametrize("suffix", AUDIO_SUFFIXES)
def test_suffixes(put, suffix):
    opus = dict(format="OGG", subtype="OPUS")
    kind = {".flac": FLAC, ".ogg": VORBIS, ".oga": VORBIS, ".opus": opus, ".mp3": MP3, ".wav": PCM_16, ".wave": PCM_16}
    kind |= {".rf64": dict(format="RF64"), ".w64": dict(format="W64")}
    kind = kind.get(suffix, dict(format="AIFF"))
    path = put(encode(tone(), **kind), "ä" + suffix)
    assert load_audio(path).duration_s == probe(os.fspath(path)) == 5


@pytest.mark.skipif(sys.platform != "linux", reason="other systems take no such names")
def test_name_that_is_not_utf8(tmp_path):
    path = os.fsdecode(os.fsencode(tmp_path) + b"/\xff.wav")
    with open(path, "wb") as file:
        file.write(wav())
    assert load_audio(path).duration_s == 1


@pytest.mark.parametrize("rest", [b"", LIST])
@pytest.mark.parametrize(
    "sizes",
    [{}]
    + [{"claimed_bytes": size} for size in (0xFFFFFFFF, 0x7FFFFFFF, 0x7FFFF000, 0x80000000)]
    + [{"claimed_bytes": 0xFFFFFFFF, "riff_bytes": 0xFFFFFFFF}]
    + [{"claimed_bytes": 0, "riff_bytes": size} for size in (0, 36, 0xFFFFFFFF)],
    ids=str,
)
def test_trailing_chunks_and_unknown_sizes(put, sizes, rest):
    whole = load_audio(put(wav())).waveform
    path = put(wav(tail=rest, **sizes))
    # What follows samples of unknown length is taken for samples.
    extra = len(rest) // 2 if sizes else 0
    np.testing.assert_array_equal(load_audio(path).waveform[: len(whole)], whole)
    assert len(load_audio(path).waveform) == len(whole) + extra
    assert probe(path) == (16000 + extra) / RATE_HZ


@pytest.mark.parametrize("before", [LIST, b"junk\x03\0\0\0abc\0" * 3])
def test_chunks_before_the_samples(put, before):
    data = wav().replace(b"data", before + b"data", 1)
    np.testing.assert_array_equal(load_audio(put(data)).waveform, load_audio(put(wav())).waveform)
    refusal("truncated", put(data[: len(data) // 2]))


def id3v2(size, footer=False):
    digits = bytes(size >> 7 * k & 127 for k in (3, 2, 1, 0))
    end = b"3DI\x04\0\x10" + digits if footer else b""
    return b"ID3\x04\0" + (b"\x10" if footer else b"\0") + digits + bytes([1]) * size + end


@pytest.mark.parametrize("kind", ["wav", "aiff", "flac", "ogg"])
@pytest.mark.parametrize("tags", [id3v2(10), id3v2(60_000), id3v2(3_000_000), id3v2(50, footer=True), id3v2(9) * 2])
def test_a_tag_before_a_container(put, kind, tags):
    """libsndfile takes such a file for MP3 and finds pieces of noise in it, or nothing."""
    data = {
        "wav": wav(),
        "aiff": encode(tone(), format="AIFF"),
        "flac": encode(tone(), **FLAC),
        "ogg": encode(tone(), **VORBIS),
    }[kind]
    plain = load_audio(put(data))
    for padding in (b"", bytes(100)):
        path = put(tags + padding + data)
        np.testing.assert_array_equal(load_audio(path).waveform, plain.waveform)
        assert probe(path) == plain.duration_s
    refusal("truncated", put(tags + data[: len(data) // 2]))


NOISE_LSB = np.random.default_rng(3).integers(-1, 2, 20000)


@pytest.mark.parametrize(
    ("samples", "silent"),
    [
        (np.zeros(20000), True),
        (np.full(20000, 0.5), True),
        (np.full(20000, 128, np.uint8), True),
        (NOISE_LSB.astype(np.int16), True),
        (NOISE_LSB / 2**15 + 0.25, True),
        (np.stack([tone(2), -tone(2)]), True),
        (2 * NOISE_LSB.astype(np.int16), False),
        (tone(2) * 1e-3, False),
    ],
)
@pytest.mark.parametrize("rate_hz", [16000, 24000])
def test_silence_is_flagged(samples, silent, rate_hz):
    assert load_audio(samples, rate_hz).flags == (("silent",) if silent else ())


def test_silent_files_are_flagged(put):
    for kind in (PCM_16, FLAC, VORBIS, MP3):
        assert load_audio(put(encode(np.zeros(20000), **kind))).flags == ("silent",)


def test_error_pickles():
    error = AudioError("empty", "a.wav: it is empty", "a.wav")
    copy = pickle.loads(pickle.dumps(error))
    assert type(copy) is AudioError
    assert (copy.code, copy.message, copy.path, str(copy)) == ("empty", "a.wav: it is empty", "a.wav", str(error))


# Damage of any kind.


def mutate(data, others, rng):
    data = bytearray(data)
    kind = rng.choice(["flip", "header", "cut", "splice"])
    if kind == "flip":
        for _ in range(rng.choice([1, 3, 30])):
            data[rng.randrange(len(data))] ^= 1 << rng.randrange(8)
    elif kind == "header":
        data[rng.randrange(min(len(data), 64))] = rng.randrange(256)
    elif kind == "cut":
        start = rng.randrange(len(data))
        del data[start : len(data) if rng.random() < 0.5 else start + rng.randrange(1, 2000)]
    else:
        other = rng.choice(others)
        start, length = rng.randrange(len(other)), rng.randrange(1, 2000)
        position = rng.randrange(len(data))
        data[position : position + rng.choice([0, length])] = other[start : start + length]
    return bytes(data)


def test_mutations_give_a_refusal_or_a_finite_clip(put):
    stereo = np.stack([tone(0.7, 44100), tone(0.7, 44100, 700)], 1)
    seeds = [encode(tone(1), **kind) for kind in (PCM_16, FLAC, VORBIS, OPUS, MP3)]
    seeds += [encode(stereo, 44100, **kind) for kind in (PCM_16, FLAC, VORBIS, MP3)]
    seeds.append(encode(tone(1), format="WAV", subtype="FLOAT"))
    rng = random.Random(0)
    outcomes = collections.Counter()
    for number in range(MUTATIONS):
        path = put(mutate(seeds[number % len(seeds)], seeds, rng), "mutated.wav")
        start = time.monotonic()
        try:
            probe(path)
        except AudioError as error:
            assert error.code in CODES
        try:
            clip = load_audio(path)
        except AudioError as error:
            assert str(path) in str(error)
            outcomes[error.code] += 1
        else:
            assert clip.waveform.dtype == np.float32
            assert len(clip.waveform) >= 400
            assert np.isfinite(clip.waveform).all()
            outcomes["clip"] += 1
        assert time.monotonic() - start < 10
    assert outcomes.total() == MUTATIONS
    assert {"clip", "truncated", "undecodable"} <= set(outcomes)
