"""TTSDS2: recent speech synthesis in many domains, ratings (rows with the rating type `mos`)."""

from pathlib import PurePosixPath

from urgentmos_jax.corpora.corpus import MIRROR, Corpus, Tree
from urgentmos_jax.corpora.downloads import HubFile
from urgentmos_jax.corpora.split import Split
from urgentmos_jax.manifests.tables import CsvFile

_COLUMNS = ("audio", "dataset", "system", "rating_type", "value", "annotator")


def read(tree: Tree, split: Split) -> None:
    """Reads the one split."""
    for position, row in split.table(CsvFile(tree.find("subjective_results.csv"), _COLUMNS)):
        if row["rating_type"] != "mos":
            split.dropped[f"rating type {row['rating_type']}"] += 1
            continue
        rating = split.value(position, "mos_overall", row["value"])
        if rating is None:
            continue
        audio, system = row["audio"], f"{row['dataset']}-{row['system']}"
        reference = PurePosixPath(audio).name.removesuffix(".wav")
        ratings = {"mos_overall": [(row["annotator"], rating)]}
        split.add(position, audio, tree.audio(audio), system=system, reference=reference, ratings=ratings)


CORPUS = Corpus(
    name="ttsds2",
    holds="quality of recent TTS, ratings",
    protocol="naturalness",
    licence="MIT",
    size="22 kHz, 0.96 h",
    home="https://huggingface.co/datasets/ttsds/listening_test",
    splits={"train": 460},
    read=read,
    downloads=(HubFile(MIRROR, "ttsds2.zip"),),
    top_folders=("ttsds2",),
)
