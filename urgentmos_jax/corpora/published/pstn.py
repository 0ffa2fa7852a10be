"""PSTN: calls over the telephone network, mean opinion scores of quality (P.808).

What produced a recording is unknown, so there are no systems.
"""

from pathlib import PurePosixPath

from urgentmos_jax.corpora.corpus import Corpus, Tree
from urgentmos_jax.corpora.downloads import Archive
from urgentmos_jax.corpora.split import Split, make_uid
from urgentmos_jax.manifests.tables import CsvFile


def read(tree: Tree, split: Split) -> None:
    """Reads the one split."""
    path = tree.find("pstn_train.csv")
    for position, row in split.table(CsvFile(path, ["filename", "MOS", "std"])):
        label = split.value(position, "mos_overall", row["MOS"])
        if label is None:
            continue
        std = split.value(position, "std", row["std"]) if row["std"] else None
        name = PurePosixPath(row["filename"]).stem.split("_")[0]
        labels, meta = {"mos_overall": label}, {} if std is None else {"mos_overall_std": std}
        audio = row["filename"]
        split.add(position, audio, tree.audio(audio), uid=make_uid(name, name), labels=labels, meta=meta)


CORPUS = Corpus(
    name="pstn",
    holds="P.808 quality of telephone calls, means",
    protocol="quality",
    licence="unknown",
    size="8 kHz, 163 h",
    home="https://challenge.blob.core.windows.net/pstn/train.zip",
    splits={"train": 58709},
    read=read,
    downloads=(Archive(addresses=("https://challenge.blob.core.windows.net/pstn/train.zip",), name="train.zip"),),
    top_folders=("pstn_train",),
)
