"""Paths of recordings: where a manifest's are found, and how one writes them."""

import os
import unicodedata


def locate(audio: str, listed_in: str | os.PathLike, audio_root: str | os.PathLike | None) -> str:
    """Path of a recording: absolute, relative to the list, or relative to `audio_root`.

    Letters with accents may be composed in the list and decomposed on the disk, or the other way round.
    """
    beside = os.path.join(os.path.dirname(os.fspath(listed_in)), audio)
    tries = [beside] if audio_root is None or os.path.isabs(audio) else [beside, os.path.join(audio_root, audio)]
    if not audio.isascii():
        other = [unicodedata.normalize(form, audio) for form in ("NFC", "NFD")]
        spelt = [one.removesuffix(audio) + name for one in tries for name in (audio, *other)]
        return next((one for one in spelt if os.path.exists(one)), tries[-1])
    return next((one for one in tries[:-1] if os.path.exists(one)), tries[-1])


def written_path(audio: str, folder: str) -> str:
    """How a manifest in a folder writes the path of a recording.

    Args:
        audio: Absolute path.
        folder: Absolute, links followed.

    Returns:
        Relative to the folder where the recording itself, links followed, lies below it; else absolute.
    """
    below = os.path.join(folder, "")
    inside = audio.startswith(below) and os.path.realpath(audio).startswith(below)
    return os.path.relpath(audio, folder) if inside else audio
