"""NISQA: simulated, live and lab recordings of speech transmission; mean opinion scores of quality and four dimensions.

Conditions are numbered from 1 in each of its parts, so `system_id` includes the part's name. The `uid` is the
authors': `<condition>:<name>`, and for recordings whose name begins with `book` `<rest of the name>:<reference>`.
"""

from pathlib import PurePosixPath
from typing import Any

from urgentmos_jax.corpora.corpus import Corpus, Tree
from urgentmos_jax.corpora.downloads import Archive
from urgentmos_jax.corpora.split import Split, make_uid
from urgentmos_jax.manifests.tables import CsvFile, Position, is_blank, number

_PARTS = {"train": ("TRAIN_SIM", "TRAIN_LIVE"), "dev": ("VAL_SIM", "VAL_LIVE")}
_ASPECTS = {"noisiness": "noi", "coloration": "col", "discontinuity": "dis", "loudness": "loud"}
_LABELS = {"mos_overall": "mos"} | {f"mos_{name}": column for name, column in _ASPECTS.items()}
_NEEDED = ("con", "filename_deg", "filename_ref", "mos")


def read(tree: Tree, split: Split) -> None:
    """Reads a split, of one or two parts."""
    for part in _PARTS.get(split.name, (f"TEST_{split.name}",)):
        folder = f"NISQA_{part}"
        for position, row in split.table(CsvFile(tree.find(f"{folder}/{folder}_file.csv"), _NEEDED)):
            condition = number(row["con"])
            if condition is None or condition != int(condition):
                split.fault(position, f"con {row['con']!r} is not a condition number")
                continue
            cells = {metric: row[column] for metric, column in _LABELS.items() if column in row}
            values = {metric: split.value(position, metric, cell) for metric, cell in cells.items()}
            labels = {metric: value for metric, value in values.items() if value is not None}
            if not labels:
                split.dropped["no rating"] += 1
                continue
            ids, name = _ids(split, part, str(int(condition)), row), row["filename_deg"]
            meta = _meta(split, position, row)
            split.add(position, name, tree.audio(f"{folder}/deg/{name}"), **ids, labels=labels, meta=meta)


def _ids(split: Split, part: str, condition: str, row: dict[str, str]) -> dict[str, Any]:
    degraded, clean = (PurePosixPath(row[name]).stem for name in ("filename_deg", "filename_ref"))
    if part.startswith("TEST"):
        reference = degraded.partition("_")[2]
        return {"uid": make_uid(condition, reference), "system": f"{part}-{condition}", "reference": reference}
    if degraded.startswith("book"):
        rest = degraded.removeprefix(clean)
        if clean and rest != degraded and len(rest) > 1:
            return {"uid": make_uid(rest[1:], clean), "system": f"{part}-{rest[1:]}", "reference": clean}
        split.notes["names that begin with book, but not with their reference"] += 1
    # No other recording says the same, so there is no reference to share.
    return {"uid": make_uid(condition, degraded), "system": f"{part}-{condition}"}


def _meta(split: Split, position: Position, row: dict[str, str]) -> dict[str, float]:
    meta = {}
    columns = {f"{metric}_std": f"{column}_std" for metric, column in _LABELS.items()} | {"mos_overall_votes": "votes"}
    for key, column in columns.items():
        if is_blank(row.get(column, "")):
            continue
        value = number(row[column])
        if value is None or value < 0:
            split.fault(position, f"{column} {row[column]!r} is not a number of 0 or more")
        else:
            meta[key] = value
    return meta


CORPUS = Corpus(
    name="nisqa",
    holds="quality, noisiness, coloration, discontinuity, loudness of transmitted speech, means",
    protocol="quality",
    licence="mixed, see the archive",
    size="48 kHz, train 27.2 h",
    home="https://github.com/gabrielmittag/NISQA/wiki/NISQA-Corpus",
    splits={"train": 11020, "dev": 2700, "LIVETALK": 232, "FOR": 240, "P501": 240},
    read=read,
    downloads=(
        Archive(
            addresses=(
                "https://depositonce.tu-berlin.de/bitstream/11303/13012.5/9/NISQA_Corpus.zip",
                "https://zenodo.org/records/4728081/files/NISQA_Corpus.zip",
            ),
            name="NISQA_Corpus.zip",
        ),
    ),
    top_folders=("NISQA_Corpus",),
)
