"""SOMOS: English neural speech synthesis, ratings of naturalness; the lists of screened ratings (`clean`)."""

from urgentmos_jax.corpora.corpus import Corpus, Tree
from urgentmos_jax.corpora.downloads import Archive
from urgentmos_jax.corpora.split import Split
from urgentmos_jax.manifests.tables import CsvFile

_LISTS = {"train": "TRAINSET", "dev": "VALIDSET", "test": "TESTSET"}


def read(tree: Tree, split: Split) -> None:
    """Reads a split."""
    path = tree.find(f"training_files/split1/clean/{_LISTS[split.name]}")
    for position, row in split.table(CsvFile(path, ["systemId", "utteranceId", "choice", "listenerId"])):
        rating = split.value(position, "mos_overall", row["choice"])
        if rating is None:
            continue
        system, name = row["systemId"], row["utteranceId"]
        reference, underscore, _ = name.rpartition("_")
        if not system or not underscore:
            split.fault(position, f"{system!r}, {name!r}: give a systemId and an utteranceId TEXT_SYSTEM.wav")
            continue
        ratings = {"mos_overall": [(row["listenerId"], rating)]}
        split.add(position, name, tree.audio(f"audios/{name}"), system=system, reference=reference, ratings=ratings)


CORPUS = Corpus(
    name="somos",
    holds="naturalness of English TTS, ratings",
    protocol="naturalness",
    licence="CC BY-NC-SA 4.0",
    size="24 kHz, train 18.3 h",
    home="https://zenodo.org/records/7378801",
    splits={"train": 14100, "dev": 3000, "test": 3000},
    read=read,
    downloads=(Archive.zenodo(7378801, "somos.zip", nested=("audios.zip",)),),
    top_folders=("somos",),
)
