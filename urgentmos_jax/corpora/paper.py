"""What the paper says of the corpora: sizes of what it trained on (Table 2), and its sets of evaluation (Table 3)."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

MAX_PAIRS = 100_000


@dataclass(frozen=True)
class TrainingSize:
    """A row of Table 2.

    Attributes:
        count: Number of utterances or pairs.
        hours: Of audio.
        systems: None where the table has none.
        kind: What is counted.
    """

    count: int
    hours: float
    systems: int | None
    kind: str = "utterances"


@dataclass(frozen=True)
class EvaluationSet:
    """A set of the paper's tables.

    Attributes:
        name: In the tables.
        pairs: Pairs (A, B) that share a reference, at most `MAX_PAIRS` (Table 3); None where it has no such row. Both
            orders are counted: P501 has 240 recordings of 4 sentences.
    """

    name: str
    pairs: int | None = None


TRAINING = {
    "bc19": TrainingSize(136, 0.32, 21),
    "bvcc": TrainingSize(4973, 5.56, 175),
    "nisqa": TrainingSize(11020, 27.21, None),
    "pstn": TrainingSize(58709, 163.08, None),
    "somos": TrainingSize(14100, 18.32, 181),
    "tcd-voip": TrainingSize(384, 0.87, 24),
    "tencent": TrainingSize(11563, 23.51, None),
    "tmhint-qi": TrainingSize(12937, 11.35, 98),
    "ttsds2": TrainingSize(460, 0.96, 80),
    "urgent2024-sqa": TrainingSize(238000, 429.34, 238),
    "urgent2025-sqa": TrainingSize(100000, 261.31, 100),
    "speecheval": TrainingSize(73123, 18.25, 15, "pairs"),
    "speechjudge": TrainingSize(41755, 328.50, None, "pairs"),
}

# By the folders that `urgentmos prepare` gives them, `corpus/split`.
SETS = {
    "somos/test": EvaluationSet("SOMOS", 7250),
    "tmhint-qi/test": EvaluationSet("TMHINT-QI", 16708),
    "urgent2024-sqa/test": EvaluationSet("URGENT24", MAX_PAIRS),
    "speecheval/test": EvaluationSet("SpeechEval"),
    "speechjudge/test": EvaluationSet("SpeechJudge"),
    "nisqa/P501": EvaluationSet("P501", 14160),
    "nisqa/FOR": EvaluationSet("FOR", 6496),
    "nisqa/LIVETALK": EvaluationSet("LIVETALK"),
    "chime-7-udase-eval/test": EvaluationSet("CHiME-7", 2560),
    "urgent2025-sqa/test": EvaluationSet("URGENT25", MAX_PAIRS),
    "bvcc/test": EvaluationSet("BVCC"),
    "bc19/test": EvaluationSet("BC19"),
}


def about_corpus(name: str) -> str:
    """What the tables have of a corpus, for a list; empty where they do not know it."""
    found = [f"train, {_size(name)} (Table 2)"] if name in TRAINING else []
    for folders, one in SETS.items():
        corpus, _, split = folders.partition("/")
        if corpus == name:
            pairs = f", {one.pairs:,} pairs of one reference (Table 3)" if one.pairs else ""
            found.append((split if split == one.name else f"{split} is {one.name}") + pairs)
    return "; ".join(found)


def beside_split(report: Mapping[str, Any]) -> str:
    """What the tables have of a prepared split, and how that differs; empty where they do not know it.

    Args:
        report: Of `prepare.write_split`.
    """
    name, split = report.get("corpus", ""), report.get("split")
    if split == "train" and name in TRAINING:
        paper = TRAINING[name]
        here = _with_difference(report.get("pairs") or report["utterances"], paper.count)
        if "utterances" in report:
            here += f", {report['hours']:.2f} h ({report['hours'] - paper.hours:+.2f})"
            here += f", {_with_difference(report['systems'], paper.systems)} systems" if paper.systems else ""
        return f"in the paper (Table 2) train is {_size(name)}; here it is {here}"
    if one := SETS.get(f"{name}/{split}"):
        pairs = f"; of {one.pairs:,} pairs, which `urgentmos pairs --scope reference` counts" if one.pairs else ""
        return f"in the tables of the paper this is {one.name}{pairs}"
    return ""


def beside_pairs(folders: str, possible: int, *, both_orders: bool) -> str:
    """How the pairs of one reference of a set differ in number from the paper's; empty where it does not know the set.

    Args:
        folders: `corpus/split` of the recordings.
        possible: Pairs that there are.
        both_orders: Whether each counts as (A, B) and (B, A), as in the paper.
    """
    one = SETS.get(folders)
    if one is None or one.pairs is None:
        return ""
    here = min(possible if both_orders else 2 * possible, MAX_PAIRS)
    text = f"{one.name} has {one.pairs:,} pairs in the paper (Table 3), both orders counted, at most {MAX_PAIRS:,}"
    return f"{text}; here there are {_with_difference(here, one.pairs)}"


def _size(name: str) -> str:
    one = TRAINING[name]
    return f"{one.count:,} {one.kind}, {one.hours:.2f} h" + (f", {one.systems} systems" if one.systems else "")


def _with_difference(here: int, paper: int) -> str:
    return f"{here:,} ({here - paper:+,})" if here != paper else f"{here:,}, as many"
