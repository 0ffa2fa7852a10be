"""What a run learns from, kept in its folder (`data.json`), so that it is not resumed on other data unnoticed.

Kept of each data set are a checksum of each clip (its duration, its labels and those of its given pairs; not its path,
since data may be moved) and one of the order of the clips and of their references.
"""

import hashlib
import json
import logging
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from urgentmos_jax.data.training_set import TrainingSet
from urgentmos_jax.files import write_text
from urgentmos_jax.training import topology
from urgentmos_jax.training.validation import ValidationSet

logger = logging.getLogger(__name__)

FILE = "data.json"
_SHOWN = 3

Record = dict[str, Any]


class DataChanged(ValueError):
    """The folder holds a run on other data; the message says what has changed."""


def check_same_data(
    workdir: Path, data: TrainingSet, validation: Sequence[ValidationSet], *, begun: bool, allow_changed: bool
) -> None:
    """Refuses to resume a run on data that has changed, and keeps what it has now. On every host.

    Other validation sets are told, and do not stop it: their config keys may change too.

    Args:
        workdir: The run's folder, local or remote. One of an earlier release holds no record, and is resumed.
        data: What is learnt from.
        validation: What is validated on.
        begun: Whether there is a checkpoint to resume from.
        allow_changed: Tell what has changed, and continue.

    Raises:
        DataChanged: naming the data sets, how many of their clips were removed, added or changed, and some of them.
    """

    def compare() -> list[str]:
        path, changed = workdir / FILE, []
        now: Record = {"train": _record(data), "valid": {}}
        for one in validation:
            now["valid"] |= _record(one.data)
        if begun and path.exists():
            try:
                before = json.loads(path.read_text())
                changed, told = (_changes(before[part], now[part]) for part in ("train", "valid"))
            except (ValueError, LookupError, TypeError, AttributeError) as error:
                changed, told = [f"{path} cannot be read ({error!r})"], []
            if told:
                logger.warning("validation sets have changed since this run began: %s", "; ".join(told))
        if allow_changed or not changed:
            write_text(path, json.dumps(now) + "\n")
        return changed

    changed = "; ".join(topology.broadcast_from_first(compare))
    if changed and not allow_changed:
        raise DataChanged(
            f"{workdir} holds a run on other data: {changed}. Set the manifests back, give another --workdir, or "
            f"resume on the data as it is now by --allow_changed_data"
        )
    if changed:
        logger.warning("resuming on other data, by --allow_changed_data: %s", changed)


def licences(root: Path, names: Sequence[str]) -> dict[str, str]:
    """{data set: licence} as `urgentmos prepare` wrote it into `report.json`; of those where one is known.

    Args:
        root: The data folder.
        names: `corpus/split` below it.
    """
    found = {}
    for name in names:
        try:
            licence = json.loads((root / name / "report.json").read_text())["licence"]
        except (OSError, ValueError, LookupError, TypeError):
            continue
        if isinstance(licence, str) and licence != "unknown":
            found[name] = licence
    return found


def _record(data: TrainingSet) -> Record:
    """{data set: {"order": hash, "clips": {uid: checksum}}}."""
    given: dict[int, bytes] = {}
    for (a, b), label in zip(data.pairs.tolist(), data.cmos, strict=True):
        given[a] = given.get(a, b"") + data.uids[b].encode() + label.tobytes()
    by_name: dict[str, list[int]] = {}
    for clip, uid in enumerate(data.uids):
        by_name.setdefault(uid.partition(":")[0], []).append(clip)
    found: Record = {}
    for name, clips in by_name.items():
        uids = [data.uids[clip].partition(":")[2] for clip in clips]
        # Numbers of references depend on the data sets before; where each is met first does not.
        references = data.references[clips]
        _, first, place = np.unique(references, return_index=True, return_inverse=True)
        order = json.dumps(uids).encode() + np.where(references < 0, -1, first[place]).tobytes()
        found[name] = {
            "order": hashlib.sha256(order).hexdigest()[:16],
            "clips": {
                uid: zlib.crc32(data.seconds[clip].tobytes() + data.labels[clip].tobytes() + given.get(clip, b""))
                for uid, clip in zip(uids, clips, strict=True)
            },
        }
    return found


def _changes(before: Record, now: Record) -> list[str]:
    """What has changed in each data set that is in both; which ones there are is the config's to say."""
    found = []
    for name in before.keys() & now.keys():
        old, new = before[name]["clips"], now[name]["clips"]
        kinds = {
            "removed": [uid for uid in old if uid not in new],
            "added": [uid for uid in new if uid not in old],
            "with other labels, pairs or duration": [uid for uid in new if uid in old and new[uid] != old[uid]],
        }
        texts = [f"{len(uids)} {kind} ({_some(uids)})" for kind, uids in kinds.items() if uids]
        if not texts and before[name]["order"] != now[name]["order"]:
            texts = ["clips in another order, or other reference ids"]
        if texts:
            found.append(f"{name}: {', '.join(texts)}")
    return sorted(found)


def _some(uids: Sequence[str]) -> str:
    return ", ".join(uids[:_SHOWN]) + (", ..." if len(uids) > _SHOWN else "")
