"""Metrics by networks in torch, whose packages download the weights when they are first asked for.

UTMOS, SCOREQ and NISQA hear the recording alone and are listed in `predictors`; SpeechBERTScore, the similarity of
phones and that of the speaker compare it with a clean reference and are listed in `intrusive`. Waveforms are [T] float
at 16 kHz. The last three are those of the URGENT challenges. What is loaded stays in the process.
"""

from typing import Any

import numpy as np

from urgentmos_jax.audio.loading import SAMPLE_RATE_HZ
from urgentmos_jax.labels.packages import import_package, loaded_once

_HUBERT, _HUBERT_LAYER = "utter-project/mHuBERT-147", 8
_PHONES = "facebook/wav2vec2-lv-60-espeak-cv-ft"
_SPEAKER = "espnet/voxcelebs12_rawnet3"
_NISQA_LENGTHS = "too short", "exceeded"  # What its errors say of clips that it does not take.


def utmos(waveform: np.ndarray) -> dict[str, float]:
    """UTMOS, the strong learner (Saeki et al. 2022), by utmos-pytorch; about 1 to 5."""
    return {"utmos": _utmos().score(_tensor(waveform)).item()}


def scoreq(waveform: np.ndarray) -> dict[str, float]:
    """SCOREQ of natural speech, without a reference (Ragano et al. 2024), by scoreq-pytorch; about 1 to 5."""
    return {"scoreq": _scoreq().score(_tensor(waveform)).item()}


def nisqa_mos(waveform: np.ndarray) -> dict[str, float]:
    """Overall quality of NISQA 2.0 (Mittag et al. 2021), by torchmetrics; about 1 to 5.

    None under 0.14 s or over 52 s, which it does not take.
    """
    try:
        return {"nisqa_mos": _nisqa()(_tensor(waveform)[0], SAMPLE_RATE_HZ)[0].item()}
    except RuntimeError as error:
        if any(text in str(error) for text in _NISQA_LENGTHS):
            return {}
        raise


def sbert(degraded: np.ndarray, reference: np.ndarray) -> float:
    """SpeechBERTScore, precision (Saeki et al. 2024), by transformers; -1 to 1.

    Of each frame of layer 8 of mHuBERT-147, the cosine to the frame of the reference that is nearest; their mean.
    """
    frames = [_hubert_frames(side) for side in (degraded, reference)]
    one, other = (side / np.linalg.norm(side, axis=1, keepdims=True) for side in frames)
    return float((one @ other.T).max(axis=1).mean())


def lps(degraded: np.ndarray, reference: np.ndarray) -> float | None:
    """Levenshtein phone similarity (Pirklbauer et al. 2023), by transformers and Levenshtein; up to 1.

    One less the edits from what a recogniser of phones hears to what it hears in the reference, by characters of IPA,
    to the number of the latter; below 0 where there are more edits. None where it hears none in the reference.
    """
    heard, wanted = _phones(degraded), _phones(reference)
    return 1 - import_package("Levenshtein").distance(heard, wanted) / len(wanted) if wanted else None


def spksim(degraded: np.ndarray, reference: np.ndarray) -> float:
    """Cosine of speaker embeddings, by RawNet3 of ESPnet, of VoxCeleb 1 and 2 (Jung et al. 2024); -1 to 1."""
    one, other = (_speaker()(np.asarray(side, np.float32))[0].numpy() for side in (degraded, reference))
    return float(one @ other / (np.linalg.norm(one) * np.linalg.norm(other)))


@loaded_once("UTMOS of the package utmos-pytorch")
def _utmos() -> Any:
    return import_package("utmos_pytorch").UTMOSScoreTorch()


@loaded_once("SCOREQ of the package scoreq-pytorch")
def _scoreq() -> Any:
    return import_package("scoreq_pytorch").SCOREQScoreTorch(data_domain="natural", mode="nr")


@loaded_once("NISQA of the package torchmetrics")
def _nisqa() -> Any:
    function = import_package("torchmetrics.functional.audio.nisqa").non_intrusive_speech_quality_assessment
    function(import_package("torch").zeros(SAMPLE_RATE_HZ), SAMPLE_RATE_HZ)  # The first call loads the weights.
    return function


@loaded_once(f"mHuBERT of the hub, {_HUBERT},")
def _hubert() -> Any:
    return import_package("transformers").HubertModel.from_pretrained(_HUBERT).float().eval()


@loaded_once(f"The recogniser of phones of the hub, {_PHONES},")
def _phone_recogniser() -> tuple[Any, Any]:
    transformers = import_package("transformers")
    model = transformers.Wav2Vec2ForCTC.from_pretrained(_PHONES).float().eval()
    return transformers.Wav2Vec2Processor.from_pretrained(_PHONES), model


@loaded_once(f"RawNet3 of the hub, {_SPEAKER},")
def _speaker() -> Any:
    import_package("espnet_model_zoo")
    return import_package("espnet2.bin.spk_inference").Speech2Embedding.from_pretrained(model_tag=_SPEAKER)


def _hubert_frames(waveform: np.ndarray) -> np.ndarray:
    """[frames, width] of the layer."""
    with import_package("torch").inference_mode():
        states = _hubert()(_tensor(waveform), output_hidden_states=True).hidden_states
    return np.asarray(states[_HUBERT_LAYER][0])


def _phones(waveform: np.ndarray) -> str:
    """Phones in IPA, without spaces."""
    processor, model = _phone_recogniser()
    with import_package("torch").inference_mode():
        values = processor(np.asarray(waveform, np.float32), sampling_rate=SAMPLE_RATE_HZ, return_tensors="pt")
        best = model(values.input_values).logits.argmax(-1)
    return str(processor.batch_decode(best, skip_special_tokens=True)[0]).replace(" ", "")


def _tensor(waveform: np.ndarray) -> Any:
    """[1, T] float32 of torch."""
    return import_package("torch").from_numpy(np.array(waveform, np.float32))[None]
