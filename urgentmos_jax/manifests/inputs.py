"""INPUT of a command: recordings, folders, lists and standard input, to recordings with a uid each."""

import os
import sys
import unicodedata
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from urgentmos_jax.manifests.lists import find_recordings, list_kind, read_list, tell_missing
from urgentmos_jax.manifests.paths import locate
from urgentmos_jax.manifests.records import ManifestError
from urgentmos_jax.manifests.text import decode


def read_inputs(names: Sequence[str], audio_root: Path | None) -> list[tuple[str, str]]:
    """(uid, path) of each recording that inputs stand for, in order.

    Recordings of one name in several folders have the folder in front of their uid.

    Raises:
        ManifestError: A list or standard input cannot be read, or a folder holds no recordings.
    """
    inputs = [(name, *item) for name in names for item in expand(name, audio_root)]
    paths: dict[str, set[str]] = {}
    for _, uid, path in inputs:
        paths.setdefault(uid, set()).add(path)
    stems = Counter(os.path.splitext(path)[0] for path in {path for _, _, path in inputs})
    found = []
    for name, uid, path in inputs:
        if len(paths[uid]) > 1 and Path(name).is_dir():
            stem = os.path.splitext(path)[0]
            uid = stem if stems[stem] == 1 else path
        found.append((uid, path))
    return found


def expand(name: str, audio_root: Path | None) -> list[tuple[str, str]]:
    """(uid, path) of each recording that one input stands for; "-" is standard input, a path a line.

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
        found = [(line, locate(line, "", audio_root)) for line in lines]
        tell_missing("standard input", "in the working folder", found, audio_root)
        return found
    if path.is_dir():
        # As `rank` names them: one name may be spelt with composed or with decomposed letters.
        return [
            (unicodedata.normalize("NFC", str(found.relative_to(path).with_suffix(""))), str(found))
            for found in find_recordings(path)
        ]
    return read_list(path, audio_root) if list_kind(path) else [(name, name)]
