"""Metrics of speech quality: what a model predicts and what a label means."""

import dataclasses
import math
from types import MappingProxyType
from typing import Literal, get_args

Category = Literal["naturalness", "quality", "fidelity", "intelligibility", "speaker_similarity"]
CATEGORIES: tuple[Category, ...] = get_args(Category)


@dataclasses.dataclass(frozen=True)
class Metric:
    """One metric as a model predicts it.

    Args:
        minimum: Least value, or -inf.
        maximum: Greatest value, or inf.
        comparative: Whether a CMOS head compares two recordings by it.
    """

    minimum: float = dataclasses.field(default=-math.inf, metadata={"null": -math.inf})
    maximum: float = dataclasses.field(default=math.inf, metadata={"null": math.inf})
    comparative: bool = False


@dataclasses.dataclass(frozen=True)
class KnownMetric:
    """One metric as the world knows it.

    Args:
        minimum: Least value a model's head gets, or -inf.
        maximum: Greatest value a model's head gets, or inf.
        higher_is_better: Direction.
        category: What it is about: `naturalness` (opinion of the whole, and its predictors), `quality` (single aspects
            of how it sounds), `fidelity` (distance of the signal from a clean reference), `intelligibility` (what is
            understood), `speaker_similarity`.
        needs_reference: Whether computing it takes a clean reference.
        human: Whether listeners give it.
        description: A short phrase, with the unit where there is one.
    """

    minimum: float
    maximum: float
    higher_is_better: bool
    category: Category
    needs_reference: bool
    human: bool
    description: str


def _listeners(category: Category, description: str) -> KnownMetric:
    return KnownMetric(1, 5, True, category, needs_reference=False, human=True, description=description)


def _predictor(category: Category, description: str) -> KnownMetric:
    return KnownMetric(1, 5, True, category, needs_reference=False, human=False, description=description)


def _against_reference(
    minimum: float, maximum: float, category: Category, description: str, *, higher_is_better: bool = True
) -> KnownMetric:
    return KnownMetric(
        minimum, maximum, higher_is_better, category, needs_reference=True, human=False, description=description
    )


# The 28 names of the authors' preparation code, then the scales of ITU-T P.835 and of NISQA, STOI and SI-SDR. Ranges
# are those of the authors' 22-metric configuration, but for `lps` and `sbert`, whose values go below its 0. PESQ keeps
# its published bound of 4.5, which wide-band PESQ of clean speech passes (4.64): such labels are clipped, as is all
# else that is a little outside (ESTOI under 0, predictors over 5).
CATALOGUE: MappingProxyType[str, KnownMetric] = MappingProxyType(
    {
        "mos_overall": _listeners("naturalness", "mean opinion of listeners"),
        "mos_naturalness": _listeners("naturalness", "naturalness, by listeners"),
        "mos_prosody": _listeners("naturalness", "prosody, by listeners"),
        "mos_quality": _listeners("quality", "sound quality, by listeners"),
        "mos_expressiveness": _listeners("naturalness", "expressiveness, by listeners"),
        "mos_fluency": _listeners("naturalness", "fluency, by listeners"),
        "mos_paralinguistic": _listeners("naturalness", "paralinguistic vocalisations, by listeners"),
        "distill_mos": _predictor("naturalness", "Distill-MOS, distilled XLS-R predictor"),
        "dnsmos_ovrl": _predictor("naturalness", "DNSMOS P.835 overall quality"),
        "nisqa_mos": _predictor("naturalness", "NISQA 2.0 overall quality"),
        "scoreq": _predictor("naturalness", "SCOREQ, no-reference mode"),
        "utmos": _predictor("naturalness", "UTMOS22 strong"),
        "sigmos_ovrl": _predictor("naturalness", "SIGMOS overall quality"),
        "sigmos_sig": _predictor("quality", "SIGMOS speech signal"),
        "sigmos_noise": _predictor("quality", "SIGMOS noisiness"),
        "sigmos_reverb": _predictor("quality", "SIGMOS reverberation"),
        "sigmos_col": _predictor("quality", "SIGMOS colouration"),
        "sigmos_disc": _predictor("quality", "SIGMOS discontinuity"),
        "sigmos_loud": _predictor("quality", "SIGMOS loudness"),
        "pesq": _against_reference(1, 4.5, "fidelity", "PESQ, P.862 and P.862.2"),
        "pesqc2": _against_reference(1, 4.5, "fidelity", "PESQ with P.862 corrigendum 2"),
        "sdr": _against_reference(-math.inf, math.inf, "fidelity", "signal-to-distortion ratio, dB"),
        "lsd": _against_reference(0, math.inf, "fidelity", "log-spectral distance", higher_is_better=False),
        "mcd": _against_reference(0, math.inf, "fidelity", "mel-cepstral distortion, dB", higher_is_better=False),
        "estoi": _against_reference(0, 1, "intelligibility", "extended short-time objective intelligibility"),
        "lps": _against_reference(-math.inf, 1, "intelligibility", "Levenshtein phone similarity"),
        "sbert": _against_reference(-1, 1, "intelligibility", "SpeechBERTScore, precision"),
        "spksim": _against_reference(-1, 1, "speaker_similarity", "cosine of speaker embeddings"),
        "mos_signal": _listeners("quality", "P.835 speech signal, by listeners"),
        "mos_background": _listeners("quality", "P.835 background noise, by listeners"),
        "mos_noisiness": _listeners("quality", "NISQA noisiness, by listeners"),
        "mos_coloration": _listeners("quality", "NISQA coloration, by listeners"),
        "mos_discontinuity": _listeners("quality", "NISQA discontinuity, by listeners"),
        "mos_loudness": _listeners("quality", "NISQA loudness, by listeners"),
        "stoi": _against_reference(0, 1, "intelligibility", "short-time objective intelligibility"),
        "si_sdr": _against_reference(-math.inf, math.inf, "fidelity", "scale-invariant SDR, dB"),
    }
)
