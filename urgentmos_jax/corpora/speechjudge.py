"""SpeechJudge: preferences of naturalness between two syntheses, Mandarin and English; recordings are embedded."""

from urgentmos_jax.corpora.corpus import Corpus, Tree
from urgentmos_jax.corpora.downloads import HubDataset
from urgentmos_jax.corpora.hub_tables import extract, hub_rows
from urgentmos_jax.corpora.split import Split

_LABELS = {"A": 1.0, "B": -1.0, "Tie": 0.0}


def read(tree: Tree, split: Split) -> None:
    """Reads a split and writes its recordings to `audio/`."""
    columns = ["index", "audioA", "audioB", "naturalness_label"]
    for place, row in hub_rows(tree.root, split.name, columns, audio=("audioA", "audioB")):
        split.read += 1
        if row["naturalness_label"] not in _LABELS:
            split.dropped[f"label {row['naturalness_label']!r}"] += 1
            continue
        names = (f"{row['index']}_a", f"{row['index']}_b")
        paths = [extract(row[f"audio{side}"], tree.extracted, name) for side, name in zip("AB", names, strict=True)]
        split.add_pair(place, names, paths, _LABELS[row["naturalness_label"]], {"index": row["index"]})


CORPUS = Corpus(
    name="speechjudge",
    holds="preferences of naturalness between TTS, Mandarin and English",
    protocol="preference",
    licence="CC BY-NC 4.0",
    size="99 thousand pairs in all",
    home="https://huggingface.co/datasets/RMSnow/SpeechJudge-Data",
    splits={"train": None, "dev": None, "test": None, "other": None},
    read=read,
    downloads=(HubDataset("RMSnow/SpeechJudge-Data", gated=True),),
    pairs=True,
)
