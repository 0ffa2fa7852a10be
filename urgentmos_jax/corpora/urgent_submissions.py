"""Submissions to the URGENT challenges: hub datasets with embedded recordings and ready-made metrics.

Shared by urgent2024-sqa and urgent2025-sqa. `uid` is the authors', `<system>:<sample_id>`. Where `sample_id` names the
submission, the number at its end identifies the reference within the hub's split.
"""

import re
from typing import Any

from urgentmos_jax.corpora.corpus import Tree
from urgentmos_jax.corpora.hub_tables import extract, hub_rows
from urgentmos_jax.corpora.split import Rating, Split, make_uid
from urgentmos_jax.manifests.tables import Position, number
from urgentmos_jax.metrics import CATALOGUE

_TOLERANCE = 0.01  # Published means are rounded.


def read_splits(tree: Tree, split: Split, *, hub_splits: dict[str, tuple[str, ...]]) -> None:
    """Reads the hub's `hub_splits[split.name]`; writes their recordings to `audio/<hub split>/<submission>/`."""
    firsts: dict[str, Position] = {}
    for hub_split in hub_splits[split.name]:
        columns = ["sample_id", "system_id", "audio"]
        for position, row in hub_rows(tree.root, hub_split, columns, audio=("audio",)):
            split.read += 1
            system, sample = str(row["system_id"] or ""), str(row["sample_id"] or "")
            submission, file = system.rpartition("_")[2], sample.rpartition("_")[2]
            if not submission or not file:
                split.fault(position, f"system_id {system!r}, sample_id {sample!r}: give both")
                continue
            uid = make_uid(system, sample)
            if (first := firsts.setdefault(uid, position)) is not position:
                split.fault(position, f"system_id {system!r}, sample_id {sample!r} are already used at {first}")
                continue
            ratings, labels, meta = _labels(split, position, row)
            if not ratings and not labels:
                split.dropped["no label"] += 1
                continue
            own = submission in re.split(r"[^0-9A-Za-z]+", sample)
            ids = {"uid": uid, "system": system, "reference": f"{hub_split}-{file}" if own else sample}
            path = extract(row["audio"], tree.extracted, hub_split, submission, file)
            split.add(position, sample, path, **ids, ratings=ratings, labels=labels, meta=meta)


def _labels(
    split: Split, position: Position, row: dict[str, Any]
) -> tuple[dict[str, list[Rating]], dict[str, float], dict[str, float]]:
    found = {name: number(str(row[name])) for name in CATALOGUE if row.get(name) is not None}
    labels = {name: value for name, value in found.items() if value is not None}
    split.blank.update(found.keys() - labels.keys())  # NaN: no speech was found, for example.
    given = [split.value(position, "mos_overall", str(rating)) for rating in row.get("raw_ratings") or ()]
    heard = [("", rating) for rating in given if rating is not None]
    mean = None if row.get("mos") is None else split.value(position, "mos_overall", str(row["mos"]))
    if not heard:
        return {}, labels | ({} if mean is None else {"mos_overall": mean}), {}
    if mean is not None and abs(mean - sum(rating for _, rating in heard) / len(heard)) > _TOLERANCE:
        split.notes["published mos is not the mean of its ratings; the mean is used"] += 1
        return {"mos_overall": heard}, labels, {"published_mos": mean}
    return {"mos_overall": heard}, labels, {}
