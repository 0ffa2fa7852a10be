"""Metrics by networks in torch: stand-ins for packages that download weights, and tiny networks of transformers."""

import contextlib
import json
import sys
from types import SimpleNamespace

import numpy as np
import pytest

from tests.helpers.corpus import speech_like
from urgentmos_jax.labels import intrusive, packages, predictors, torch_networks
from urgentmos_jax.labels.packages import WeightsMissing, how_to_install, version_of

RATE = 16000
LOADERS = ("_utmos", "_scoreq", "_nisqa", "_hubert", "_phone_recogniser", "_speaker")


@pytest.fixture(autouse=True)
def nothing_loaded():
    def forget():
        for name in LOADERS:
            getattr(torch_networks, name).cache_clear()

    forget()
    yield
    forget()


@pytest.fixture
def stand_in(monkeypatch):
    """Puts an object in the place of a package."""

    def put(name, **members):
        monkeypatch.setitem(sys.modules, name, SimpleNamespace(**members))

    return put


@pytest.fixture
def numpy_as_torch(stand_in):
    stand_in("torch", from_numpy=np.asarray, zeros=np.zeros, inference_mode=contextlib.nullcontext)


@pytest.fixture
def clip() -> np.ndarray:
    return (speech_like(1, 12000) + 0.05 * speech_like(2, 12000)).astype(np.float32)


@pytest.fixture
def level():
    """A network that gives the mean absolute sample, and a list of the options that it was made with."""
    made = []

    class Level:
        def __init__(self, **options):
            made.append(options)

        def score(self, waveforms):
            assert waveforms.ndim == 2 and waveforms.dtype == np.float32
            return np.abs(waveforms).mean(axis=1)

    return Level, made


@pytest.mark.parametrize(
    ("metric", "package", "network", "options"),
    [
        ("utmos", "utmos_pytorch", "UTMOSScoreTorch", {}),
        ("scoreq", "scoreq_pytorch", "SCOREQScoreTorch", {"data_domain": "natural", "mode": "nr"}),
    ],
)
def test_utmos_and_scoreq_are_what_the_network_gives(
    clip, stand_in, numpy_as_torch, level, metric, package, network, options
):
    stand_in(package, **{network: level[0]})
    found = [predictors.predict(part.astype(np.float64), [metric]) for part in (clip, clip[:6000])]
    assert found == [{metric: pytest.approx(float(np.abs(part).mean()))} for part in (clip, clip[:6000])]
    assert level[1] == [options]  # Loaded once, of natural speech and without a reference.


def test_nisqa_gives_the_first_of_five_and_none_of_clips_that_it_refuses(clip, stand_in, numpy_as_torch):
    def quality(waveform, rate):
        assert rate == RATE
        if len(waveform) < 2240:
            raise RuntimeError("Input signal is too short.")
        if waveform.max() > 1:
            raise RuntimeError("Expected all tensors on one device")
        return np.array([np.abs(waveform).max(), 7, 7, 7, 7])

    stand_in("torchmetrics.functional.audio.nisqa", non_intrusive_speech_quality_assessment=quality)
    assert predictors.predict(clip, ["nisqa_mos"]) == {"nisqa_mos": pytest.approx(float(np.abs(clip).max()))}
    assert predictors.predict(clip[:2239], ["nisqa_mos"]) == {}
    assert predictors.why_without("nisqa_mos", clip[:2239]) == "under 0.14 s or over 52 s"
    with pytest.raises(RuntimeError, match="one device"):
        predictors.predict(2 * clip / np.abs(clip).max(), ["nisqa_mos"])


def test_spksim_is_the_cosine_of_embeddings(clip, stand_in):
    asked = []

    class Embedding:
        def __call__(self, waveform):
            assert waveform.dtype == np.float32 and waveform.ndim == 1
            return [SimpleNamespace(numpy=lambda: np.array([waveform.max(), waveform.std(), waveform[100]]))]

        @staticmethod
        def from_pretrained(model_tag):
            asked.append(model_tag)
            return Embedding()

    stand_in("espnet_model_zoo")
    stand_in("espnet2.bin.spk_inference", Speech2Embedding=Embedding)
    reference = speech_like(1, 12000)
    one, other = (np.array([side.max(), side.std(), side[100]]) for side in (clip, reference.astype(np.float32)))
    wanted = one @ other / np.sqrt(one @ one * (other @ other))
    assert intrusive.measure(clip, reference, ["spksim"])["spksim"] == pytest.approx(wanted, abs=1e-6)
    assert intrusive.measure(clip, clip, ["spksim"])["spksim"] == pytest.approx(1, abs=1e-6)
    assert asked == ["espnet/voxcelebs12_rawnet3"]


@pytest.mark.torch
def test_sbert_is_the_mean_of_the_nearest_frames(clip, tmp_path, monkeypatch):
    torch, transformers = pytest.importorskip("torch"), pytest.importorskip("transformers")
    config = dict(hidden_size=24, num_hidden_layers=10, num_attention_heads=2, intermediate_size=32)
    convolutions = dict(conv_dim=(16,) * 7, num_conv_pos_embeddings=16, num_conv_pos_embedding_groups=2)
    torch.manual_seed(0)
    model = transformers.HubertModel(transformers.HubertConfig(**config, **convolutions)).eval()
    model.save_pretrained(tmp_path)
    monkeypatch.setattr(torch_networks, "_HUBERT", str(tmp_path))
    reference = speech_like(1, 12000).astype(np.float32)
    with torch.no_grad():
        states = [
            model(torch.from_numpy(side[None]), output_hidden_states=True).hidden_states for side in (clip, reference)
        ]
    cosines = torch.nn.functional.cosine_similarity(states[0][8][0][:, None], states[1][8][0][None], dim=-1)
    wanted = cosines.max(dim=1).values.mean().item()
    assert intrusive.measure(clip, reference, ["sbert"]) == {"sbert": pytest.approx(wanted, abs=1e-5)}
    assert wanted < 0.999 and intrusive.measure(clip, clip, ["sbert"])["sbert"] == pytest.approx(1, abs=1e-5)


