"""Datasets: records of manifests that are evaluated together."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Unpack

from urgentmos_jax.manifests.naming import corpus_name, lists_pairs
from urgentmos_jax.manifests.reading import ReadOptions, read_pairs, read_utterances
from urgentmos_jax.manifests.records import ManifestError, Pair, Utterance


@dataclass(frozen=True)
class Dataset:
    """Utterances or pairs that are evaluated together; named `corpus/split`, with ` (pairs)`, or by a column."""

    name: str
    pairs: bool
    records: Sequence[Utterance | Pair]


def read_datasets(
    manifests: Sequence[Path], *, column: str | None = None, **options: Unpack[ReadOptions]
) -> list[Dataset]:
    """Reads manifests of utterances and of pairs, each a dataset, named after its folders by `corpus_name`.

    If there is a `column`, values of this key of `meta` name the datasets instead.

    Raises:
        ManifestError: A manifest cannot be used, or a record has no such key.
    """
    found: dict[tuple[str, bool], list[Any]] = {}
    faults = []
    names = [(corpus_name(path), lists_pairs(path)) for path in manifests]
    for path, (folders, pairs) in zip(manifests, names, strict=True):
        # Two datasets of one name are distinguished by their paths.
        folders = folders if names.count((folders, pairs)) == 1 else str(path)
        read = read_pairs if pairs else read_utterances
        records: list[Utterance | Pair] = list(read(path, **options)[0])
        values = [folders if column is None else record.meta.get(column) for record in records]
        lacking = [record_name(record) for record, value in zip(records, values, strict=True) if value in (None, "")]
        if lacking:
            text = f"{len(lacking)} of {len(records)} records have no {column!r} in meta, {some_names(lacking)}"
            faults.append(f"{path}: {text}")
        for record, value in zip(records, values, strict=True):
            found.setdefault((str(value), pairs), []).append(record)
    if faults:
        raise ManifestError(faults)
    return [Dataset(name + (" (pairs)" if pairs else ""), pairs, records) for (name, pairs), records in found.items()]


def references(dataset: Dataset) -> list[str | None] | list[tuple[str | None, str | None]]:
    """[N] reference of each utterance, or those of A and B of each pair."""
    return [  # type: ignore[return-value]  # Utterances and pairs are not mixed.
        record.reference_id if isinstance(record, Utterance) else _two_names(record.meta.get("reference_ids"))
        for record in dataset.records
    ]


def record_name(record: Utterance | Pair) -> str:
    """The uid of an utterance, the two uids of a pair."""
    return record.uid if isinstance(record, Utterance) else " ".join(record.uids)


def some_names(names: Sequence[str]) -> str:
    """The first three of them, for a message."""
    return ", ".join(map(repr, names[:3])) + (", ..." if len(names) > 3 else "")


def _two_names(found: Any) -> tuple[str | None, str | None]:
    a, b = found if isinstance(found, list) and len(found) == 2 else (None, None)
    return a if isinstance(a, str) and a else None, b if isinstance(b, str) and b else None
