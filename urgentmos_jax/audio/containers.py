"""What the containers of audio say of their length, read from their bytes: WAV and its kin, Ogg, MP3.

libsndfile corrects a wrong length in silence and leaves out damaged pages; here a loss is seen.
"""

import io
import re
import zlib
from typing import Any, BinaryIO, Literal, NamedTuple

_MAX_CHUNKS = 1000
_MPEG1_KBPS = (0, 32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320)
_MPEG2_KBPS = (0, 8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160)
_REVERSED_BITS = bytes(int(f"{byte:08b}"[::-1], 2) for byte in range(256))


Readable = io.RawIOBase | io.BytesIO | io.BufferedReader
_BEHIND_TAGS = (b"RIFF", b"RIFX", b"RF64", b"FORM", b"riff", b"fLaC", b"OggS")


_CONVERT = "convert it: `ffmpeg -i OLD NEW.flac`"


class Foreign(NamedTuple):
    """What a file is that libsndfile does not read, and what to do; FFmpeg's name of its format where that reads it."""

    text: str
    demuxer: str | None = None


# (First byte, bytes there, what such a file is.)
_FOREIGN = (
    (4, b"ftyp", Foreign(f"an MP4 or M4A file; {_CONVERT}", "mov")),
    (4, b"moov", Foreign(f"a QuickTime file; {_CONVERT}", "mov")),
    (4, b"wide", Foreign(f"a QuickTime file; {_CONVERT}", "mov")),
    (0, b"\x1a\x45\xdf\xa3", Foreign(f"a Matroska or WebM file; {_CONVERT}", "matroska")),
    (0, b"\x30\x26\xb2\x75", Foreign(f"a Windows Media file; {_CONVERT}", "asf")),
    (0, b"#!AMR", Foreign(f"an AMR file; {_CONVERT}", "amr")),
    (8, b"AVI ", Foreign(f"an AVI file; {_CONVERT}", "avi")),
    (0, b"FLV\x01", Foreign(f"a Flash video; {_CONVERT}", "flv")),
    *((0, bytes([0xFF, byte]), Foreign(f"AAC audio; {_CONVERT}", "aac")) for byte in (0xF0, 0xF1, 0xF8, 0xF9)),
    (0, b"caff", Foreign(f"a Core Audio file; {_CONVERT}")),
    (0, b".snd", Foreign(f"a Sun or NeXT audio file; {_CONVERT}")),
    (0, b"NIST_1A", Foreign("a NIST SPHERE file; convert it: `sox OLD NEW.wav`")),
    (0, b"version https://git-lfs", Foreign("a pointer of git-lfs, not the recording; run `git lfs pull`")),
    (0, b"PK\x03\x04", Foreign("a zip archive; unpack it")),
    (0, b"\x1f\x8b", Foreign("a gzip archive; unpack it")),
    (0, b"%PDF", Foreign("a PDF document; check the path")),
)


def foreign_kind(raw: BinaryIO) -> Foreign | None:
    """What a file is that libsndfile does not read; None where its first bytes do not tell."""
    head = raw.read(512)
    if re.match(rb"\s*(<!--.*?-->\s*)?<(!doctype html|html|head|body)\b", head, re.IGNORECASE | re.DOTALL):
        return Foreign("an HTML page, perhaps that of a failed download; download it again")
    return next((kind for start, magic, kind in _FOREIGN if head[start:].startswith(magic)), None)


class PartFile(io.RawIOBase):
    """A file from a byte on, as if it began there, with other bytes in a place; it closes the file with itself.

    Args:
        file: Seekable.
        start: First byte.
        patch: A place, counted from `start`, and the bytes to read there.
        size: Where it ends, counted from `start`; None: with the file.
    """

    def __init__(self, file: Readable, start: int = 0, patch: tuple[int, bytes] = (0, b""), size: int | None = None):
        self._file, self._start, self._patch, self._size = file, start, patch, size
        self._file.seek(start)

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        position = self.tell()
        view = memoryview(buffer).cast("B")
        if self._size is not None:
            view = view[: max(self._size - position, 0)]
        count = self._file.readinto(view) or 0
        place, data = self._patch
        for at, byte in enumerate(data, place - position):
            if 0 <= at < count:
                view[at] = byte
        return count

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        if whence == io.SEEK_SET:
            offset += self._start
        elif whence == io.SEEK_CUR:
            offset += self._file.tell()
        elif self._size is None:
            offset += self._file.seek(0, io.SEEK_END)
        else:
            offset += self._start + self._size
        # Damaged headers send the decoder to before the start.
        return self._file.seek(max(offset, self._start)) - self._start

    def close(self) -> None:
        self._file.close()
        super().close()


def tag_bytes(raw: BinaryIO) -> int:
    """Bytes of ID3v2 tags, and of zeros behind them, before a container other than MP3, which has them by itself."""
    start = 0
    while len(head := raw.read(10)) == 10 and head[:3] == b"ID3":
        start += 10 + _id3_size(head) + (10 if head[5] & 0x10 else 0)
        raw.seek(start)
    if not start:
        return 0
    raw.seek(start)
    following = raw.read(4096)
    start += len(following) - len(following.lstrip(b"\0"))
    return start if following.lstrip(b"\0").startswith(_BEHIND_TAGS) else 0


def _id3_size(head: bytes) -> int:
    return head[6] << 21 | head[7] << 14 | head[8] << 7 | head[9]


class SampleChunk(NamedTuple):
    """The samples of a WAV, RF64, W64 or AIFF file: first byte, bytes claimed and bytes held."""

    start: int
    claimed: int
    held: int


