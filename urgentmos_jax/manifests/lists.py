"""Recordings as users list them: JSON lines, CSV, Kaldi's `scp`, text with a path a line, folders."""

import io
import logging
import os
import re
import unicodedata
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from urgentmos_jax.audio.opening import MEDIA_SUFFIXES, read_suffixes
from urgentmos_jax.audio.recordings import Recording
from urgentmos_jax.files import parse_json, without_packing
from urgentmos_jax.manifests.cuts import listed as named
from urgentmos_jax.manifests.lines import json_lines, two_strings
from urgentmos_jax.manifests.paths import locate
from urgentmos_jax.manifests.records import ManifestError
from urgentmos_jax.manifests.tables import CsvFile
from urgentmos_jax.manifests.text import decode, read_bytes

logger = logging.getLogger(__name__)

_KINDS = (".jsonl", ".json", ".csv", ".tsv", ".scp", ".txt", ".lst")
_ARCHIVE = re.compile(r"^(ark|scp)\b[^/]*:|\.ark:\d+")


def list_kind(path: Path) -> str | None:
    """The suffix by which a list is read, `.gz` and the like left out; None for a file that is a recording."""
    name = without_packing(path.name.lower())
    return next((suffix for suffix in _KINDS if name.endswith(suffix)), None)


def read_list(path: Path, audio_root: Path | None = None) -> list[tuple[str, str | Recording]]:
    """(uid, path of the recording, or part of one) of each line of a list.

    `.jsonl`: `audio_path` or `path`, and perhaps `uid`; cuts and recordings of Lhotse; lines of NeMo, which with an
    `offset` are parts. `.json`: the same, or an array of such objects or of paths; `.csv` and `.tsv`: such columns;
    `.scp`: uid and path; anything else: a path a line. All may be compressed: `.gz`, `.bz2`, `.xz`. Relative paths are
    relative to the list, else to `audio_root`; a warning counts those that are not there.

    Raises:
        ManifestError: Naming every line that cannot be read.
    """
    listed, faults = [], []
    for where, entry in _entries(path):
        found = entry if isinstance(entry, str) else named(entry)
        if isinstance(found, str):
            faults.append(f"{where}: {found}")
        else:
            listed.append(found)
    if faults or not listed:
        raise ManifestError(faults or [f"{path}: lists no recordings"])
    paths = located(path, [one.audio for one in listed], audio_root)
    return [
        (one.uid, Recording(there + one.fragment, there, *one[2:]) if one.fragment else there)
        for one, there in zip(listed, paths, strict=True)
    ]


def read_pair_list(path: Path, audio_root: Path | None = None) -> list[tuple[str, tuple[str, str]]]:
    """(uid, paths of A and B) of each line of a list of pairs: `audio_paths`, and perhaps `uids`; JSON as `read_list`.

    Raises:
        ManifestError: Naming every line that cannot be read.
    """
    uids, listed, faults = [], [], []
    if list_kind(path) not in (".jsonl", ".json"):
        raise ManifestError([f'{path}: give pairs as .jsonl, one a line: {{"audio_paths": [A, B]}}'])
    for where, entry in _entries(path):
        audio = entry if isinstance(entry, str) else entry.get("audio_paths")
        if isinstance(entry, str) or isinstance(audio, str) or not two_strings(audio):
            why = entry if isinstance(entry, str) else "no audio_paths [A, B] (two strings)"
            faults.append(f"{where}: {why}")
            continue
        uids.append(" ".join(entry["uids"] if two_strings(entry.get("uids")) else audio))
        listed += audio
    if faults or not listed:
        raise ManifestError(faults or [f"{path}: lists no pairs"])
    paths = located(path, listed, audio_root)
    return list(zip(uids, zip(paths[::2], paths[1::2], strict=True), strict=True))


def find_recordings(folder: Path) -> list[Path]:
    """Recordings below a folder, sorted; hidden files are left out, other files are counted in a warning.

    Links to folders are followed, but each folder is entered once.

    Raises:
        ManifestError: There are none.
    """
    found: list[Path] = []
    others: Counter[str] = Counter()
    entered: set[tuple[int, int]] = set()
    suffixes = read_suffixes()
    for name, folders, files in os.walk(folder, followlinks=True):
        here = os.stat(name)
        if (here.st_dev, here.st_ino) in entered:
            logger.warning("%s: a link to a folder that was entered before, passed over", name)
            folders.clear()
            continue
        entered.add((here.st_dev, here.st_ino))
        folders[:] = sorted(one for one in folders if not one.startswith("."))
        for file in (Path(name, one) for one in sorted(files) if not one.startswith(".")):
            if file.suffix.lower() in suffixes:
                found.append(file)
            else:
                others[file.suffix.lower() or "without suffix"] += 1
    told = tell_others(others)
    if not found:
        text = f"{folder}: no recordings ({', '.join(suffixes)}) below this folder"
        raise ManifestError([f"{text}; other files: {told}" if others else text])
    if others:
        logger.warning("%s: files that are not recordings by their suffix, left out: %s", folder, told)
    return sorted(found)


