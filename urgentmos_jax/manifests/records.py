"""Records of manifests: an utterance, a pair, and what reading a file of them found."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar

from urgentmos_jax.files import summarise_errors

Record = TypeVar("Record", "Utterance", "Pair")

LABEL_DECIMALS = 4  # As the authors round them.


class ManifestError(ValueError):
    """A manifest that cannot be used.

    Attributes:
        faults: All that is wrong, each as `path:line: fault`.
    """

    def __init__(self, faults: Sequence[str]):
        super().__init__(faults)
        self.faults = list(faults)

    def __str__(self) -> str:
        return summarise_errors(self.faults, "faults")


@dataclass(frozen=True, slots=True)
class Utterance:
    """A labelled recording.

    Attributes:
        uid: Unique within a manifest.
        audio_path: As read: absolute, or usable from the working folder. As written: taken as it is.
        duration: Seconds.
        system_id: What produced it.
        reference_id: What it says; shared by systems that processed the same source.
        metrics: Labels by the names of `metrics.CATALOGUE`, or others. A missing name is a missing label.
        meta: Anything else, JSON.
    """

    uid: str
    audio_path: str
    duration: float
    system_id: str | None = None
    reference_id: str | None = None
    metrics: dict[str, float] = field(default_factory=dict)
    meta: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Pair:
    """Two recordings, A and B, and how much better A is.

    Attributes:
        uids: Of A and B; the paths as given, where a file has none.
        audio_paths: As `Utterance.audio_path`.
        durations: Seconds.
        metrics: Signed differences, positive where A is better.
        meta: Anything else, JSON.
    """

    uids: tuple[str, str]
    audio_paths: tuple[str, str]
    durations: tuple[float, float]
    metrics: dict[str, float] = field(default_factory=dict)
    meta: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Report:
    """What reading a manifest found.

    Attributes:
        rows: Utterances or pairs.
        labels: Labels by metric.
        clipped: Labels that were outside their range, by metric.
        measured: Durations the file does not have, which were read from the recordings.
    """

    rows: int
    labels: dict[str, int]
    clipped: dict[str, int]
    measured: int


@dataclass(frozen=True, slots=True)
class Scan(Generic[Record]):
    """What a manifest holds, also if something is wrong with it.

    Attributes:
        records: (line number, record) of each line without faults.
        report: What was counted.
        faults: All that is wrong, as `ManifestError` has it.
    """

    records: list[tuple[int, Record]]
    report: Report
    faults: list[str]

    def unless_faulty(self) -> tuple[list[Record], Report]:
        """Records and report, or a `ManifestError` with all faults."""
        if self.faults:
            raise ManifestError(self.faults)
        return [record for _, record in self.records], self.report
