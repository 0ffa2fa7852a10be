"""Writing manifests: sorted, whole or not at all."""

import json
import os
from collections.abc import Iterable, Sequence
from dataclasses import fields
from itertools import pairwise

from urgentmos_jax.files import atomic_write
from urgentmos_jax.manifests.records import ManifestError, Pair, Utterance


def write_utterances(path: str | os.PathLike, records: Iterable[Utterance]) -> None:
    """Writes `data.jsonl`, sorted by uid, whole or not at all.

    Raises:
        ManifestError: NaN or infinity in a record, or a uid that comes twice; the file is then left as it was.
    """
    records = sorted(records, key=lambda record: record.uid)
    for one, other in pairwise(records):
        if one.uid == other.uid:
            raise ManifestError([f"{os.fsdecode(path)}: uid {one.uid!r} comes twice, not written"])
    _write(path, records)


def write_pairs(path: str | os.PathLike, records: Iterable[Pair]) -> None:
    """Writes `data_pairs.jsonl`, sorted by the two uids; see `write_utterances`."""
    records = sorted(records, key=lambda record: record.uids)
    _write(path, records)


def _write(path: str | os.PathLike, records: Sequence[Utterance | Pair]) -> None:
    with atomic_write(path) as file:
        for record in records:
            values = {field.name: getattr(record, field.name) for field in fields(record)}
            try:
                line = json.dumps(values, ensure_ascii=False, allow_nan=False)
            except (ValueError, TypeError) as error:
                name: object = record.uids if isinstance(record, Pair) else record.uid
                raise ManifestError([f"{os.fsdecode(path)}: {name!r} cannot be written as JSON ({error})"]) from None
            file.write(line + "\n")
