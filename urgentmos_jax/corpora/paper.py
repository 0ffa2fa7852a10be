"""What the paper says of the corpora: sizes of what it trained on (Table 2), and its sets of evaluation (Table 3)."""

from dataclasses import dataclass


@dataclass(frozen=True)
class TrainingSize:
    """A row of Table 2.

    Attributes:
        count: Utterances, or pairs of a corpus of pairs.
        hours: Of audio.
        systems: None where the table has none.
    """

    count: int
    hours: float
    systems: int | None


@dataclass(frozen=True)
class EvaluationSet:
    """A set of the paper's tables.

    Attributes:
        name: In the tables.
        pairs: Pairs (A, B) that share a reference, both orders counted, at most 100,000 (Table 3); None where it has
            no such row.
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
    "speecheval": TrainingSize(73123, 18.25, 15),
    "speechjudge": TrainingSize(41755, 328.50, None),
}

# By the folders that `urgentmos prepare` gives them, `corpus/split`.
SETS = {
    "somos/test": EvaluationSet("SOMOS", 7250),
    "tmhint-qi/test": EvaluationSet("TMHINT-QI", 16708),
    "urgent2024-sqa/test": EvaluationSet("URGENT24", 100_000),
    "speecheval/test": EvaluationSet("SpeechEval"),
    "speechjudge/test": EvaluationSet("SpeechJudge"),
    "nisqa/P501": EvaluationSet("P501", 14160),
    "nisqa/FOR": EvaluationSet("FOR", 6496),
    "nisqa/LIVETALK": EvaluationSet("LIVETALK"),
    "chime-7-udase-eval/test": EvaluationSet("CHiME-7", 2560),
    "urgent2025-sqa/test": EvaluationSet("URGENT25", 100_000),
    "bvcc/test": EvaluationSet("BVCC"),
    "bc19/test": EvaluationSet("BC19"),
}
