"""Recordings that are in two splits, which would make a score of one of them worth little."""

import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from urgentmos_jax.manifests.lines import json_lines
from urgentmos_jax.manifests.naming import corpus_folder
from urgentmos_jax.manifests.paths import locate


def overlaps(parts: Sequence[Sequence[Path]], *, audio_root: Path | None = None) -> list[str]:
    """Finds ids (within a corpus) and recordings (anywhere) that manifests of two parts have in common.

    Args:
        parts: Manifests of utterances or pairs, part by part (train and validation, say).
        audio_root: See `reading.read_utterances`.

    Returns:
        A fault a line that has been met before, each naming both lines.

    Raises:
        ManifestError: A manifest cannot be read. Lines that cannot be read are passed over.
    """
    seen: dict[tuple[str, str], tuple[int, str]] = {}
    faults = []
    for part, manifests in enumerate(parts):
        for path in manifests:
            corpus = os.fspath(corpus_folder(path))
            folders: dict[str, str] = {}
            for line, entry in json_lines(path):
                here, met = (part, f"{path}:{line}"), None
                for uid, audio in _recordings(entry):
                    located = os.path.abspath(locate(audio, path, audio_root))
                    keys = [("recording", _real(located, folders))]
                    keys += [(corpus, uid)] if uid else []
                    for key in keys:
                        first = seen.setdefault(key, here)
                        if first[0] != part and met is None:
                            met = f"uid {uid!r}" if key[0] == corpus else f"recording {audio!r}"
                            faults.append(f"{here[1]}: {met} is in {first[1]} too; take it out of one of the splits")
    return faults


def _recordings(entry: dict[str, Any] | str) -> Iterator[tuple[str | None, str]]:
    """(id, path) of the recordings of a line."""
    if isinstance(entry, str):
        return
    audio = entry.get("audio_paths", [entry.get("audio_path")])
    uids = entry.get("uids", [entry.get("uid")] * (1 if "audio_path" in entry else 2))
    if not isinstance(audio, list) or not isinstance(uids, list) or len(audio) != len(uids):
        return
    for uid, path in zip(uids, audio, strict=True):
        if isinstance(path, str) and path:
            yield (uid if isinstance(uid, str) else None), path


def _real(path: str, folders: dict[str, str]) -> str:
    folder, name = os.path.split(path)
    if folder not in folders:
        folders[folder] = os.path.realpath(folder)
    path = os.path.join(folders[folder], name)
    return os.path.realpath(path) if os.path.islink(path) else path
