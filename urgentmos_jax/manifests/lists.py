"""Recordings as users list them: JSON lines, CSV, Kaldi's `scp`, text with a path a line, folders."""

import csv
import io
import logging
import os
import unicodedata
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from urgentmos_jax.audio.loading import AUDIO_SUFFIXES
from urgentmos_jax.manifests.lines import json_lines, two_strings
from urgentmos_jax.manifests.paths import locate
from urgentmos_jax.manifests.records import ManifestError

logger = logging.getLogger(__name__)

# A file of another kind is a recording.
LIST_SUFFIXES = (".jsonl", ".csv", ".scp", ".txt")


def read_list(path: Path, audio_root: Path | None = None) -> list[tuple[str, str]]:
    """(uid, path of the recording) of each line of a list.

    `.jsonl`: `audio_path` and perhaps `uid`; `.csv`: a column `audio_path` or `path` and perhaps `uid`; `.scp`: uid and
    path; anything else: a path a line. Relative paths are relative to the list, else to `audio_root`.

    Raises:
        ManifestError: Naming every line that cannot be read.
    """
    rows, faults = [], []
    for number, entry in _entries(path):
        if isinstance(entry, str):
            faults.append(f"{path}:{number}: {entry}")
            continue
        audio = entry.get("audio_path") or entry.get("path")
        if not audio or not isinstance(audio, str):
            faults.append(f"{path}:{number}: no audio_path (a string)")
            continue
        uid = entry.get("uid")
        rows.append((audio if uid in (None, "") else str(uid), locate(audio, path, audio_root)))
    if faults or not rows:
        raise ManifestError(faults or [f"{path}: lists no recordings"])
    return rows


def read_pair_list(path: Path, audio_root: Path | None = None) -> list[tuple[str, tuple[str, str]]]:
    """(uid, paths of A and B) of each line of a `.jsonl` of pairs: `audio_paths`, and perhaps `uids`.

    Raises:
        ManifestError: Naming every line that cannot be read.
    """
    rows, faults = [], []
    for number, entry in _entries(path):
        audio = entry if isinstance(entry, str) else entry.get("audio_paths")
        if isinstance(entry, str) or isinstance(audio, str) or not two_strings(audio):
            why = entry if isinstance(entry, str) else "no audio_paths [A, B] (two strings)"
            faults.append(f"{path}:{number}: {why}")
            continue
        uids = entry["uids"] if two_strings(entry.get("uids")) else audio
        a, b = (locate(side, path, audio_root) for side in audio)
        rows.append((" ".join(uids), (a, b)))
    if faults or not rows:
        raise ManifestError(faults or [f"{path}: lists no pairs"])
    return rows


def find_recordings(folder: Path) -> list[Path]:
    """Recordings below a folder, sorted; hidden files are left out, other files are counted in a warning.

    Links to folders are followed, but each folder is entered once.

    Raises:
        ManifestError: There are none.
    """
    found: list[Path] = []
    others: Counter[str] = Counter()
    entered: set[tuple[int, int]] = set()
    for name, folders, files in os.walk(folder, followlinks=True):
        here = os.stat(name)
        if (here.st_dev, here.st_ino) in entered:
            logger.warning("%s: a link to a folder that was entered before, passed over", name)
            folders.clear()
            continue
        entered.add((here.st_dev, here.st_ino))
        folders[:] = sorted(one for one in folders if not one.startswith("."))
        for file in (Path(name, one) for one in files if not one.startswith(".")):
            if file.suffix.lower() in AUDIO_SUFFIXES:
                found.append(file)
            else:
                others[file.suffix.lower() or "without suffix"] += 1
    told = ", ".join(f"{count} {suffix}" for suffix, count in others.most_common())
    if not found:
        text = f"{folder}: no recordings ({', '.join(AUDIO_SUFFIXES)}) below this folder"
        raise ManifestError([f"{text}; other files: {told}" if others else text])
    if others:
        logger.warning("%s: files that are not recordings by their suffix, left out: %s", folder, told)
    return sorted(found)


def match_folders(a: Path, b: Path) -> list[tuple[str, tuple[str, str]]]:
    """(name, paths of A and B) of the recordings of two folders by their relative names, suffixes aside.

    A recording without a partner is listed too, with a path that does not exist.

    Raises:
        ManifestError: No name is in both folders, or two recordings of a folder have one name.
    """
    of_a, of_b = _by_name(a), _by_name(b)
    if not of_a.keys() & of_b.keys():
        raise ManifestError([f"{a} and {b}: no recording of the same name (suffix aside) in both"])
    return [
        (str(name), (str(of_a.get(name, a / f"{name}.*")), str(of_b.get(name, b / f"{name}.*"))))
        for name in sorted(of_a.keys() | of_b.keys())
    ]


def _by_name(folder: Path) -> dict[Path, Path]:
    """{relative path without suffix: recording}."""
    named: dict[Path, Path] = {}
    for path in find_recordings(folder):
        # One name may be spelt with composed or with decomposed letters.
        name = unicodedata.normalize("NFC", str(path.relative_to(folder).with_suffix("")))
        other = named.setdefault(Path(name), path)
        if other != path:
            raise ManifestError([f"{other} and {path}: of the same name; leave one of them or give --pairs F.jsonl"])
    return named


def _entries(path: Path) -> Iterator[tuple[int, dict[str, Any] | str]]:
    """(line number, entry or what is wrong with the line)."""
    if path.suffix == ".jsonl":
        yield from json_lines(path)
        return
    try:
        text = path.read_text(encoding="utf-8-sig")  # Lines end in \n from here on.
    except (OSError, UnicodeDecodeError) as error:
        raise ManifestError([f"{path}: cannot be read ({error})"]) from None
    if path.suffix == ".csv":
        reader = csv.DictReader(io.StringIO(text))
        try:
            if not {"audio_path", "path"} & set(reader.fieldnames or ()):
                raise ManifestError([f"{path}:1: no column audio_path or path, found {reader.fieldnames}"])
            yield from ((reader.line_num, row) for row in reader)
        except csv.Error as error:
            yield reader.line_num, f"broken CSV ({error})"
        return
    for number, line in enumerate(text.split("\n"), 1):
        if not line.strip():
            continue
        if path.suffix == ".scp":
            uid, *audio = line.strip().split(None, 1)
            yield number, {"uid": uid, "audio_path": audio[0]} if audio else "no `uid path`"
        else:
            yield number, {"audio_path": line.strip()}
