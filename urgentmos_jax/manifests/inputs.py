"""INPUT of a command (recording, folder, list, archive, table, or standard input) to recordings with a uid each."""

import os
import sys
import unicodedata
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from urgentmos_jax.audio.errors import audio_error
from urgentmos_jax.audio.recordings import Recording, Stored
from urgentmos_jax.manifests import archives, parquet
from urgentmos_jax.manifests.lists import find_recordings, list_kind, read_list, tell_missing
from urgentmos_jax.manifests.paths import locate
from urgentmos_jax.manifests.records import ManifestError
from urgentmos_jax.manifests.text import decode

Listed = str | Recording | Stored

# Files that are read from their start on, open at a time: those of both sides of pairs.
_MAX_OPEN = 2


def read_inputs(names: Sequence[str], audio_root: Path | None = None) -> list[tuple[str, Listed]]:
    """(uid, recording) of each recording that inputs stand for, in order; `Model.score` takes the latter.

    A recording is a path; or, within a list, an archive or a table, a `Recording` or `Stored`. Those of one name in
    several folders or archives have the folder or the archive in front of their uid.

    Raises:
        ManifestError: A list or standard input cannot be read, or a folder or an archive holds no recordings.
    """
    parts = [(name, expand(name, audio_root)) for name in names]
    first: dict[str, str] = {}
    several = set()  # Names of recordings with several paths.
    for _, part in parts:
        for uid, recording in part:
            if first.setdefault(uid, path := path_of(recording)) != path:
                several.add(uid)
    found: list[tuple[str, Listed]] = []
    stems: Counter[str] = Counter()
    if several:
        every = {path_of(recording) for _, part in parts for _, recording in part}
        stems.update(os.path.splitext(path)[0] for path in every)
    for name, part in parts:
        if several and (Path(name).is_dir() or name.lower().endswith(archives.SUFFIXES)):
            found += [(_longer(path_of(one), stems) if uid in several else uid, one) for uid, one in part]
        else:
            found += part
        part.clear()
    return found


def _longer(path: str, stems: Mapping[str, int]) -> str:
    """A uid that the path gives, without its suffix where that is enough."""
    stem = os.path.splitext(path)[0]
    return stem if stems[stem] == 1 else path


def path_of(recording: Listed) -> str:
    """Path of a recording, as rows have it."""
    return recording if isinstance(recording, str) else recording.path


def with_paths(inputs: Sequence[tuple[str, Listed]]) -> list[tuple[str, str]]:
    """(uid, path) of each of `read_inputs`; where it is such a pair, itself, since a list may have millions."""
    pairs = (one if isinstance(one[1], str) else (one[0], path_of(one[1])) for one in inputs)
    return list(pairs)  # type: ignore[arg-type]  # The second is looked at.


def stream(recordings: Iterable[Any]) -> Iterator[Any]:
    """Recordings with the content of those that are `Stored`, which are read as they are asked for; others as they are.

    Args:
        recordings: Of `read_inputs`, or anything else.
    """
    readers: dict[str, archives.ArchiveReader | parquet.TableReader] = {}
    try:
        for one in recordings:
            if not isinstance(one, Stored):
                yield one
                continue
            if one.container in readers:
                reader = readers.pop(one.container)
            else:
                is_table = one.container.lower().endswith(parquet.SUFFIXES)
                try:
                    reader = (parquet.TableReader if is_table else archives.ArchiveReader)(one.container)
                except (ManifestError, OSError) as error:  # It was there when it was listed.
                    yield Recording(one.path, audio_error("missing", one.path, f"it is no longer there: {error}"))
                    continue
            readers[one.container] = reader
            if len(readers) > _MAX_OPEN:
                readers.pop(next(iter(readers))).close()
            yield reader.recording(one)
    finally:
        for reader in readers.values():
            reader.close()


def expand(name: str, audio_root: Path | None) -> list[tuple[str, Listed]]:
    """(uid, recording) of each that one input stands for; "-" is standard input, a path a line.

    Raises:
        ManifestError: As `read_inputs`.
    """
    path = Path(name)
    if name == "-":
        # Names of files need not be UTF-8.
        text = decode(sys.stdin.buffer.read(), "-", errors="surrogateescape")
        lines = [line.strip() for line in text.split("\n") if line.strip()]
        if not lines:
            raise ManifestError(["-: no paths on standard input"])
        paths = [locate(line, "", audio_root) for line in lines]
        tell_missing("standard input", "in the working folder", list(zip(lines, paths, strict=True)), audio_root)
        return list(zip(lines, paths, strict=True))
    if path.is_dir():
        # As `rank` names them: one name may be spelt with composed or with decomposed letters.
        return [
            (unicodedata.normalize("NFC", str(found.relative_to(path).with_suffix(""))), str(found))
            for found in find_recordings(path)
        ]
    if name.lower().endswith(archives.SUFFIXES):
        return [*archives.list_archive(path)]
    if name.lower().endswith(parquet.SUFFIXES):
        return [*parquet.list_table(path, audio_root)]
    return [*read_list(path, audio_root)] if list_kind(path) else [(name, name)]
