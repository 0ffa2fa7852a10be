"""TMHINT-QI: noisy and enhanced Mandarin sentences, ratings of quality. One list serves both splits."""

from urgentmos_jax.corpora.corpus import MIRROR, Corpus, Tree
from urgentmos_jax.corpora.downloads import HubFile
from urgentmos_jax.corpora.split import Split
from urgentmos_jax.manifests.tables import CsvFile

_COLUMNS = ("method", "snr", "noise", "quality_score", "file_name")


def read(tree: Tree, split: Split) -> None:
    """Reads the rows whose recording lies in the split's folder; recordings in neither folder are missing in train."""
    file = CsvFile(tree.find("raw_data.csv"), _COLUMNS)
    folders = {name: tree.find(name) for name in ("train", "test")}
    names = {name: {path.stem for path in folder.glob("*.wav")} for name, folder in folders.items()}
    other = "test" if split.name == "train" else "train"
    for position, row in split.table(file):
        name = row["file_name"]
        if name not in names[split.name] and (name in names[other] or split.name == "test"):
            split.dropped["recording in no folder" if name not in names[other] else f"recording in {other}/"] += 1
            continue
        rating = split.value(position, "mos_overall", row["quality_score"])
        if rating is None:
            continue
        _, mark, after = name.rpartition("TMHINT")
        if not mark:
            split.fault(position, f"file_name {name!r} has no sentence, TMHINT...")
            continue
        system = f"{row['method']}-SNR{row['snr']}-{row['noise']}"
        path, ratings = folders[split.name] / f"{name}.wav", {"mos_overall": [("", rating)]}
        split.add(position, name, path, system=system, reference=f"TMHINT{after}", ratings=ratings)


CORPUS = Corpus(
    name="tmhint-qi",
    holds="quality of noisy and enhanced Mandarin, ratings",
    protocol="quality",
    licence="MIT",
    size="16 kHz, train 11.4 h",
    home=f"https://huggingface.co/datasets/{MIRROR}",
    splits={"train": 12937, "test": 1978},
    read=read,
    downloads=(HubFile(MIRROR, "TMHINTQI.zip"),),
    top_folders=("TMHINTQI",),
)
