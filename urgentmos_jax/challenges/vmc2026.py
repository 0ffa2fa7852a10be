"""Track 1 of the URGENT challenge at VMC 2026: predictions of what listeners said of its recordings and pairs.

Each of its datasets (dev, test) has two parts, without labels: `acr`, a recording a row, to be scored; and `ccr`, two
recordings a row, to be compared. One file holds the predictions of both.
"""

import csv
import hashlib
import math
import re
import zipfile
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from urgentmos_jax.corpora.hub_tables import extract, hub_rows
from urgentmos_jax.corpora.split import Split
from urgentmos_jax.files import atomic_write, file_hash, progress, summarise_errors
from urgentmos_jax.manifests.paths import locate
from urgentmos_jax.manifests.records import ManifestError
from urgentmos_jax.manifests.tables import CsvFile, Position, number
from urgentmos_jax.scoring.rows import Order, Scored, failure

if TYPE_CHECKING:
    from urgentmos_jax.scoring.model import Model

METRIC = "mos_overall"
HEADER = ("sample_id", "pred_score")
DECIMALS = 4

_PLAIN = re.compile(rf"[-+]?\d+(\.\d{{1,{DECIMALS}}})?")


@dataclass(frozen=True)
class Part:
    """A part of the dataset: its name, its columns of recordings, the range of its predictions, and its rows in the
    published datasets."""

    name: str
    audio: tuple[str, ...]
    minimum: float
    maximum: float
    published: tuple[int, ...]


PARTS = ACR, CCR = (
    Part("acr", ("audio",), 1.0, 5.0, (1008, 4032)),
    Part("ccr", ("audio_a", "audio_b"), -3.0, 3.0, (2520, 10080)),
)


@dataclass(frozen=True)
class Item:
    """A row of a part, with an id unique in both; recordings are None where it has none, one file for one content."""

    sample_id: str
    part: Part
    recordings: tuple[str | None, ...]


@dataclass(frozen=True)
class Prediction:
    """What is predicted of an item; `error` says why there is no prediction, and `value` then stands in."""

    item: Item
    value: float
    clamped: bool = False
    error: str | None = None


def read_items(source: Path, scratch: Path | None = None) -> list[Item]:
    """Reads both parts, in order.

    Args:
        source: The dataset as `hf download --repo-type dataset` lays it down, with the configurations `acr` and `ccr`;
            or a folder with `acr.csv` and `ccr.csv`, whose paths are relative to it.
        scratch: Where recordings that are embedded are written to, each content once; None leaves them out.

    Raises:
        ManifestError: With all faults: a part or a column that is missing, an id that is blank or comes twice.
        ModuleNotFoundError: The package datasets is not installed.
    """
    items: list[Item] = []
    firsts: dict[str, Position] = {}
    contents: dict[str, str] = {}
    split = Split("submission")
    for part in PARTS:
        for position, sample_id, recordings in _rows(source, part, split):
            if not sample_id:
                split.fault(position, "no sample_id")
                continue
            if (first := firsts.setdefault(sample_id, position)) is not position:
                split.fault(position, f"sample_id {sample_id!r} is that of {first} too")
            files = () if scratch is None else tuple(_file(one, scratch, contents) for one in recordings)
            items.append(Item(sample_id, part, files))
    split.stop_at_faults()
    if empty := [part.name for part in PARTS if not any(item.part is part for item in items)]:
        raise ManifestError([f"{source}: no rows in {' and '.join(empty)}; both parts expected"])
    return items


