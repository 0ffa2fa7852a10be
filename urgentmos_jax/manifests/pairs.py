"""Pairs of the recordings of manifests, sampled so that every recording and every reference has its share."""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np

from urgentmos_jax.files import file_hash, json_beside
from urgentmos_jax.manifests.paths import written_path
from urgentmos_jax.manifests.reading import read_utterances
from urgentmos_jax.manifests.records import LABEL_DECIMALS, ManifestError, Pair, Utterance
from urgentmos_jax.manifests.writing import write_pairs
from urgentmos_jax.version import __version__

Scope = Literal["reference", "corpus", "any"]


def make_pairs(
    sources: Sequence[Path],
    output: Path,
    *,
    scope: Scope,
    limit: int,
    seed: int = 0,
    both_orders: bool = False,
    metrics: Sequence[str] = ("mos_overall",),
    audio_root: Path | None = None,
    allow_outside: bool = False,
) -> dict[str, Any]:
    """Writes a manifest of pairs, and `<output>.meta.json` with how they were sampled.

    The same seed gives the same file, whatever the order of lines in the sources.

    Args:
        sources: Manifests of utterances.
        output: The manifest of pairs.
        scope: Whom a recording may meet: "reference": who says the same in the same manifest; "corpus": all of its
            manifest; "any": all.
        limit: Maximum number of lines.
        seed: Of the sample, and of the coin that says who comes first.
        both_orders: Whether each pair is written as (A, B) and (B, A).
        metrics: Labels, the difference A - B; recordings that lack one are left out.
        audio_root: See `reading.read_utterances`.
        allow_outside: See `reading.read_utterances`.

    Returns:
        What the second file holds.

    Raises:
        ManifestError: Faults of the sources, an id that two of them have, or no pair at all.
    """
    utterances, groups, left_out = _read(sources, scope, metrics, audio_root, allow_outside)
    sampled = sample_pairs(groups, limit // 2 if both_orders else limit, seed)
    if not len(sampled):
        raise ManifestError([_why_none(sources, utterances, scope, metrics, left_out)])
    if both_orders:
        sampled = np.concatenate([sampled, sampled[:, ::-1]])
    folder = os.path.realpath(output.parent)
    paths = [written_path(os.path.abspath(utterance.audio_path), folder) for utterance in utterances]
    report = {
        "tool_version": __version__,
        "scope": scope,
        "limit": limit,
        "seed": seed,
        "both_orders": both_orders,
        "metrics": list(metrics),
        "sources": {str(path): file_hash(path) for path in sources},
        "pairs": len(sampled),
        "possible": sum(len(group) * (len(group) - 1) // 2 for group in groups) * (2 if both_orders else 1),
        "recordings": len(np.unique(sampled)),
        "left_out_without_label": left_out,
        "left_out_alone": len(utterances) - sum(map(len, groups)),
    }
    output.parent.mkdir(parents=True, exist_ok=True)
    with json_beside(f"{output}.meta.json", report):
        write_pairs(output, (_pair(utterances, paths, a, b, scope, metrics) for a, b in sampled.tolist()))
    return report


def sample_pairs(groups: Sequence[np.ndarray], limit: int, seed: int) -> np.ndarray:
    """Samples different pairs within groups, without an order that prefers any.

    Within a group the members stand in a circle, and a round pairs each with the one some places on; rounds follow in
    random order of that distance. So each member is in two pairs of a round (in one where the two are opposite), and
    all rounds together are all pairs. Groups take their rounds together, and of the last round each group gets its
    first pair before any its second: members, and groups, differ by no more than one round.

    Args:
        groups: Numbers of the members of each, two or more.
        limit: Maximum number of pairs.
        seed: Of the sample.

    Returns:
        [pairs, 2], in each the order of a fair coin.
    """
    random = np.random.default_rng(seed)
    circles = [random.permutation(group) for group in groups]
    distances = [random.permutation(np.arange(1, len(group) // 2 + 1)) for group in groups]
    sampled, count = [np.zeros((0, 2), np.int64)], 0
    for number in range(max(map(len, distances), default=0)):
        if count >= limit:
            break
        found = [
            _round(circle, distance[number], random)
            for circle, distance in zip(circles, distances, strict=True)
            if number < len(distance)
        ]
        ranks = np.concatenate([np.arange(len(pairs)) for pairs in found])
        pairs = np.concatenate(found)
        if count + len(pairs) > limit:
            pairs = pairs[np.lexsort((random.random(len(pairs)), ranks))][: limit - count]
        sampled.append(pairs)
        count += len(pairs)
    pairs = np.concatenate(sampled)
    swapped = random.random(len(pairs)) < 0.5
    return np.where(swapped[:, None], pairs[:, ::-1], pairs)


def _round(circle: np.ndarray, distance: int, random: np.random.Generator) -> np.ndarray:
    pairs = np.stack([circle, np.roll(circle, -distance)], 1)
    if 2 * distance == len(circle):  # Opposite each other: the second half is the first.
        pairs = pairs[:distance]
    return pairs[random.permutation(len(pairs))]


def _read(
    sources: Sequence[Path], scope: Scope, metrics: Sequence[str], audio_root: Path | None, allow_outside: bool
) -> tuple[list[Utterance], list[np.ndarray], int]:
    """Labelled utterances, the groups whose members may meet, and how many have no label."""
    utterances: list[Utterance] = []
    members: dict[Any, list[int]] = {}
    faults: list[str] = []
    origins: dict[str, Path] = {}
    left_out = 0
    for path in sources:
        try:
            found, _ = read_utterances(path, audio_root=audio_root, allow_outside=allow_outside)
        except ManifestError as error:
            faults += error.faults
            continue
        for utterance in sorted(found, key=lambda utterance: utterance.uid):
            if (other := origins.setdefault(utterance.uid, path)) != path:
                faults.append(f"{path}: uid {utterance.uid!r} is in {other} too; its pairs would be ambiguous")
            if not all(name in utterance.metrics for name in metrics):
                left_out += 1
                continue
            key = {"reference": (path, utterance.reference_id), "corpus": path, "any": None}[scope]
            if scope != "reference" or utterance.reference_id is not None:
                members.setdefault(key, []).append(len(utterances))
            utterances.append(utterance)
    if faults:
        raise ManifestError(faults)
    return utterances, [np.array(group) for group in members.values() if len(group) > 1], left_out


def _pair(
    utterances: Sequence[Utterance], paths: Sequence[str], a: int, b: int, scope: Scope, metrics: Sequence[str]
) -> Pair:
    one, other = utterances[a], utterances[b]
    return Pair(
        (one.uid, other.uid),
        (paths[a], paths[b]),
        (one.duration, other.duration),
        {name: round(one.metrics[name] - other.metrics[name], LABEL_DECIMALS) for name in metrics},
        {
            "system_ids": [one.system_id, other.system_id],
            "reference_ids": [one.reference_id, other.reference_id],
            "pairing_scope": scope,
        },
    )


def _why_none(
    sources: Sequence[Path], utterances: Sequence[Utterance], scope: Scope, metrics: Sequence[str], left_out: int
) -> str:
    listed = ", ".join(map(str, sources))
    if not utterances:
        return f"{listed}: no pairs, none of the {left_out} recordings has {', '.join(metrics)}; name other --metrics"
    if scope == "reference":
        return f"{listed}: no pairs, no two recordings share a reference_id; take --scope corpus"
    return f"{listed}: no pairs within --limit of {len(utterances)} labelled recordings"