def sample_chunk(raw: BinaryIO, size: int) -> SampleChunk | None:
    """Finds the samples of a RIFF-like file of `size` bytes, read from its start; None in other files."""
    head = raw.read(12)
    magic = head[:4]
    if magic not in (b"RIFF", b"RIFX", b"RF64", b"FORM", b"riff"):
        return None
    w64 = magic == b"riff"  # 16-byte names, 8-byte sizes that count the header, padding to 8 bytes.
    order: Literal["big", "little"] = "big" if magic in (b"RIFX", b"FORM") else "little"
    name_bytes, size_bytes, padding = (16, 8, 8) if w64 else (4, 4, 2)
    header_bytes = name_bytes + size_bytes
    long_size = 0
    raw.seek(40 if w64 else 12)
    for _ in range(_MAX_CHUNKS):
        header = raw.read(header_bytes)
        if len(header) < header_bytes:
            break
        start = raw.tell()
        claimed = max(int.from_bytes(header[name_bytes:], order) - w64 * header_bytes, 0)
        if header[:4] in (b"data", b"SSND"):
            rest = size - start
            if magic == b"RF64":
                claimed = long_size if claimed == 0xFFFFFFFF else claimed
            elif not w64:
                # Writers to a pipe leave 0, all ones, or (SoX, arecord) about 2 GiB.
                if claimed == 0xFFFFFFFF or 0x7FFF0000 <= claimed <= 0x80000000:
                    claimed = rest
                elif claimed == 0 and int.from_bytes(head[4:8], order) != size - 8:
                    return SampleChunk(start, 0, held=rest)
            return SampleChunk(start, claimed, min(claimed, rest))
        if header[:4] == b"ds64":
            long_size = int.from_bytes(raw.read(16)[8:], order)
        if start + claimed > size:
            break
        raw.seek(start + claimed + -claimed % padding)
    return None


def with_sample_bytes(raw: Readable, chunk: SampleChunk) -> PartFile:
    """The file with the size that its writer left at 0 filled in."""
    return PartFile(raw, patch=(chunk.start - 4, b"\xff\xff\xff\xff"))


def ogg_fault(raw: BinaryIO) -> str | None:
    """Names a damaged or missing Ogg page or a second stream, of a file read from its start; None if it is whole."""
    start, last = 0, False
    next_number: dict[bytes, int] = {}
    while header := raw.read(27):
        if last and header[:4] != b"OggS":
            break  # A tag after the end.
        sizes = raw.read(header[26]) if len(header) == 27 else b""
        page = header + sizes + raw.read(sum(sizes))
        if header[:4] != b"OggS" or header[22:26] != _ogg_checksum(page[:22] + bytes(4) + page[26:]):
            return f"the Ogg page at byte {start} is damaged or cut"
        if last and header[5] & 2:
            return f"another Ogg stream begins at byte {start}; split the file there"
        stream, number = header[14:18], int.from_bytes(header[18:22], "little")
        if next_number.get(stream, number) != number:
            return f"an Ogg page is missing before byte {start}"
        next_number[stream] = number + 1
        start, last = start + len(page), bool(header[5] & 4)
    return None if last else "its last Ogg page does not end the stream"


def mp3_samples(raw: BinaryIO, claimed: int) -> int:
    """Counts the samples a channel of an MP3 file.

    Without a Xing, Info or VBRI tag libsndfile takes the first bit rate for that of the file and stops too early or
    claims too much. So frames are counted, up to the first break.

    Args:
        raw: The file, at its start.
        claimed: Samples a channel that libsndfile tells of.
    """
    tag, samples = id3_bytes(raw), 0
    for start in range(tag, tag + 2048):  # The first frame may be damaged.
        raw.seek(start)
        first = mp3_frame(raw)
        if first and mp3_frame(raw):
            break
    raw.seek(start)
    while frame := mp3_frame(raw):
        samples += _mp3_frame_samples(frame)
    if any(tag in first[:40] for tag in (b"Xing", b"Info", b"VBRI")):
        # The tag's frame holds no samples, and what the encoder added at both ends fills up to 4 frames.
        return max(claimed, samples - 5 * _mp3_frame_samples(first))
    return samples or claimed


def id3_bytes(raw: BinaryIO) -> int:
    """Bytes of the ID3v2 tag at the position of a file."""
    head = raw.read(10)
    return 10 + _id3_size(head) if head[:3] == b"ID3" and len(head) == 10 else 0


def _mp3_frame_samples(frame: bytes) -> int:
    return 1152 if frame[1] >> 3 & 3 == 3 else 576


def mp3_frame(raw: BinaryIO) -> bytes:
    """Reads one whole MPEG layer III frame; empty where there is none."""
    header = raw.read(4)
    if len(header) < 4 or header[0] != 0xFF or header[1] & 0xE6 != 0xE2:
        return b""
    version, bit_rate, sample_rate = header[1] >> 3 & 3, header[2] >> 4, header[2] >> 2 & 3
    if version == 1 or sample_rate == 3 or bit_rate in (0, 15):
        return b""
    kbps = (_MPEG1_KBPS if version == 3 else _MPEG2_KBPS)[bit_rate]
    rate_hz = (44100, 48000, 32000)[sample_rate] >> (0, 1, 2)[(3, 2, 0).index(version)]
    length = _mp3_frame_samples(header) * kbps * 125 // rate_hz + (header[2] >> 1 & 1)
    body = raw.read(length - 4)
    return header + body if len(body) == length - 4 else b""


def _ogg_checksum(page: bytes) -> bytes:
    """Ogg's CRC runs from the high bit: zlib's with reversed bits in each byte and without its inversions."""
    crc = zlib.crc32(page.translate(_REVERSED_BITS), 0xFFFFFFFF) ^ 0xFFFFFFFF
    return crc.to_bytes(4, "big").translate(_REVERSED_BITS)
