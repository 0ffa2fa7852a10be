"""CHiME-7 UDASE listening test: noisy conversations and their enhanced versions, rated by ITU-T P.835.

The list has a row for each of the three scales of a recording: `mos_overall`, `mos_signal`, `mos_background`. The
authors' manifests average all three as `mos_overall`; here it is the overall scale alone.
"""

from pathlib import PurePosixPath

from urgentmos_jax.corpora.corpus import Corpus, Tree
from urgentmos_jax.corpora.downloads import Archive
from urgentmos_jax.corpora.split import Split
from urgentmos_jax.manifests.tables import CsvFile, split_cell

_SCALES = {"OVRL": "mos_overall", "SIG": "mos_signal", "BAK": "mos_background"}
_COLUMNS = ("condition", "sample", "scale", "rating_list")


def read(tree: Tree, split: Split) -> None:
    """Reads the one split."""
    file = CsvFile(tree.find("listening_test/MOS_results_listening_test.csv"), _COLUMNS)
    for position, row in split.table(file):
        condition, sample = row["condition"], row["sample"]
        if condition.lower() == "ref":
            split.dropped["clean references"] += 1
            continue
        metric = _SCALES.get(row["scale"].upper())
        if metric is None:
            split.fault(position, f"scale {row['scale']!r} must be one of {', '.join(_SCALES)}")
            continue
        texts = split_cell(row["rating_list"])
        if not texts:
            split.dropped["no rating"] += 1
            continue
        found = [split.value(position, metric, text) for text in texts]
        ratings = {metric: [("", rating) for rating in found if rating is not None]}
        path, stem = tree.audio(f"listening_test/data/{condition}/{sample}"), PurePosixPath(sample).stem
        split.add(position, f"{condition}/{sample}", path, system=condition, reference=stem, ratings=ratings)


CORPUS = Corpus(
    name="chime-7-udase-eval",
    holds="P.835 (overall, signal, background) of noisy and enhanced conversations, ratings",
    protocol="quality",
    licence="CC BY-SA 4.0",
    size="16 kHz, 0.84 h",
    home="https://zenodo.org/records/10418311",
    splits={"test": 640},
    read=read,
    downloads=(Archive.zenodo(10418311, "CHiME-7-UDASE-evaluation-data.zip", md5="37b97f9f4ba95152725548fa2a1893ac"),),
    top_folders=("CHiME-7-UDASE-evaluation-data",),
)
