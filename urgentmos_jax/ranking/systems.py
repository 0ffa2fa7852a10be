"""Recordings by system and reference, of folders or of a manifest; who is compared with whom."""

import logging
import math
import os
import unicodedata
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Unpack

import numpy as np

from urgentmos_jax.manifests.lists import find_recordings
from urgentmos_jax.manifests.pairs import sample_pairs
from urgentmos_jax.manifests.reading import ReadOptions, scan_utterances
from urgentmos_jax.manifests.records import ManifestError, Utterance

logger = logging.getLogger(__name__)


def read_systems(
    sources: Sequence[Path], *, systems_needed: bool = True, **options: Unpack[ReadOptions]
) -> list[Utterance]:
    """Recordings of systems: of folders, one a system, or of one manifest of utterances.

    Raises:
        ManifestError: As `systems_of_folders` and `systems_of_manifest`, or sources are neither.
    """
    if all(source.is_dir() for source in sources):
        found = {source: find_recordings(source) for source in sources}
        if len(found) == 1:
            _tell_of_folders_within(*next(iter(found.items())))
        return systems_of_folders(found)
    if len(sources) == 1 and sources[0].suffix == ".jsonl":
        return systems_of_manifest(sources[0], systems_needed=systems_needed, **options)
    other = next(source for source in sources if not source.is_dir())
    what = "not a folder" if other.exists() else "no such folder"
    raise ManifestError([f"{other}: {what}; give a folder for each system, or one manifest that ends in .jsonl"])


def _tell_of_folders_within(folder: Path, paths: Sequence[Path]) -> None:
    within = {path.relative_to(folder).parts[0] for path in paths if path.parent != folder}
    if len(within) > 1:
        text = "%s: taken as one system; if the %d folders in it are systems, give each of them: %s"
        logger.warning(text, folder, len(within), folder / "*")


def systems_of_folders(folders: Mapping[Path, Sequence[Path]]) -> list[Utterance]:
    """Recordings of systems, {folder of a system: its recordings}, in order.

    The system is the name of the folder, the reference the relative name without suffix, the uid both. Durations are
    not known, NaN.

    Raises:
        ManifestError: Two folders of the same name, or two recordings that differ in their suffix alone.
    """
    faults: list[str] = []
    found: dict[str, Utterance] = {}
    named: dict[str, Path] = {}
    for folder, paths in folders.items():
        name = folder.resolve().name
        if (other := named.setdefault(name, folder)) != folder:
            text = f"two systems named {name!r}; rename a folder, or list both in a manifest"
            faults.append(f"{other} and {folder}: {text}")
            continue
        for path in paths:
            # One name may be spelt with composed or with decomposed letters.
            reference = unicodedata.normalize("NFC", path.relative_to(folder).with_suffix("").as_posix())
            uid = f"{name}/{reference}"
            one = found.setdefault(uid, Utterance(uid, str(path), math.nan, name, reference))
            if one.audio_path != str(path):
                faults.append(f"{one.audio_path} and {path}: of the same name; leave one of them")
    if faults:
        raise ManifestError(faults)
    return list(found.values())


def systems_of_manifest(
    path: str | os.PathLike, *, systems_needed: bool = True, **options: Unpack[ReadOptions]
) -> list[Utterance]:
    """Recordings of a manifest of utterances; see `read_utterances`.

    Raises:
        ManifestError: With every fault; a line without `system_id` is one if `systems_needed`.
    """
    scan = scan_utterances(path, **options)
    wanted = "no system_id, give the name of the system that made the recording"
    unnamed = [number for number, recording in scan.records if systems_needed and recording.system_id is None]
    faults = [f"{os.fspath(path)}:{number}: {wanted}" for number in unnamed]
    if faults or scan.faults:
        raise ManifestError([*scan.faults, *faults])
    return [recording for _, recording in scan.records]


def shared_pairs(recordings: Sequence[Utterance], max_pairs: int, seed: int = 0) -> np.ndarray:
    """[P, 2] numbers of recordings with the same reference, of different systems, ordered by reference.

    Of more than `max_pairs`, so many are sampled as `manifests.pairs` does: each reference and each recording as often
    as the others.
    """
    groups = [np.array(group) for group in _by_reference(recordings).values() if len(group) > 1]
    pairs = sample_pairs(groups, max_pairs, seed)
    numbers: dict[str | None, int] = {}
    systems = np.array([numbers.setdefault(one.system_id, len(numbers)) for one in recordings], np.int64)
    pairs = pairs[systems[pairs[:, 0]] != systems[pairs[:, 1]]]
    group_of = np.zeros(len(recordings), np.int64)
    for number, group in enumerate(groups):
        group_of[group] = number
    return pairs[np.argsort(group_of[pairs[:, 0]], kind="stable")]


def possible_pairs(recordings: Sequence[Utterance]) -> int:
    """How many pairs of recordings share a reference and are of different systems."""
    total = 0
    for group in _by_reference(recordings).values():
        alike = Counter(recordings[number].system_id for number in group)
        total += (len(group) ** 2 - sum(count**2 for count in alike.values())) // 2
    return total


def _by_reference(recordings: Sequence[Utterance]) -> dict[str, list[int]]:
    groups: dict[str, list[int]] = {}
    for number, recording in enumerate(recordings):
        if recording.reference_id is not None:
            groups.setdefault(recording.reference_id, []).append(number)
    return groups
