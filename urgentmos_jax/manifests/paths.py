"""Paths of recordings: where a manifest's are found, and how one writes them."""

import os


def locate(audio: str, listed_in: str | os.PathLike, audio_root: str | os.PathLike | None) -> str:
    """Path of a recording: absolute, relative to the list, or relative to `audio_root`."""
    beside = os.path.join(os.path.dirname(os.fspath(listed_in)), audio)
    if audio_root is None or os.path.isabs(audio) or os.path.exists(beside):
        return beside
    return os.path.join(audio_root, audio)


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
