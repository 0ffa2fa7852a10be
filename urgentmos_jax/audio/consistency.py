"""Where a sound file contradicts itself: sizes, rates and checksums that a container holds twice.

Decoders do not compare them. A file that disagrees with itself was damaged, or changed by a tool that left half of it
as it was; what it decodes to may be right. Samples of WAV and AIFF have no checksum: damage to them alone is not seen.
"""

import io
import struct
from typing import BinaryIO, Literal

import numpy as np

from urgentmos_jax.audio.containers import id3_bytes, mp3_frame

_FIXED_WIDTH_CODECS = (1, 3, 6, 7)  # PCM, float, A-law, mu-law.
_EXTENSIBLE = 0xFFFE
_ID3V1_BYTES = 128
_FLAC_RATES_HZ = (0, 88200, 176400, 192000, 8000, 16000, 22050, 24000, 32000, 44100, 48000, 96000)
_LAME_BYTES = 36
_FFMPEG_TAG_BYTES = 190
_MAX_CRC_ROWS = 1024
_BLOCK_BYTES = 2**20
_MAX_CHUNKS = 1000


def contradiction(raw: BinaryIO) -> str | None:
    """Says what in a file does not agree, or None.

    WAV, RF64, W64, AIFF: the sizes of chunks with that of the file, and the format with itself and with the size of the
    samples. FLAC: the sample rate with that of the first frame; libFLAC checks each frame. MP3: the checksums that LAME
    and FFmpeg write. Ogg pages are checked by `containers.ogg_fault`.

    Args:
        raw: The file, at its start.
    """
    head = raw.read(44)
    size = raw.seek(0, io.SEEK_END)
    raw.seek(0)
    match head[:4]:
        case b"RIFF" | b"RIFX" | b"RF64" | b"FORM" | b"riff":
            return _of_chunks(raw, head, size)
        case b"fLaC":
            return _of_flac(raw)
        case b"OggS":
            return None
    return _of_mp3(raw)


def _of_chunks(raw: BinaryIO, head: bytes, size: int) -> str | None:
    w64, rf64 = head[:4] == b"riff", head[:4] == b"RF64"
    order: Literal["big", "little"] = "big" if head[:4] in (b"RIFX", b"FORM") else "little"
    # W64 has 16-byte names, 8-byte sizes that count the header, and padding to 8 bytes.
    name_bytes, header_bytes, padding, start = (16, 24, 8, 40) if w64 else (4, 8, 2, 12)
    end = int.from_bytes(head[16:24] if w64 else head[20:28] if rf64 else head[4:8], order) + 8 * (not w64)
    if rf64 and head[4:8] != b"\xff\xff\xff\xff":
        return "its header has two sizes"
    raw.seek(max(size - _ID3V1_BYTES, 0))
    held = size - _ID3V1_BYTES * (raw.read(3) == b"TAG")
    endless = not w64 and not rf64 and _is_unknown(end - 8)
    if endless:
        end = held
    parts: dict[bytes, tuple[int, int]] = {}
    last = start
    for _ in range(_MAX_CHUNKS):
        if start >= end:
            break
        raw.seek(start)
        header = raw.read(header_bytes)
        name, claimed = header[:4], int.from_bytes(header[name_bytes:], order) - header_bytes * w64
        if len(header) < header_bytes or claimed < 0 or not (w64 or all(32 <= byte < 127 for byte in name)):
            return f"no chunk begins at byte {start}, where the one before it ends"
        if rf64 and name == b"data" and claimed == 0xFFFFFFFF:
            claimed = int.from_bytes(head[28:36], order)
        elif endless and name in (b"data", b"SSND") and _is_unknown(claimed):
            return None
        if name in parts and name in (b"fmt ", b"data", b"COMM", b"SSND"):
            return f"it has two chunks {name.decode()!r}"
        parts[name] = start + header_bytes, claimed
        last = start + header_bytes + claimed
        start = last + -claimed % padding
        if last > held:
            return f"the chunk {name.decode('latin-1')!r} ends at byte {last}, the file at byte {held}"
    if not last <= end <= start or not end <= held <= start:
        return f"its last chunk ends at byte {last}, its header says {end}, and the file ends at byte {held}"
    for about, samples, check in ((b"fmt ", b"data", _of_wav), (b"COMM", b"SSND", _of_aiff)):
        if about in parts and samples in parts:
            raw.seek(parts[about][0])
            content = raw.read(min(parts[about][1], 40))
            raw.seek(parts[samples][0])
            offset = int.from_bytes(raw.read(4), "big") + 8 if samples == b"SSND" else 0
            raw.seek(parts.get(b"fact", (0, 0))[0])
            frames = int.from_bytes(head[36:44] if rf64 else raw.read(4) if b"fact" in parts else b"", order)
            return check(content, parts[samples][1] - offset, frames, order)
    return "it lacks the chunk of its format or of its samples"


def _is_unknown(size: int) -> bool:
    """Whether a size is what writers to a pipe leave: 0, all ones, or (SoX, arecord) about 2 GiB."""
    return size == 0 or size == 0xFFFFFFFF or 0x7FFF0000 <= size <= 0x80000100