def predict(
    model: "Model", items: Sequence[Item], *, scratch: Path, order: Order = "both", max_feature_bytes: int = 1 << 30
) -> list[Prediction]:
    """Predicts every item; each recording is encoded once, for its score and for all of its pairs.

    Where a recording cannot be scored, the mean of the other predictions stands in for its score (3 if there is none),
    and 0, neither is better, for its comparisons.

    Args:
        model: With `mos_overall`, also among its comparative metrics.
        items: What `read_items` gave.
        scratch: Folder for features of recordings that wait for a partner, over `max_feature_bytes`.
        order: See `Model.compare`.
        max_feature_bytes: Of features in memory.

    Returns:
        One for each item, in order, within the range of its part.
    """
    scores: dict[str, float | str] = {}
    comparisons: dict[str, float] = {}
    pairs = [(item.sample_id, *sides) for item in items if len(sides := _sides(item)) == 2]
    paths = list(dict.fromkeys(path for item in items for path in item.recordings if path))
    numbers = {path: number for number, path in enumerate(paths)}
    with progress(None, len(paths), "file", "recordings") as bar:
        for result in model.assess(
            paths,
            [(numbers[a], numbers[b]) for _, a, b in pairs],
            order=order,
            metrics=[METRIC],
            comparative_metrics=[METRIC],
            max_feature_bytes=max_feature_bytes,
            spill_dir=scratch,
        ):
            if isinstance(result, Scored):
                bar.update()
                found = result.row["scores"]
                scores[paths[result.index]] = failure(result.row) if found is None else found[METRIC]
            elif result.row["comparison"]:
                comparisons[pairs[result.index][0]] = result.row["comparison"][METRIC]["cmos"]
    return _predictions(items, [_outcome(item, scores, comparisons, scratch) for item in items])


def write(path: Path, predictions: Sequence[Prediction]) -> None:
    """Writes the challenge's `predictions.csv`, `sample_id,pred_score`, four decimals; the whole file or none."""
    with atomic_write(path) as file:
        rows = csv.writer(file, lineterminator="\n")
        rows.writerow(HEADER)
        rows.writerows((one.item.sample_id, f"{one.value:.{DECIMALS}f}") for one in predictions)


def pack(predictions: Path, path: Path) -> None:
    """Packs a file of predictions as the organisers take it: `predictions.csv`, in no folder (`zip -j`).

    Equal predictions give equal archives; it appears whole or not at all.
    """
    entry = zipfile.ZipInfo("predictions.csv")
    entry.compress_type = zipfile.ZIP_DEFLATED
    entry.external_attr = 0o644 << 16
    with atomic_write(path, binary=True) as file, zipfile.ZipFile(file, "w") as archive:
        archive.writestr(entry, predictions.read_bytes())


def check(path: Path, items: Sequence[Item]) -> list[str]:
    """Everything that is wrong with a file of predictions, with its lines.

    The `items` are what `read_items` gave, with or without recordings.

    Raises:
        ManifestError: It cannot be read as a table.
    """
    parts: Mapping[str, Part] = {item.sample_id: item.part for item in items}
    lines: dict[str, int] = {}
    faults = []
    rows = iter(CsvFile(path, None))
    position, header = next(rows, (Position(str(path), 1), []))
    with path.open("rb") as file:
        if file.read(3) == b"\xef\xbb\xbf":
            faults.append(f"{position}: starts with a byte-order mark; save it as UTF-8 without one")
    if tuple(header) != HEADER:
        faults.append(f"{position}: the header is {','.join(header)!r}, it has to be {','.join(HEADER)!r}")
    for position, cells in rows:
        sample_id, *values = cells
        if (first := lines.setdefault(sample_id, position.line)) != position.line:
            faults.append(f"{position}: sample_id {sample_id!r} is that of line {first} too")
        elif sample_id not in parts:
            faults.append(f"{position}: sample_id {sample_id!r} is in neither part")
        elif len(values) != 1:
            faults.append(f"{position}: has {len(cells)} cells, {len(HEADER)} expected")
        elif fault := _value_fault(values[0], parts[sample_id]):
            faults.append(f"{position}: {fault}")
    faults += [f"{path}: {part.name} {name!r} is missing" for name, part in parts.items() if name not in lines]
    return faults


def row_counts(items: Sequence[Item]) -> str:
    """Rows by part; and what the published datasets have, where that is something else."""
    return " and ".join(
        f"{count} {part.name} rows"
        + ("" if count in part.published else f" (as published {' or '.join(map(str, part.published))})")
        for part, count in Counter(item.part for item in items).items()
    )