@pytest.mark.torch
def test_lps_counts_edits_of_phones(clip, stand_in, tmp_path, monkeypatch):
    torch, transformers = pytest.importorskip("torch"), pytest.importorskip("transformers")
    letters = ["<pad>", "<s>", "</s>", "<unk>", "a", "t", "ai", "ʃ"]
    (tmp_path / "vocab.json").write_text(json.dumps({letter: index for index, letter in enumerate(letters)}))
    tokenizer = transformers.Wav2Vec2PhonemeCTCTokenizer(str(tmp_path / "vocab.json"))
    extractor = transformers.Wav2Vec2FeatureExtractor(do_normalize=True, return_attention_mask=False)
    transformers.Wav2Vec2Processor(extractor, tokenizer).save_pretrained(tmp_path)
    config = dict(hidden_size=24, num_hidden_layers=1, num_attention_heads=2, intermediate_size=32, vocab_size=8)
    convolutions = dict(conv_dim=(16,) * 7, num_conv_pos_embeddings=16, num_conv_pos_embedding_groups=2)
    torch.manual_seed(0)
    model = transformers.Wav2Vec2ForCTC(transformers.Wav2Vec2Config(**config, **convolutions)).eval()
    with torch.no_grad():
        model.lm_head.weight.mul_(20)
        model.lm_head.bias[1:4] = -1e4  # A recogniser hears phones.
    model.save_pretrained(tmp_path)
    monkeypatch.setattr(torch_networks, "_PHONES", str(tmp_path))
    stand_in("Levenshtein", distance=edits)

    def heard(waveform):
        normal = (waveform - waveform.mean()) / np.sqrt(waveform.var() + 1e-7)
        with torch.no_grad():
            best = model(torch.from_numpy(normal[None].astype(np.float32))).logits[0].argmax(-1).tolist()
        runs = [index for place, index in enumerate(best) if place == 0 or best[place - 1] != index]
        return "".join(letters[index] for index in runs if index > 3)

    reference = speech_like(7, 12000).astype(np.float32)
    one, other = heard(clip), heard(reference)
    assert one and other and one != other
    assert intrusive.measure(clip, reference, ["lps"]) == {"lps": pytest.approx(1 - edits(one, other) / len(other))}
    assert intrusive.measure(clip, clip, ["lps"]) == {"lps": 1.0}


def edits(one: str, other: str) -> int:
    row = list(range(len(other) + 1))
    for place, letter in enumerate(one, 1):
        last, row = row, [place]
        for index, wanted in enumerate(other):
            row.append(min(last[index + 1] + 1, row[-1] + 1, last[index] + (letter != wanted)))
    return row[-1]


def test_lps_has_no_value_where_no_phone_is_heard_in_the_reference(clip, monkeypatch):
    monkeypatch.setattr(torch_networks, "_phones", lambda waveform: "")
    assert intrusive.measure(clip, clip, ["lps"]) == {}
    assert intrusive.why_without("lps", clip, clip) == "no phone is heard in the reference"


@pytest.mark.parametrize(
    ("load", "name"),
    [("_utmos", "UTMOS of the package utmos-pytorch"), ("_hubert", "mHuBERT of the hub"), ("_speaker", "RawNet3 of")],
)
def test_weights_that_cannot_be_downloaded_are_one_error(stand_in, load, name):
    def offline(*_, **__):
        raise OSError("no network")

    stand_in("utmos_pytorch", UTMOSScoreTorch=offline)
    stand_in("transformers", HubertModel=SimpleNamespace(from_pretrained=offline))
    stand_in("espnet_model_zoo")
    stand_in("espnet2.bin.spk_inference", Speech2Embedding=SimpleNamespace(from_pretrained=offline))
    with pytest.raises(WeightsMissing, match=rf"{name}.* could not be loaded \(OSError: no network\); download it"):
        getattr(torch_networks, load)()


def test_what_to_install(monkeypatch):
    needed = {**intrusive.PACKAGES, **predictors.PACKAGES}
    extra = 'pip install "urgentmos_jax[predictors-torch]"'
    for name in ("utmos", "scoreq", "nisqa_mos", "sbert", "lps"):
        assert how_to_install(needed[name]) == extra
    assert how_to_install(needed["spksim"]).startswith(f"{extra} && pip install espnet espnet_model_zoo")
    assert how_to_install(needed["plcmos"]) == 'pip install "urgentmos_jax[predictors]"'
    monkeypatch.setitem(sys.modules, "espnet_model_zoo", None)
    with pytest.raises(ModuleNotFoundError, match="espnet_model_zoo is missing: pip install espnet"):
        torch_networks._speaker()
    monkeypatch.setattr(packages.importlib.util, "find_spec", lambda name: None if "torch" in name else object())
    assert not {"utmos", "scoreq", "nisqa_mos", "sbert", "lps", "spksim"} & {
        *intrusive.available(),
        *predictors.available(),
    }
    assert version_of("numpy") == np.__version__ and version_of("no_such_package") == "unknown"
