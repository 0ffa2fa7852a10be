"""Sound files that mutations start from: every container that is read, a list, tables, weights."""

import io
import json

import numpy as np
import soundfile

from tests.helpers.torch_writer import SIX, checkpoint, storage, tensor

MANIFEST_ROWS = 12


def _speech(seconds: float, rate_hz: int) -> np.ndarray:
    """[T] float32: a tone that comes and goes, and noise."""
    time_s = np.arange(int(seconds * rate_hz)) / rate_hz
    tone = 0.4 * np.sin(2 * np.pi * 220 * time_s) * np.abs(np.sin(2 * np.pi * 1.5 * time_s))
    return (tone + 0.02 * np.random.default_rng(0).standard_normal(len(time_s))).astype(np.float32)


def _stereo(seconds: float, rate_hz: int) -> np.ndarray:
    mono = _speech(seconds, rate_hz)
    return np.stack([mono, mono[::-1]], 1)


def _encoded(samples: np.ndarray, rate_hz: int, format: str, subtype: str) -> bytes:
    file = io.BytesIO()
    soundfile.write(file, samples, rate_hz, format=format, subtype=subtype)
    return file.getvalue()


def audio() -> dict[str, bytes]:
    """Ten files of 0.7 s, mono and stereo, of 16, 24 and 44.1 kHz."""
    mono, wide, stereo = _speech(0.7, 16000), _speech(0.7, 24000), _stereo(0.7, 44100)
    return {
        "wav-pcm16": _encoded(mono, 16000, "WAV", "PCM_16"),
        "wav-ulaw": _encoded(mono, 16000, "WAV", "ULAW"),
        "wavex-float": _encoded(stereo, 44100, "WAVEX", "FLOAT"),
        "rf64-pcm24": _encoded(wide, 24000, "RF64", "PCM_24"),
        "w64-pcm16": _encoded(mono, 16000, "W64", "PCM_16"),
        "aiff-pcm16": _encoded(wide, 24000, "AIFF", "PCM_16"),
        "flac": _encoded(stereo, 44100, "FLAC", "PCM_16"),
        "vorbis": _encoded(stereo, 44100, "OGG", "VORBIS"),
        "opus": _encoded(wide, 24000, "OGG", "OPUS"),
        "mp3": _encoded(mono, 16000, "MP3", "MPEG_LAYER_III"),
    }


def manifests() -> dict[str, bytes]:
    """A list of utterances and one of pairs, JSON lines."""
    rng = np.random.default_rng(1)
    utterances = [
        {
            "uid": f"é{n}" if n == 3 else f"u{n}",
            "audio_path": f"wav/{n}.wav",
            "duration": round(float(rng.uniform(1, 9)), 3),
            "system_id": f"s{n % 3}",
            "reference_id": None if n == 5 else f"r{n % 4}",
            "metrics": {"mos_overall": round(float(rng.uniform(1, 5)), 2), "pesq": None if n == 2 else 4.58},
            "meta": {"note": 'a "quoted", word', "n": n},
        }
        for n in range(MANIFEST_ROWS)
    ]
    pairs = [
        {
            "uids": [f"u{n}", f"u{n + 1}"],
            "audio_paths": [f"wav/{n}.wav", f"wav/{n + 1}.wav"],
            "durations": [2.5, 1 + n],
            "metrics": {"mos_overall": round(float(rng.uniform(-4, 4)), 2)},
        }
        for n in range(MANIFEST_ROWS)
    ]
    return {
        name: "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows).encode()
        for name, rows in (("utterances", utterances), ("pairs", pairs))
    }


def tables() -> dict[str, bytes]:
    """Ratings with commas, tabs and semicolons between them, quoted cells, blanks and a byte-order mark."""
    header = ["uid", "audio_path", "mos_overall", "note"]
    rows = [
        [f"u{n}", f"wav/{n}.wav", "" if n == 4 else f"{1 + n * 0.31:.2f}", 'said "a, b"; then\tleft' if n == 2 else "é"]
        for n in range(MANIFEST_ROWS)
    ]

    def joined(delimiter: str, end: str) -> bytes:
        quoted = [['"' + cell.replace('"', '""') + '"' if '"' in cell else cell for cell in row] for row in rows]
        return "".join(delimiter.join(row) + end for row in [header, *quoted]).encode()

    return {"csv": joined(",", "\r\n"), "tsv": b"\xef\xbb\xbf" + joined("\t", "\n"), "semicolons": joined(";", "\n")}


def torch_files() -> dict[str, bytes]:
    """A state dict as torch writes it."""
    value = {"weight": tensor(), "half": tensor(storage("1", 4, "Half"), 0, (2, 2), (2, 1)), "step": 3, "rate": 0.5}
    return {"state-dict": checkpoint(value, SIX, np.arange(4, dtype=np.float16))}


def safetensors_files() -> dict[str, bytes]:
    """Two tensors and metadata."""
    import safetensors.numpy

    arrays = {"a.weight": SIX.reshape(2, 3), "b": np.arange(4, dtype=np.float16)}
    return {"two": safetensors.numpy.save(arrays, {"format": "np"})}


def held_once(name: str, data: bytes) -> set[int]:
    """Bytes of a seed that its container holds once and without a checksum: damage to them alone cannot be seen."""
    places: list[range] = []
    if name.startswith("aiff"):
        rate, samples = data.index(b"COMM") + 16, data.index(b"SSND") + 12  # A size of blocks that nothing reads.
        places = [range(rate, rate + 10), range(samples, len(data))]
    elif name.startswith(("wav", "rf64", "w64")):
        header = 24 if name.startswith("w64") else 8
        about, samples = data.index(b"fmt ") + header, data.rindex(b"data") + header
        places = [range(about, about + 2), range(samples, len(data))]  # The codec.
        if name.startswith(("wavex", "rf64")):
            places.append(range(about + 16, about + 40))  # The codec once more, and where speakers stand.
        for optional in (b"fact", b"PEAK"):
            if optional in data[:samples]:
                start = data.index(optional)
                places.append(range(start, start + (4 if optional == b"fact" else samples - start - header)))
    return set().union(*places)
