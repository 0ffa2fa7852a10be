"""Manifests of several corpora as arrays: clips, labels with gaps, and given pairs."""

import dataclasses
import functools
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from urgentmos_jax.manifests.naming import PAIRS, UTTERANCES, lists_pairs
from urgentmos_jax.manifests.reading import read_pairs, read_utterances
from urgentmos_jax.manifests.records import ManifestError, Utterance
from urgentmos_jax.manifests.sampling import stable_hash
from urgentmos_jax.metrics import Metric


@dataclasses.dataclass(frozen=True)
class Source:
    """A manifest, of pairs or not, and what it is called in the config: `corpus/split`, or its path."""

    name: str
    path: Path
    pairs: bool

    @property
    def corpus(self) -> str:
        """What partners share in the scope "corpus"."""
        return self.name.split("/")[0] if not self.name.endswith(".jsonl") else self.name


@dataclasses.dataclass(frozen=True)
class TrainingSet:
    """Clips with any subset of the labels.

    Args:
        uids: [N] `<source>:<uid>`, unique.
        paths: [N] files.
        seconds: [N] declared durations.
        labels: [N, K] float32, NaN where missing.
        corpora: [N] number of the corpus.
        references: [N] number of the reference in its corpus, -1 where unknown.
        systems: [N] names, None where unknown.
        alone: [N], True for clips of utterance manifests; clips of given pairs are no rows of their own.
        pairs: [P, 2] given pairs (A, B).
        cmos: [P, C] float32 their labels, NaN where missing.
        metrics: K names.
        comparative: C names.
        clipped: Labels moved to the nearest bound of their metric's range.
    """

    uids: list[str]
    paths: list[str]
    seconds: np.ndarray
    labels: np.ndarray
    corpora: np.ndarray
    references: np.ndarray
    systems: list[str | None]
    alone: np.ndarray
    pairs: np.ndarray
    cmos: np.ndarray
    metrics: tuple[str, ...]
    comparative: tuple[str, ...]
    clipped: Counter[str]

    @functools.cached_property
    def keys(self) -> np.ndarray:
        """[N] uint64, `stable_hash` of the uids."""
        return np.array([stable_hash(uid) for uid in self.uids], np.uint64)

    @property
    def comparative_labels(self) -> np.ndarray:
        """[N, C] float32, the columns of `labels` whose differences are compared."""
        return self.labels[:, [self.metrics.index(name) for name in self.comparative]]

    @property
    def hours(self) -> float:
        """Hours of audio."""
        return float(self.seconds.sum()) / 3600

    def label_counts(self) -> dict[str, int]:
        """Labelled clips of each metric, and labelled pairs as `<metric> (pairs)`."""
        counts = dict(zip(self.metrics, (~np.isnan(self.labels)).sum(0).tolist(), strict=True))
        if len(self.pairs):
            given = (~np.isnan(self.cmos)).sum(0).tolist()
            counts |= {f"{name} (pairs)": n for name, n in zip(self.comparative, given, strict=True)}
        return counts


def find_source(name: str, root: Path) -> Source:
    """The manifest of a `corpus/split` below the data folder, or of a path that ends in .jsonl.

    Raises:
        FileNotFoundError: saying what was looked for.
    """
    if name.endswith(".jsonl"):
        path = root / name
        if not path.is_file():
            raise FileNotFoundError(f"data: no manifest {path}")
        return Source(name, path, lists_pairs(path))
    for file in (UTTERANCES, PAIRS):
        if (root / name / file).is_file():
            return Source(name, root / name / file, lists_pairs(root / name / file))
    raise FileNotFoundError(
        f"data: {name} is not there, neither {root / name / UTTERANCES} nor {PAIRS} beside it; make it by "
        f"`urgentmos prepare`, or set --config.data.root to the folder that holds it"
    )


def read_training_set(
    sources: Sequence[Source],
    metrics: Mapping[str, Metric],
    *,
    audio_root: Path | None = None,
    every_metric: bool = True,
) -> TrainingSet:
    """Reads manifests with labels of a model's metrics, each of which must have one if `every_metric`.

    Raises:
        ManifestError: naming the lines of all faults; or the metrics that no clip is labelled with.
    """
    ranges = {name: (metric.minimum, metric.maximum) for name, metric in metrics.items()}
    names = tuple(metrics)
    comparative = tuple(name for name, metric in metrics.items() if metric.comparative)
    faults: list[str] = []
    clips: dict[str, tuple[Utterance, int, bool]] = {}
    pairs, cmos = [], []
    clipped: Counter[str] = Counter()
    corpora: dict[str, int] = {}
    for source in sources:
        corpus = corpora.setdefault(source.corpus, len(corpora))
        try:
            read = read_pairs if source.pairs else read_utterances
            records, report = read(source.path, audio_root=audio_root, ranges=ranges)
        except ManifestError as error:
            faults += error.faults
            continue
        clipped.update(report.clipped)
        for record in records:
            if isinstance(record, Utterance):
                clips[f"{source.name}:{record.uid}"] = (record, corpus, True)
                continue
            sides = []
            for uid, path, seconds in zip(record.uids, record.audio_paths, record.durations, strict=True):
                key = f"{source.name}:{uid}"
                sides.append(key)
                clips.setdefault(key, (Utterance(uid, path, seconds, None, None, {}, {}), corpus, False))
            pairs.append(sides)
            cmos.append([record.metrics.get(name, np.nan) for name in comparative])
    if faults:
        raise ManifestError(faults)
    indices = {key: index for index, key in enumerate(clips)}
    utterances = [clip for clip, _, _ in clips.values()]
    labels = [[clip.metrics.get(name, np.nan) for name in names] for clip in utterances]
    known: dict[tuple[int, str], int] = {}
    references = [
        -1 if clip.reference_id is None else known.setdefault((corpus, clip.reference_id), len(known))
        for clip, corpus, _ in clips.values()
    ]
    found = TrainingSet(
        uids=list(clips),
        paths=[clip.audio_path for clip in utterances],
        seconds=np.array([clip.duration for clip in utterances]),
        labels=np.array(labels, np.float32).reshape(-1, len(names)),
        corpora=np.array([corpus for _, corpus, _ in clips.values()], np.int64),
        references=np.array(references, np.int64),
        systems=[clip.system_id for clip in utterances],
        alone=np.array([alone for _, _, alone in clips.values()], bool),
        pairs=np.array([[indices[side] for side in pair] for pair in pairs], np.int64).reshape(-1, 2),
        cmos=np.array(cmos, np.float32).reshape(-1, len(comparative)),
        metrics=names,
        comparative=comparative,
        clipped=clipped,
    )
    counts = found.label_counts()
    bare = [name for name in names if not counts[name] and not counts.get(f"{name} (pairs)")]
    if bare and every_metric:
        listed = ", ".join(source.name for source in sources)
        raise ManifestError([f"no clip of {listed} has a label of {name}: take it out of the model" for name in bare])
    return found
