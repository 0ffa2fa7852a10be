"""Recordings of a page: within it while there is room, linked beyond."""

import base64
import io
import os
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

import soundfile

# What browsers play as it is.
_PLAYABLE = {"FLAC": "audio/flac", "OGG": "audio/ogg", "MP3": "audio/mpeg"}


@dataclass(frozen=True)
class Sound:
    """Source of a recording: a `data:` address, or a relative one where it is not embedded."""

    source: str
    embedded: bool


class SoundStore:
    """Recordings of a page in a folder, embedded while they take `room_bytes` at most in all, else linked."""

    def __init__(self, folder: Path, room_bytes: int):
        self._folder = folder
        self.left_bytes = room_bytes
        self.embedded = self.linked = 0
        self.embedded_bytes = 0

    def put(self, path: str | os.PathLike, *, link: bool = False) -> Sound:
        """A recording, embedded if it fits and unless `link`; FLAC, Ogg and MP3 as they are, all else as FLAC."""
        source = None if link else self._embedded(os.fsdecode(path))
        if source is None:
            self.linked += 1
            relative = os.path.relpath(os.path.abspath(path), os.path.abspath(self._folder))
            # A name with a colon would read as an address of its own.
            return Sound("./" + quote(os.fsencode(relative)), embedded=False)
        self.embedded += 1
        self.embedded_bytes += len(source)
        self.left_bytes -= len(source)
        return Sound(source, embedded=True)

    def _embedded(self, path: str) -> str | None:
        try:
            with open(path, "rb") as raw, soundfile.SoundFile(raw) as file:
                kind = _PLAYABLE.get(file.format)
                if kind is None:
                    # FLAC takes at least a few bits a sample; what cannot fit is not read.
                    if file.frames * file.channels * 2 > 8 * self.left_bytes:
                        return None
                    data, kind = _as_flac(file), _PLAYABLE["FLAC"]
                elif os.path.getsize(path) * 4 / 3 > self.left_bytes:
                    return None
                else:
                    data = Path(path).read_bytes()
        except (OSError, soundfile.SoundFileError, ValueError):
            return None
        source = f"data:{kind};base64,{base64.b64encode(data).decode()}"
        return source if len(source) <= self.left_bytes else None


def _as_flac(file: soundfile.SoundFile) -> bytes:
    depth = "PCM_24" if file.subtype in ("PCM_24", "PCM_32", "FLOAT", "DOUBLE") else "PCM_16"
    buffer = io.BytesIO()
    with soundfile.SoundFile(buffer, "w", file.samplerate, file.channels, depth, format="FLAC") as flac:
        for block in file.blocks(1 << 16):
            flac.write(block)
    return buffer.getvalue()
