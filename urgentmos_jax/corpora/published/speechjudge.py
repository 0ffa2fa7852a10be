"""SpeechJudge: naturalness preferences between two TTS outputs, Mandarin and English; recordings are embedded."""

from urgentmos_jax.corpora.corpus import Corpus, Tree
from urgentmos_jax.corpora.downloads import HubDataset
from urgentmos_jax.corpora.hub_tables import extract, hub_rows
from urgentmos_jax.corpora.split import Split, escape_id

_LABELS = {"A": 1.0, "B": -1.0, "Tie": 0.0}
_HOME = "https://huggingface.co/datasets/RMSnow/SpeechJudge-Data"


def read(tree: Tree, split: Split) -> None:
    """Reads a split and writes its recordings to `audio/`."""
    columns = ["index", "audioA", "audioB", "naturalness_label"]
    for position, row in hub_rows(tree.root, split.name, columns, audio=("audioA", "audioB")):
        split.read += 1
        if row["naturalness_label"] not in _LABELS:
            split.dropped[f"label {row['naturalness_label']!r}"] += 1
            continue
        # Splits may number their rows alike; ids must differ.
        stem = f"{split.name}-{escape_id(str(row['index']))}"
        paths = [extract(row[f"audio{side}"], tree.extracted, f"{row['index']}_{side.lower()}") for side in "AB"]
        label = _LABELS[row["naturalness_label"]]
        split.add_pair(position, (f"{stem}_a", f"{stem}_b"), paths, label, {"index": row["index"]})


CORPUS = Corpus(
    name="speechjudge",
    holds="naturalness preferences between TTS systems, Mandarin and English",
    protocol="preference",
    licence="CC BY-NC 4.0",
    size="99 thousand pairs in all",
    home=_HOME,
    splits={"train": None, "dev": None, "test": None, "other": None},
    read=read,
    downloads=(HubDataset("RMSnow/SpeechJudge-Data", gated=True),),
    by_hand=f"accept the terms at {_HOME}, create a token there, run `hf auth login`, then prepare with --download",
    pairs=True,
)
