"""A folder of your own in the layout of the authors' preparation: any of `data/{train,dev,test}.csv`.

Columns `wav_path`, `system_id`, `reference_id`; then `dimension` (the metric), `score` and optionally `listener_id` and
`score_std`; or one column a metric; or both.
"""

from functools import partial
from pathlib import Path

from urgentmos_jax.corpora.corpus import Corpus, Tree
from urgentmos_jax.corpora.split import Split
from urgentmos_jax.manifests.paths import locate
from urgentmos_jax.manifests.records import ManifestError
from urgentmos_jax.manifests.tables import CsvFile, is_blank
from urgentmos_jax.metrics import CATALOGUE

_SPLITS = ("train", "dev", "test")
_LONG = ("dimension", "score")


def corpus_of_folder(folder: Path, *, audio_root: Path | None = None) -> Corpus:
    """The corpus in a folder; audio paths are relative to the folder, else to `audio_root`.

    Raises:
        ManifestError: None of the files exists.
    """
    found = {split: None for split in _SPLITS if (folder / "data" / f"{split}.csv").is_file()}
    if not found:
        listed = ", ".join(str(folder / "data" / f"{split}.csv") for split in _SPLITS)
        raise ManifestError([f"{folder}: none of {listed} exists; add one, or give a table and name its columns"])
    return Corpus(
        name=folder.resolve().name,
        holds="your own ratings",
        protocol="unknown",
        licence="unknown",
        size="",
        home=str(folder),
        splits=found,
        read=partial(_read, audio_root=audio_root),
    )


def _read(tree: Tree, split: Split, *, audio_root: Path | None) -> None:
    file = CsvFile(tree.find(f"data/{split.name}.csv"), ["wav_path", "system_id", "reference_id"])
    header = file.header
    metrics = [name for name in header if name in CATALOGUE]
    long = all(name in header for name in _LONG)
    if not long and not metrics:
        wanted = "dimension and score, or columns named as metrics"
        raise ManifestError([f"{file.path}:1: no columns of labels ({wanted}); the columns are {header}"])
    for position, row in split.table(file):
        ratings, meta = {}, {}
        if long and not is_blank(row["score"]):
            dimension = row["dimension"] or "mos_overall"
            score = split.value(position, dimension, row["score"])
            ratings = {} if score is None else {dimension: [(row.get("listener_id", ""), score)]}
            std = split.value(position, "score_std", row["score_std"]) if row.get("score_std") else None
            meta = {} if std is None else {f"{dimension}_std": std}
        values = {name: split.value(position, name, row[name]) for name in metrics}
        labels = {name: value for name, value in values.items() if value is not None}
        if not ratings and not labels:
            split.dropped["no rating"] += 1
            continue
        audio, path = row["wav_path"], locate(row["wav_path"], tree.root / "data.csv", audio_root)
        ids = {"system": row["system_id"] or None, "reference": row["reference_id"] or None}
        split.add(position, audio, path, **ids, ratings=ratings, labels=labels, meta=meta)
