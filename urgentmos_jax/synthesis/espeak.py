"""Speech of eSpeak NG, through the shared library and the voices of the package espeakng-loader."""

import ctypes
import os
import re
import sys
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import soxr

from urgentmos_jax.audio.loading import SAMPLE_RATE_HZ

if sys.platform == "win32":
    from _ctypes import FreeLibrary as unload
else:
    from _ctypes import dlclose as unload

# Constants of espeak-ng/speak_lib.h.
_SYNCHRONOUS = 2
_DONT_EXIT = 0x8000
_RATE, _PITCH = 1, 3
_CHARACTERS, _UTF8 = 1, 1
_RATES_WPM = (80, 450)
_PITCHES = (0, 99)
_CALLBACK = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.POINTER(ctypes.c_short), ctypes.c_int, ctypes.c_void_p)

_MAX_PATH_BYTES = 120
_LOCK = threading.Lock()


def synthesize(text: str, voice: str, *, rate: int = 175, pitch: int = 50) -> tuple[np.ndarray, int]:
    """Speaks a text. The same arguments always give the same samples.

    eSpeak's state is global to the process, so threads take turns.

    Args:
        text: What to speak.
        voice: A language code of eSpeak, with a variant if wanted: `en-us`, `de+f2`.
        rate, pitch: Words a minute, 80 to 450; 0 (low) to 99 (high).

    Returns:
        The waveform [T] float32 in [-1, 1], and its sample rate, 16000 Hz.

    Raises:
        ValueError: An unknown voice, a rate or pitch out of range, or a text with nothing to speak.
        ModuleNotFoundError: espeakng-loader is not installed.
    """
    for name, value, (low, high) in (("rate", rate, _RATES_WPM), ("pitch", pitch, _PITCHES)):
        if not low <= value <= high:
            raise ValueError(f"{name}={value}: must be from {low} to {high}")
    name = _voice_name(voice)
    blocks = []

    @_CALLBACK
    def collect(samples: Any, count: int, events: Any) -> int:
        if samples and count > 0:
            blocks.append(np.ctypeslib.as_array(samples, (count,)).copy())
        return 0

    with _LOCK, _fresh_library() as (library, rate_hz):
        library.espeak_SetSynthCallback(collect)
        if library.espeak_SetVoiceByName(name.encode()):
            raise ValueError(f"voice {voice!r}: eSpeak cannot load it")
        library.espeak_SetParameter(_RATE, rate, 0)
        library.espeak_SetParameter(_PITCH, pitch, 0)
        encoded = text.encode()
        if status := library.espeak_Synth(encoded, len(encoded) + 1, 0, _CHARACTERS, 0, _UTF8, None, None):
            raise RuntimeError(f"eSpeak could not speak {text!r}: status {status}")
    if not any(block.any() for block in blocks):
        raise ValueError(f"eSpeak finds nothing to say in {text!r}")
    waveform = np.concatenate(blocks).astype(np.float32) / 2**15
    return soxr.resample(waveform, rate_hz, SAMPLE_RATE_HZ), SAMPLE_RATE_HZ


def check_voice(voice: str) -> None:
    """Raises ValueError if eSpeak does not have this voice; see `synthesize`."""
    _voice_name(voice)


def _loader() -> Any:
    try:
        import espeakng_loader
    except ModuleNotFoundError as error:
        text = 'eSpeak NG is missing: pip install "urgentmos_jax[demo]", or espeakng-loader alone'
        raise ModuleNotFoundError(text, name="espeakng_loader") from error
    return espeakng_loader


@contextmanager
def _fresh_library() -> Iterator[tuple[ctypes.CDLL, int]]:
    """Yields the library, newly loaded, and its sample rate in Hz.

    Pitch flutter and noise carry over from one utterance to the next in static variables that no call of eSpeak
    resets, so a library that is kept never speaks a sentence the same way twice. Loading takes 4 ms.
    """
    loader = _loader()
    with _short_path(loader.get_data_path()) as data:
        library = ctypes.CDLL(loader.get_library_path())
        try:
            rate_hz = library.espeak_Initialize(_SYNCHRONOUS, 0, os.fsencode(data), _DONT_EXIT)
            if rate_hz <= 0:
                raise RuntimeError(f"eSpeak does not start with the voices in {data}; install espeakng-loader again")
            try:
                library.espeak_ng_SetRandSeed(ctypes.c_long(1))  # By default the time of day.
                yield library, rate_hz
            finally:
                library.espeak_Terminate()  # Its thread must not outlive its code.
        finally:
            unload(library._handle)


@contextmanager
def _short_path(path: str) -> Iterator[str]:
    """Yields the path, or a link to it: eSpeak truncates the paths of its files at about 160 bytes."""
    if len(os.fsencode(path)) <= _MAX_PATH_BYTES:
        yield path
        return
    with tempfile.TemporaryDirectory(prefix="espeak-") as folder:
        link = os.path.join(folder, "data")
        if len(os.fsencode(link)) > _MAX_PATH_BYTES:
            raise OSError(f"{path} is too long a path for eSpeak, and so is {link}; set TMPDIR to a shorter one")
        os.symlink(path, link, target_is_directory=True)
        yield link


@cache
def _languages() -> dict[str, str]:
    """Maps each language code, lower case, to the voice eSpeak prefers for it, such as `en-gb` to `gmw/en`."""
    root = Path(_loader().get_data_path()) / "lang"
    ranked = []
    for file in root.rglob("*"):
        if file.is_file():
            name = file.relative_to(root).as_posix()
            ranked.append((0, file.name.lower(), name))
            for code, priority in re.findall(r"^language\s+(\S+)(?:\s+(\d+))?", file.read_text("utf-8"), re.M):
                ranked.append((int(priority or 5), code.lower(), name))
    return {code: name for _, code, name in sorted(ranked, reverse=True)}


def _voice_name(voice: str) -> str:
    """Checks a voice, since eSpeak ignores unknown variants, and returns eSpeak's name for it."""
    code, plus, variant = voice.partition("+")
    if code.lower() not in _languages():
        raise ValueError(f"voice {voice!r}: unknown language {code!r}; must be one of {' '.join(sorted(_languages()))}")
    variants = {file.name for file in Path(_loader().get_data_path(), "voices", "!v").iterdir()}
    if plus and variant not in variants:
        raise ValueError(f"voice {voice!r}: unknown variant {variant!r}; must be one of {' '.join(sorted(variants))}")
    return _languages()[code.lower()] + plus + variant
