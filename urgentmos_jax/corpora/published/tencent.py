"""Tencent: Mandarin calls with and without reverberation, mean opinion scores (P.808); its systems are unknown."""

from urgentmos_jax.corpora.corpus import MIRROR, Corpus, Tree
from urgentmos_jax.corpora.downloads import HubFile
from urgentmos_jax.corpora.split import Split, make_uid
from urgentmos_jax.manifests.tables import CsvFile

_LISTS = ("withoutReverberationTrainDevMOS.csv", "withReverberationTrainDevMOS.csv")


def read(tree: Tree, split: Split) -> None:
    """Reads the one split, of two lists."""
    for name in _LISTS:
        for position, row in split.table(CsvFile(tree.find(name), ["deg_wav", "mos"])):
            label = split.value(position, "mos_overall", row["mos"])
            if label is None:
                continue
            audio = row["deg_wav"].removeprefix("./")
            key = audio.removesuffix(".wav").replace("/", "_")
            labels = {"mos_overall": label}
            split.add(position, audio, tree.audio(audio), uid=make_uid(key, key), labels=labels)


CORPUS = Corpus(
    name="tencent",
    holds="P.808 quality of Mandarin calls, means",
    protocol="quality",
    licence="Apache 2.0",
    size="16 kHz, 23.5 h",
    home=f"https://huggingface.co/datasets/{MIRROR}",
    splits={"train": 11563},
    read=read,
    downloads=(HubFile(MIRROR, "TencentCorpus.zip"),),
    top_folders=("TencentCorups", "TencentCorpus"),  # The archive spells it the first way.
)
