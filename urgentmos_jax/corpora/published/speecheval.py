"""SpeechEval: preferences between two recordings, four languages (the task CompareEval).

The preferences come from SpeechEval-Preference; which recordings they compare, from SpeechEval.
"""

import json
from pathlib import Path
from typing import Any

from urgentmos_jax.corpora.corpus import Corpus, Tree
from urgentmos_jax.corpora.downloads import HubDataset
from urgentmos_jax.corpora.hub_tables import hub_rows
from urgentmos_jax.corpora.split import Split, escape_id
from urgentmos_jax.manifests.lines import json_lines
from urgentmos_jax.manifests.tables import Position

_LISTS = {"train": "train", "dev": "validation", "test": "test"}
_LABELS = {"A": 1.0, "B": -1.0, "tie": 0.0}


def read(tree: Tree, split: Split) -> None:
    """Reads a split; the rows are those of the hub dataset, in its order."""
    preferences = _preferences(tree.find(f"preference/{_LISTS[split.name]}.jsonl"), split)
    raw = tree.find("rawdata")
    left = dict(preferences)
    for position, row in hub_rows(raw, _LISTS[split.name], ["task", "key", "path", "path_B"]):
        split.read += 1
        if row["task"] != "CompareEval":
            split.dropped["other tasks"] += 1
            continue
        if row["key"] not in preferences:
            split.dropped["not in the list of preferences"] += 1
            continue
        left.pop(row["key"], None)
        _, preference = preferences[row["key"]]
        if preference not in _LABELS:
            split.dropped[f"preference {preference!r}"] += 1
            continue
        uids = escape_id(row["path"]), escape_id(row["path_B"])
        paths = [tree.audio(f"rawdata/{row[column]}") for column in ("path", "path_B")]
        split.add_pair(position, uids, paths, _LABELS[preference], {"key": row["key"]})
    if left:
        split.notes["preferences without a row in SpeechEval"] += len(left)


def _preferences(path: Path, split: Split) -> dict[Any, tuple[Position, Any]]:
    found: dict[Any, tuple[Position, Any]] = {}
    for line, entry in json_lines(path):
        position = Position(str(path), line)
        if isinstance(entry, str) or not {"key", "preference"} <= entry.keys():
            split.fault(position, entry if isinstance(entry, str) else "give a key and a preference")
        elif entry["key"] in found:
            first = found[entry["key"]][0].line
            split.fault(position, f"key {json.dumps(entry['key'])} is already used on line {first}")
        else:
            found[entry["key"]] = position, entry["preference"]
    return found


CORPUS = Corpus(
    name="speecheval",
    holds="preferences between recordings, four languages",
    protocol="preference",
    licence="unknown",
    size="hours and rate unknown",
    home="https://huggingface.co/datasets/Hui519/SpeechEval",
    splits={"train": None, "dev": None, "test": None},
    read=read,
    downloads=(
        HubDataset("Hui519/SpeechEval", into="rawdata"),
        HubDataset("vvwangvv/SpeechEval-Preference", into="preference"),
    ),
    pairs=True,
)
