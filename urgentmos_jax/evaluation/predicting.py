"""Records of manifests, corpus by corpus, with what predictors say of them."""

import os
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from urgentmos_jax.evaluation.predictions import Predictions, PredictionsError
from urgentmos_jax.files import progress
from urgentmos_jax.manifests.checking import corpus_name, lists_pairs
from urgentmos_jax.manifests.reading import ManifestError, Pair, Utterance, read_pairs, read_utterances

if TYPE_CHECKING:
    from urgentmos_jax.scoring.model import Model

__all__ = ["Corpus", "join", "predict", "read_corpora", "references"]

Values = dict[str, float]


@dataclass(frozen=True)
class Corpus:
    """Records that are judged together.

    Attributes:
        name: `corpus/split`, with ` (pairs)` for pairs, or a value of a column.
        pairs: Whether the records are pairs.
        records: Utterances or pairs.
        predicted: {predictor: [N] {metric: value}}, in the order of the records; what is missing is not there. Of pairs
            the values are comparisons, positive = A better.
    """

    name: str
    pairs: bool
    records: Sequence[Utterance] | Sequence[Pair]
    predicted: dict[str, list[Values]] = field(default_factory=dict)


def read_corpora(
    manifests: Sequence[Path],
    *,
    column: str | None = None,
    audio_root: Path | None = None,
    allow_outside: bool = False,
    check_files: bool = True,
) -> list[Corpus]:
    """Reads manifests of utterances and of pairs.

    Args:
        manifests: Each a corpus by the name of its folders, see `corpora.health.corpus_name`.
        column: Key of `meta` whose values are the corpora instead.
        audio_root, allow_outside, check_files: See `manifest.read_utterances`.

    Raises:
        ManifestError: A manifest cannot be used, or a record has no such key.
    """
    found: dict[tuple[str, bool], list[Any]] = {}
    faults = []
    names = [(corpus_name(path), lists_pairs(path)) for path in manifests]
    for path, (folders, pairs) in zip(manifests, names, strict=True):
        # Two corpora of one name are told apart by their paths.
        folders = folders if names.count((folders, pairs)) == 1 else str(path)
        read = read_pairs if pairs else read_utterances
        records, _ = read(path, audio_root=audio_root, allow_outside=allow_outside, check_files=check_files)
        values = [folders if column is None else record.meta.get(column) for record in records]
        if lacking := [_uid(record) for record, value in zip(records, values, strict=True) if value in (None, "")]:
            faults.append(
                f"{path}: {len(lacking)} of {len(records)} records have no {column!r} in meta, {_some(lacking)}"
            )
        for record, value in zip(records, values, strict=True):
            found.setdefault((str(value), pairs), []).append(record)
    if faults:
        raise ManifestError(faults)
    return [Corpus(name + (" (pairs)" if pairs else ""), pairs, records) for (name, pairs), records in found.items()]


def join(corpora: Sequence[Corpus], predictions: Predictions) -> list[list[Values]]:
    """Finds the prediction of each record: by uid, else by path.

    The comparison of a pair is the prediction `A B` of its two uids (or paths), else the difference of the scores of A
    and B, metric by metric: A less B, as `urgentmos pairs` makes labels.

    Args:
        corpora: All that the predictions are of.
        predictions: Of scores or comparisons.

    Returns:
        For each corpus [N] {metric: value}, empty where there is none.

    Raises:
        PredictionsError: A uid stands for two recordings, or predictions belong to no record.
    """
    if not predictions:
        raise PredictionsError([f"{predictions.name}: holds none"])
    keys = {(uid, paths) for corpus in corpora for record in corpus.records for uid, paths in _keys(record)}
    shared = {uid for uid, count in Counter(uid for uid, _ in keys).items() if count > 1}
    used: set[str] = set()
    faults: dict[str, None] = {}

    def find(uid: str, paths: tuple[str, ...]) -> Values | None:
        known = predictions.uids.get(paths) if uid in shared or uid not in predictions else uid
        if known is None:
            if uid in predictions:
                advice = "give predictions with paths, or evaluate the manifests one by one"
                faults[f"{predictions.name}: uid {uid!r} is of several recordings; {advice}"] = None
            return None
        used.add(known)
        return predictions[known]

    found: list[list[Values]] = []
    for corpus in corpora:
        found.append([])
        for record in corpus.records:
            whole, *sides = (find(*key) for key in _keys(record))
            if whole is None and sides and None not in sides:
                a, b = sides
                whole = {metric: a[metric] - b[metric] for metric in a if metric in b}
            found[-1].append(whole or {})
    wanted = next((_uid(record) for corpus in corpora for record in corpus.records), "")
    # Scores of clips that no pair has are no mistake.
    unknown = [uid for uid in predictions if uid not in used]
    if not faults and unknown and not any(corpus.pairs for corpus in corpora):
        hint = "" if used else f"; uids of the manifests are as {wanted!r}"
        advice = f"take them out, or name their manifest too{hint}"
        faults[f"{predictions.name}: {len(unknown)} uids are in no manifest, {_some(unknown)}; {advice}"] = None
    if not faults and not used:
        text = f"no prediction of any record; uids are as {unknown[0]!r}, wanted as {wanted!r}"
        faults[f"{predictions.name}: {text}"] = None
    if faults:
        raise PredictionsError(list(faults))
    return found