def counts_of(predictions: Sequence[Prediction]) -> dict[str, Any]:
    """Rows of each part; recordings; predictions that were clamped; {row: why} of those that failed."""
    return {
        **Counter(one.item.part.name for one in predictions),
        "recordings": len({path for one in predictions for path in one.item.recordings if path}),
        "clamped": sum(one.clamped for one in predictions),
        "failed": {f"{one.item.part.name} {one.item.sample_id}": one.error for one in predictions if one.error},
    }


def summary(counts: Mapping[str, Any]) -> str:
    """What `counts_of` gave, for people."""
    text = f"recordings: {counts['recordings']}, each encoded once; clamped: {counts['clamped']}"
    if not counts["failed"]:
        return text
    faults = [f"{row}: {error}" for row, error in counts["failed"].items()]
    failed = summarise_errors(faults, "rows could not be scored")
    return f"{text}\n{failed}\nfor them stand the mean of the other scores, and 0 for comparisons"


def _value_fault(text: str, part: Part) -> str | None:
    value = number(text)
    if value is None:
        return f"{text!r} is not a number"
    if not part.minimum <= value <= part.maximum:
        return f"{text} is outside {part.minimum:g} to {part.maximum:g}, the range of {part.name}"
    if not _PLAIN.fullmatch(text):
        return f"{text}: write it with at most {DECIMALS} decimals, as {value:.{DECIMALS}f}"
    return None


def _rows(source: Path, part: Part, split: Split) -> Iterator[tuple[Position, str, list[dict[str, Any] | None]]]:
    """Position, id and recordings of each row of a part."""
    columns = ("sample_id", *part.audio)
    table = source / f"{part.name}.csv"
    if table.is_file():
        for position, row in split.table(CsvFile(table, columns)):
            named = [row[name] for name in part.audio]
            yield position, row["sample_id"], [{"path": locate(name, table, None)} if name else None for name in named]
        return
    for position, row in hub_rows(source, None, columns, audio=part.audio, config=part.name):
        sample_id = "" if row["sample_id"] is None else str(row["sample_id"])
        yield position, sample_id, [row[name] for name in part.audio]


def _file(recording: dict[str, Any] | None, scratch: Path, contents: dict[str, str]) -> str | None:
    """The file of a recording, the same for the same content; of one that is embedded in `scratch`."""
    recording = recording or {}
    if data := recording.get("bytes"):
        return str(extract(recording, scratch, hashlib.sha256(data).hexdigest()))
    if not (path := recording.get("path")):
        return None
    try:
        return contents.setdefault(file_hash(Path(path)), path)
    except OSError:
        return path  # Whoever decodes it says why.


def _outcome(
    item: Item, scores: Mapping[str, float | str], comparisons: Mapping[str, float], scratch: Path
) -> float | str:
    """What the model says of an item, or why it says nothing."""
    for column, path in zip(item.part.audio, item.recordings, strict=True):
        if path is None:
            return f"{column}: no recording in the row"
        if isinstance(error := scores[path], str):
            # A file of our own is gone when this is read.
            return error.replace(path, column) if Path(path).parent == scratch else error
    value = scores[_sides(item)[0]] if item.part is ACR else comparisons[item.sample_id]
    return value if isinstance(value, str) or math.isfinite(value) else f"the model says {value}"


def _sides(item: Item) -> list[str]:
    """Recordings of an item that are there."""
    return [path for path in item.recordings if path is not None]


def _predictions(items: Sequence[Item], outcomes: Sequence[float | str]) -> list[Prediction]:
    predictions = []
    for item, outcome in zip(items, outcomes, strict=True):
        if isinstance(outcome, str):
            predictions.append(Prediction(item, 0.0, error=outcome))
            continue
        value = min(max(outcome, item.part.minimum), item.part.maximum)
        # Adding 0 makes -0 a 0.
        predictions.append(Prediction(item, round(value, DECIMALS) + 0.0, value != outcome))
    known = [one.value for one in predictions if one.item.part is ACR and one.error is None]
    middle = round(math.fsum(known) / len(known), DECIMALS) if known else 3.0
    return [replace(one, value=middle) if one.error and one.item.part is ACR else one for one in predictions]
