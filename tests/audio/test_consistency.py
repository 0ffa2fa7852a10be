"""A sound file that contradicts itself is flagged; a sound one, whoever wrote it, is not."""

import io
import struct
import wave

import numpy as np
import pytest
import scipy.io.wavfile
import soundfile

from urgentmos_jax.audio.consistency import _crc16, contradiction
from urgentmos_jax.audio.loading import load_audio

RATE_HZ = 16000
SAMPLES = (0.3 * np.random.default_rng(0).standard_normal(8000)).clip(-1, 1).astype(np.float32)
STEREO = np.stack([SAMPLES, SAMPLES[::-1]], 1)
KINDS = [
    *(("WAV", subtype) for subtype in ("PCM_U8", "PCM_16", "PCM_24", "PCM_32", "FLOAT", "DOUBLE", "ULAW", "ALAW")),
    *(("WAV", subtype) for subtype in ("IMA_ADPCM", "MS_ADPCM")),
    *(("WAVEX", subtype) for subtype in ("PCM_16", "PCM_24", "FLOAT")),
    *(("RF64", subtype) for subtype in ("PCM_16", "FLOAT")),
    *(("W64", subtype) for subtype in ("PCM_16", "PCM_24")),
    *(("AIFF", subtype) for subtype in ("PCM_16", "PCM_24", "FLOAT", "ULAW")),
    *(("FLAC", subtype) for subtype in ("PCM_16", "PCM_24")),
    *(("OGG", subtype) for subtype in ("VORBIS", "OPUS")),
    ("MP3", "MPEG_LAYER_III"),
]


def encoded(samples=SAMPLES, rate_hz=RATE_HZ, format="WAV", subtype="PCM_16", **options):
    file = io.BytesIO()
    soundfile.write(file, samples, rate_hz, format=format, subtype=subtype, **options)
    return file.getvalue()


def flags(data: bytes) -> tuple[str, ...]:
    return load_audio(io.BytesIO(data)).flags


@pytest.mark.parametrize("kind", KINDS, ids="-".join)
@pytest.mark.parametrize("samples", [SAMPLES, SAMPLES[:7995], STEREO[:7995]], ids=["even", "odd", "stereo"])
def test_whole_files_agree(kind, samples):
    for rate_hz in (16000, 24000) if kind[1] == "OPUS" else (16000, 44100):
        assert flags(encoded(samples, rate_hz, *kind)) == ()


def test_files_of_other_writers_agree():
    file = io.BytesIO()
    with wave.open(file, "wb") as writer:
        writer.setnchannels(1)
        writer.setsampwidth(1)
        writer.setframerate(RATE_HZ)
        writer.writeframes((SAMPLES[:7995] * 100 + 128).astype(np.uint8).tobytes())
    assert flags(file.getvalue()) == ()
    for dtype, scale, middle in ((np.uint8, 99, 128), (np.int16, 9999, 0), (np.int32, 2**30, 0), (np.float32, 1, 0)):
        file = io.BytesIO()
        scipy.io.wavfile.write(file, RATE_HZ, (STEREO * scale + middle).astype(dtype))
        assert flags(file.getvalue()) == ()
    # A pipe: no size is known when the header is written. Tags before and after.
    data = encoded()
    for size in (0, 0x7FFFF000, 0x80000000, 0xFFFFFFFF):
        known = data[:4] + struct.pack("<I", min(size + 36, 0xFFFFFFFF) if size else 0) + data[8:40]
        assert flags(known + struct.pack("<I", size) + data[44:]) == ()
    tag = b"ID3\x04\0\0\0\0\0\x20" + bytes(32)
    assert flags(tag + data) == flags(data + b"TAG" + bytes(125)) == ()
    music = encoded(format="MP3", subtype="MPEG_LAYER_III")
    assert flags(tag + music) == flags(music + b"TAG" + bytes(125)) == ()


def changed(data: bytes, position: int, value: bytes) -> bytes:
    return data[:position] + value + data[position + len(value) :]


WAV, LONG, STEREO_WAV = encoded(), encoded(format="RF64"), encoded(STEREO)
WIDE, AIFF = encoded(format="W64"), encoded(format="AIFF")
FLAC, MP3 = encoded(format="FLAC"), encoded(format="MP3", subtype="MPEG_LAYER_III")
ULAW = encoded(subtype="ULAW")
DAMAGED = {
    "wav-rate": changed(WAV, 24, struct.pack("<I", 24000)),
    "wav-rate-one-bit": changed(WAV, 24, struct.pack("<I", 16001)),
    "wav-byte-rate": changed(WAV, 28, struct.pack("<I", 32001)),
    "wav-channels": changed(STEREO_WAV, 22, b"\1\0"),
    "wav-samples-claimed-half": changed(WAV, 40, struct.pack("<I", 8000)),
    "wav-samples-claimed-half-in-zeros": changed(
        encoded(np.r_[SAMPLES[:4000], SAMPLES[:4000] * 0]), 40, b"\x40\x1f\0\0"
    ),
    "wav-riff-size": changed(WAV, 4, struct.pack("<I", len(WAV))),
    "wav-some-bytes-lost": WAV[:5000] + WAV[5004:],
    "wav-some-bytes-more": WAV[:5000] + b"abcd" + WAV[5000:],
    "wav-cut-within-the-tolerance": WAV[:-100],
    "wav-bytes-behind": WAV + bytes(300),
    "wav-fact": changed(ULAW, ULAW.index(b"fact") + 8, struct.pack("<I", 7000)),
    "rf64-samples": changed(LONG, 36, struct.pack("<Q", 7999)),
    "rf64-size": changed(LONG, 20, struct.pack("<Q", 9999)),
    "w64-some-bytes-lost": WIDE[:5000] + WIDE[5008:],
    "w64-size": changed(WIDE, 16, struct.pack("<Q", 9999)),
    "w64-boundless-chunk": changed(WIDE, 16, b"\xff" * 8) + b"junk" + WIDE[44:56] + b"\xff" * 7 + b"\x7f" + bytes(64),
    "aiff-frames": changed(AIFF, AIFF.index(b"COMM") + 10, struct.pack(">I", 7999)),
    "aiff-some-bytes-lost": AIFF[:5000] + AIFF[5004:],
    "aiff-fraction-of-a-rate": changed(AIFF, AIFF.index(b"COMM") + 20, b"\1"),
    "flac-rate": changed(FLAC, 19, bytes([FLAC[19] ^ 0x40])),
    "mp3-one-bit": changed(MP3, len(MP3) // 2, bytes([MP3[len(MP3) // 2] ^ 1])),
    "mp3-tag": changed(MP3, 100, bytes([MP3[100] ^ 1])),
    "mp3-frames-behind": MP3 + MP3[-144:],
}


@pytest.mark.parametrize("name", DAMAGED)
def test_damage_is_flagged(name):
    """Each of these was scored without a word."""
    assert flags(DAMAGED[name]) == ("inconsistent",)
    assert contradiction(io.BytesIO(DAMAGED[name]))


def test_checksum_is_that_of_bits():
    def bitwise(data):
        crc = 0
        for byte in data:
            crc ^= byte
            for _ in range(8):
                crc = crc >> 1 ^ 0xA001 * (crc & 1)
        return crc

    assert _crc16(b"123456789") == 0xBB3D
    for size in (0, 1, 2, 63, 64, 65, 127, 129, 1000, 66000):
        data = np.random.default_rng(size).bytes(size)
        assert _crc16(data) == bitwise(data)
        for parts in (1, 2, 7):
            assert _crc16(data[parts:], _crc16(data[:parts])) == bitwise(data) or len(data) < parts + 2