def tell_others(others: Counter[str]) -> str:
    """Files by suffix that are not read, how many there are, and the extra that reads some of them."""
    told = ", ".join(f"{count} {suffix}" for suffix, count in others.most_common())
    media = [suffix for suffix in others if suffix in MEDIA_SUFFIXES]
    return f'{told} (pip install "urgentmos_jax[media]" for {", ".join(media)})' if media else told


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


def tell_missing(
    name: str, where: str, listed: Sequence[tuple[str, str]], audio_root: str | os.PathLike | None
) -> None:
    """Warns of relative paths that lead to no file, and says where such paths are looked up.

    Args:
        name: Of the list.
        where: Its paths are looked up first.
        listed: (path as listed, path as located) of recordings.
        audio_root: Where they are looked up besides.
    """
    relative = [(audio, path) for audio, path in listed if not os.path.isabs(audio)]
    missing = [audio for audio, path in relative if not os.path.exists(path)]
    if not missing:
        return
    count = f"{len(missing)} of {len(relative)} relative paths lead to no file, the first is {missing[0]!r}"
    tries = f"neither {where} nor in --audio-root {audio_root}" if audio_root else f"not {where}"
    logger.warning("%s: %s: %s; give --audio-root DIR, the folder that they are relative to", name, count, tries)


def located(path: Path, listed: Sequence[str], audio_root: Path | None) -> list[str]:
    """Paths of the recordings of a list; a warning counts those that lead to no file."""
    found = [locate(audio, path, audio_root) for audio in listed]
    tell_missing(str(path), "beside the list", list(zip(listed, found, strict=True)), audio_root)
    return found


def _entries(path: Path) -> Iterator[tuple[str, dict[str, Any] | str]]:
    """(where it stands, entry or what is wrong with it) of a list."""
    kind = list_kind(path)
    if kind == ".jsonl":
        yield from ((f"{path}:{number}", entry) for number, entry in json_lines(path))
    elif kind == ".json":
        yield from _json_entries(path)
    elif kind in (".csv", ".tsv"):
        yield from _table_entries(CsvFile(path, (), delimiters=("," if kind == ".csv" else "\t",)))
    else:
        for number, line in enumerate(io.StringIO(decode(read_bytes(path), str(path)), newline=None), 1):
            if line.strip():
                yield f"{path}:{number}", _scp_entry(line) if kind == ".scp" else {"audio_path": line.strip()}


def _json_entries(path: Path) -> Iterator[tuple[str, dict[str, Any] | str]]:
    """Of an array of paths or objects, or of JSON lines, which some tools name `.json`."""
    text = decode(read_bytes(path), str(path))
    if not text.lstrip().startswith("["):
        yield from ((f"{path}:{number}", entry) for number, entry in json_lines(path))
        return
    try:
        items = parse_json(text)
    except (ValueError, RecursionError) as error:
        yield f"{path}:{getattr(error, 'lineno', 1)}", f"broken JSON ({error})"
        return
    for number, item in enumerate(items, 1):
        entry = {"audio_path": item} if isinstance(item, str) else item
        yield f"{path}: item {number}", entry if isinstance(entry, dict) else "not a path or an object"


def _table_entries(file: CsvFile) -> Iterator[tuple[str, dict[str, Any] | str]]:
    if not {"audio_path", "path"} & set(file.header):
        raise ManifestError([f"{file.path}:1: no column audio_path or path; the columns are {file.header}"])
    if twice := [name for name in ("uid", "audio_path", "path") if file.header.count(name) > 1]:
        raise ManifestError([f"{file.path}:1: column {twice[0]!r} more than once; the columns are {file.header}"])
    for position, cells in file:
        if len(cells) == len(file.header):
            yield str(position), dict(zip(file.header, cells, strict=True))
        else:
            yield str(position), f"has {len(cells)} cells, the header has {len(file.header)}"


def _scp_entry(line: str) -> dict[str, Any] | str:
    uid, *rest = line.split(None, 1)
    if not rest:
        return "no `uid path`"
    audio = rest[0].strip()
    if audio.endswith("|"):
        return f"{audio!r} is a command, and commands are not run; write its audio to a file and list that"
    if _ARCHIVE.search(audio):
        return f"{audio!r} lies in a Kaldi archive, which is not read; copy it to a file and list that"
    return {"uid": uid, "audio_path": audio}