def _of_wav(about: bytes, sample_bytes: int, told: int, order: Literal["big", "little"]) -> str | None:
    if len(about) < 16:
        return f"its format takes {len(about)} bytes, expected 16"
    codec, channels, rate_hz, byte_rate, block, bits = struct.unpack(
        ("<" if order == "little" else ">") + "HHIIHH", about[:16]
    )
    if codec == _EXTENSIBLE:
        codec = int.from_bytes(about[24:26], order)
    if codec not in _FIXED_WIDTH_CODECS:
        return None
    if block != channels * -(-bits // 8) or byte_rate != rate_hz * block or not block or sample_bytes % block:
        found = f"{channels} channels, {bits} bits, {rate_hz} Hz, {block} bytes a frame, {byte_rate} a second"
        return f"its format is {found}, for {sample_bytes} bytes of samples"
    frames = sample_bytes // block
    if told not in (0, frames, frames * channels):  # Of each channel, or of all.
        return f"it tells of {told} samples and has {frames}"
    return None


def _of_aiff(about: bytes, sample_bytes: int, told: int, order: Literal["big", "little"]) -> str | None:
    if len(about) < 18:
        return f"its format takes {len(about)} bytes, expected 18"
    channels, frames, bits, exponent, mantissa = struct.unpack(">HIHHQ", about[:18])
    fraction_bits = 63 + 16383 - exponent
    if not 0 <= fraction_bits < 64 or mantissa & (1 << fraction_bits) - 1:
        return "its sample rate is not a whole number"
    wanted = frames * channels * -(-bits // 8)
    if about[18:22] in (b"", b"NONE", b"sowt", b"twos") and sample_bytes not in (wanted, wanted + wanted % 2):
        return f"its format is {frames} frames of {channels} channels and {bits} bits, in {sample_bytes} bytes"
    return None


def _of_flac(raw: BinaryIO) -> str | None:
    raw.seek(18)
    rate_hz = int.from_bytes(raw.read(3), "big") >> 4
    raw.seek(4)
    while len(header := raw.read(4)) == 4:
        raw.seek(int.from_bytes(header[1:], "big"), io.SEEK_CUR)
        if header[0] & 0x80:
            break
    frame = raw.read(16)
    if len(frame) < 16 or frame[0] != 0xFF or frame[1] >> 2 != 0x3E:
        return "no frame follows its headers"
    code, block_code = frame[2] & 15, frame[2] >> 4
    # Behind the number of the frame, which is written as UTF-8, and the size of the block.
    more = 4 + max(1, 8 - (frame[4] ^ 0xFF).bit_length()) + {6: 1, 7: 2}.get(block_code, 0)
    found_hz = {
        12: 1000 * frame[more],
        13: int.from_bytes(frame[more : more + 2], "big"),
        14: 10 * int.from_bytes(frame[more : more + 2], "big"),
    }.get(code, 0 if code == 15 else _FLAC_RATES_HZ[code] if code < 12 else 0)
    if code and found_hz != rate_hz:
        return f"its sample rate is {rate_hz} Hz, in its first frame {found_hz} Hz"
    return None


def _of_mp3(raw: BinaryIO) -> str | None:
    start = id3_bytes(raw)
    raw.seek(start)
    head = raw.read(64)
    tag = max(head.find(name) for name in (b"Xing", b"Info"))
    if tag < 0:
        return None  # Frames alone have neither sizes nor, as a rule, checksums.
    raw.seek(start)
    frame = mp3_frame(raw)
    lame = frame[tag + 120 : tag + 120 + _LAME_BYTES]
    if frame and not any(lame[34:36]):
        return None  # A writer of the tag's first part only.
    length, music, own = (int.from_bytes(lame[i:j], "big") for i, j in ((28, 32), (32, 34), (34, 36)))
    if own not in (_crc16(frame[: tag + 154]), _crc16(frame[:_FFMPEG_TAG_BYTES])):
        return "the checksum of its LAME tag is wrong"
    if _crc16_of(raw, length - len(frame)) != music:
        return "the checksum of its frames, in its LAME tag, is wrong"
    if (following := raw.read(3)) not in (b"", b"TAG", b"APE", b"LYR"):
        return f"{following!r} follow the {length} bytes that its LAME tag tells of"
    return None


def _crc16_of(raw: BinaryIO, length: int) -> int | None:
    """CRC-16/ARC of the next bytes of a file; None if there are fewer."""
    crc = 0
    for count in (length % _BLOCK_BYTES, *[_BLOCK_BYTES] * (length // _BLOCK_BYTES)):
        block = raw.read(count)
        if len(block) < count:
            return None
        crc = _crc16(block, crc)
    return crc


def _crc16(data: bytes, crc: int = 0) -> int:
    """CRC-16/ARC, going on from one. Rows of the data are taken side by side, then joined: it is linear."""
    table: np.ndarray = np.arange(256, dtype=np.uint16)
    for _ in range(8):
        table = table >> 1 ^ np.where(table & 1, 0xA001, 0).astype(np.uint16)
    count = max(1, min(_MAX_CRC_ROWS, len(data) // 64))
    columns = -(-len(data) // count)
    # The last sixteen rows carry each bit of a checksum over the zeros of one row.
    rows = np.zeros((count + 16, columns), np.uint8)
    end = rows.reshape(-1)[: count * columns][count * columns - len(data) :]
    end[:] = np.frombuffer(data, np.uint8)
    end[:2] ^= np.frombuffer(crc.to_bytes(2, "little"), np.uint8)[: len(end)]
    partial: np.ndarray = np.concatenate([np.zeros(count, np.uint16), 1 << np.arange(16, dtype=np.uint16)])
    for column in rows.T:
        partial = partial >> 8 ^ table[(partial ^ column) & 0xFF]
    carried, joined = partial[count:].tolist(), 0
    for value in partial[:count].tolist():
        for bit in range(16):
            value ^= carried[bit] * (joined >> bit & 1)
        joined = value
    return joined
