"""Metrics of speech quality: what a model predicts and what a label means."""

import dataclasses
import functools
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
        category: What it is about: `naturalness` (opinion of the whole, and its predictors), `quality` (single aspects
            of how it sounds), `fidelity` (distance of the signal from a clean reference), `intelligibility` (what is
            understood), `speaker_similarity`.
        description: A short phrase, with the unit where there is one.
        minimum, maximum: Least and greatest value a model's head gets, or infinite.
        higher_is_better: Direction.
        needs_reference: Whether computing it takes a clean reference.
        human: Whether listeners give it.
    """

    category: Category
    description: str
    minimum: float = 1
    maximum: float = 5
    higher_is_better: bool = True
    needs_reference: bool = False
    human: bool = False


_listeners = functools.partial(KnownMetric, human=True)
_against_reference = functools.partial(KnownMetric, needs_reference=True)

# The 28 names of the authors' preparation code, then the scales of ITU-T P.835 and of NISQA, the others of DNSMOS,
# PLCMOS, STOI and SI-SDR. Ranges are those of the authors' 22-metric configuration, but for `lps` and `sbert`, whose
# values go below its 0. PESQ keeps its published bound of 4.5, which wide-band PESQ of clean speech passes (4.64): such
# labels are clipped, as is all else that is a little outside (ESTOI under 0, predictors over 5).
CATALOGUE: MappingProxyType[str, KnownMetric] = MappingProxyType(
    {
        "mos_overall": _listeners("naturalness", "mean opinion of listeners"),
        "mos_naturalness": _listeners("naturalness", "naturalness, by listeners"),
        "mos_prosody": _listeners("naturalness", "prosody, by listeners"),
        "mos_quality": _listeners("quality", "sound quality, by listeners"),
        "mos_expressiveness": _listeners("naturalness", "expressiveness, by listeners"),
        "mos_fluency": _listeners("naturalness", "fluency, by listeners"),
        "mos_paralinguistic": _listeners("naturalness", "paralinguistic vocalisations, by listeners"),
        "distill_mos": KnownMetric("naturalness", "Distill-MOS, distilled XLS-R predictor"),
        "dnsmos_ovrl": KnownMetric("naturalness", "DNSMOS P.835 overall quality"),
        "nisqa_mos": KnownMetric("naturalness", "NISQA 2.0 overall quality"),
        "scoreq": KnownMetric("naturalness", "SCOREQ, no-reference mode"),
        "utmos": KnownMetric("naturalness", "UTMOS22 strong"),
        "sigmos_ovrl": KnownMetric("naturalness", "SIGMOS overall quality"),
        "sigmos_sig": KnownMetric("quality", "SIGMOS speech signal"),
        "sigmos_noise": KnownMetric("quality", "SIGMOS noisiness"),
        "sigmos_reverb": KnownMetric("quality", "SIGMOS reverberation"),
        "sigmos_col": KnownMetric("quality", "SIGMOS colouration"),
        "sigmos_disc": KnownMetric("quality", "SIGMOS discontinuity"),
        "sigmos_loud": KnownMetric("quality", "SIGMOS loudness"),
        "pesq": _against_reference("fidelity", "PESQ, P.862 and P.862.2", 1, 4.5),
        "pesqc2": _against_reference("fidelity", "PESQ with P.862 corrigendum 2", 1, 4.5),
        "sdr": _against_reference("fidelity", "signal-to-distortion ratio, dB", -math.inf, math.inf),
        "lsd": _against_reference("fidelity", "log-spectral distance", 0, math.inf, higher_is_better=False),
        "mcd": _against_reference("fidelity", "mel-cepstral distortion, dB", 0, math.inf, higher_is_better=False),
        "estoi": _against_reference("intelligibility", "extended short-time objective intelligibility", 0, 1),
        "lps": _against_reference("intelligibility", "Levenshtein phone similarity", -math.inf, 1),
        "sbert": _against_reference("intelligibility", "SpeechBERTScore, precision", -1, 1),
        "spksim": _against_reference("speaker_similarity", "cosine of speaker embeddings", -1, 1),
        "mos_signal": _listeners("quality", "P.835 speech signal, by listeners"),
        "mos_background": _listeners("quality", "P.835 background noise, by listeners"),
        "mos_noisiness": _listeners("quality", "NISQA noisiness, by listeners"),
        "mos_coloration": _listeners("quality", "NISQA coloration, by listeners"),
        "mos_discontinuity": _listeners("quality", "NISQA discontinuity, by listeners"),
        "mos_loudness": _listeners("quality", "NISQA loudness, by listeners"),
        "dnsmos_sig": KnownMetric("quality", "DNSMOS P.835 speech signal"),
        "dnsmos_bak": KnownMetric("quality", "DNSMOS P.835 background noise"),
        "dnsmos_p808": KnownMetric("naturalness", "DNSMOS P.808 overall quality"),
        "plcmos": KnownMetric("quality", "PLCMOS v2, packet loss concealment"),
        "stoi": _against_reference("intelligibility", "short-time objective intelligibility", 0, 1),
        "si_sdr": _against_reference("fidelity", "scale-invariant SDR, dB", -math.inf, math.inf),
    }
)