def predict(
    model: "Model", corpora: Sequence[Corpus], metrics: Sequence[str]
) -> tuple[list[list[Values]], dict[str, str]]:
    """What a model says of each record that has a label of one of the metrics.

    Pairs are compared by the CMOS heads that the model has, and else by the difference of scores, A less B. A recording
    is scored once.

    Returns:
        As `join`; and {uid: why it failed}.
    """
    failed: dict[str, str] = {}
    heads = [name for name in metrics if name in model.comparative_metrics]
    own = [name for name in metrics if name in model.metrics]
    by_difference = [name for name in own if name not in heads]
    labelled = [[any(name in record.metrics for name in own) for record in corpus.records] for corpus in corpora]
    wanted = [
        (corpus, record)
        for corpus, known in zip(corpora, labelled, strict=True)
        for record, has_label in zip(corpus.records, known, strict=True)
        if has_label
    ]
    scored = {record.audio_path: record.uid for corpus, record in wanted if not corpus.pairs}
    if by_difference:
        for corpus, record in wanted:
            if corpus.pairs:
                scored |= dict(zip(record.audio_paths, record.uids, strict=True))
    scores: dict[str, Values] = {}
    rows = model.iter_scores(list(scored), uids=scored.values(), metrics=own) if scored else iter(())
    for path, row in zip(scored, progress(rows, len(scored), "clip"), strict=True):
        scores[path] = row["scores"] or {}
        if row["error"]:
            failed[row["uid"]] = row["error"]["message"]
    compared = list(dict.fromkeys(record.audio_paths for corpus, record in wanted if corpus.pairs) if heads else ())
    comparisons: dict[tuple[str, str], Values] = {}
    rows = model.iter_comparisons(compared, metrics=heads) if compared else iter(())
    for paths, row in zip(compared, progress(rows, len(compared), "pair"), strict=True):
        comparisons[paths] = {name: value["cmos"] for name, value in (row["comparison"] or {}).items()}
        if row["error"]:
            failed[row["uid"]] = row["error"]["message"]

    def of_pair(record: Pair) -> Values:
        a, b = (scores.get(path, {}) for path in record.audio_paths)
        differences = {name: a[name] - b[name] for name in by_difference if name in a and name in b}
        return differences | comparisons.get(record.audio_paths, {})

    found = [
        [
            {} if not has_label else of_pair(record) if corpus.pairs else scores[record.audio_path]
            for record, has_label in zip(corpus.records, known, strict=True)
        ]
        for corpus, known in zip(corpora, labelled, strict=True)
    ]
    return found, failed


def references(corpus: Corpus) -> list[str | None] | list[tuple[str | None, str | None]]:
    """[N] reference of each utterance, or those of A and B of each pair."""
    if not corpus.pairs:
        return [record.reference_id for record in corpus.records]
    return [_sides(record.meta.get("reference_ids")) for record in corpus.records]


def _sides(found: Any) -> tuple[str | None, str | None]:
    if not isinstance(found, list) or len(found) != 2:
        return None, None
    return tuple(one if isinstance(one, str) and one else None for one in found)


def _keys(record: Utterance | Pair) -> Iterator[tuple[str, tuple[str, ...]]]:
    """(uid, paths) a prediction of the record may have; of a pair also those of its sides."""
    if isinstance(record, Utterance):
        yield record.uid, (os.path.abspath(record.audio_path),)
        return
    paths = tuple(map(os.path.abspath, record.audio_paths))
    yield " ".join(record.uids), paths
    for uid, path in zip(record.uids, paths, strict=True):
        yield uid, (path,)


def _uid(record: Utterance | Pair) -> str:
    return record.uid if isinstance(record, Utterance) else " ".join(record.uids)


def _some(names: Sequence[str]) -> str:
    return ", ".join(map(repr, names[:3])) + (", ..." if len(names) > 3 else "")
