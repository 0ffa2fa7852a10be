"""Train-time regularisation of encoders: dropout, SpecAugment and LayerDrop where a key is given, none without one."""

import dataclasses
import json
import math
import shutil
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import safetensors.numpy
from flax import nnx

from configs.compact import get_config
from tests.helpers.corpus import GOLDEN, speech_like, write_corpus
from urgentmos_jax.encoders.compact import CompactConfig
from urgentmos_jax.encoders.registry import make_encoder
from urgentmos_jax.encoders.spec_augment import sample_spans
from urgentmos_jax.encoders.wav2vec2 import EncoderLayer, Wav2Vec2, Wav2Vec2Config
from urgentmos_jax.encoders.whisper import WhisperConfig
from urgentmos_jax.metrics import Metric
from urgentmos_jax.model.transformer import TransformerConfig
from urgentmos_jax.model.urgentmos import EncoderConfig, ModelConfig, UrgentMOS
from urgentmos_jax.schema import as_json, read
from urgentmos_jax.training.config import read_config
from urgentmos_jax.training.start import fine_tuned_module
from urgentmos_jax.training.step import split_module
from urgentmos_jax.training.trainer import Trainer
from urgentmos_jax.weights.encoder_folder import find_config, load_encoder
from urgentmos_jax.weights.model_folder import load_folder, save_folder
from urgentmos_jax.weights.rules import WeightsError, flat_state

FAMILIES = ("wavlm-base", "wavlm-large", "wav2vec2-base", "hubert-large")
QUIET = dict(hidden_dropout=0.0, attention_dropout=0.0, activation_dropout=0.0, feat_proj_dropout=0.0, layerdrop=0.0)
QUIET |= dict(apply_spec_augment=False, mask_feature_prob=0.0)
RATES_ON = dict(hidden_dropout=0.1, attention_dropout=0.1, activation_dropout=0.2, feat_proj_dropout=0.1, layerdrop=0.3)
RATES_ON |= dict(apply_spec_augment=True, mask_time_prob=0.2, mask_feature_prob=0.4, mask_feature_length=4)
# Keys of an architecture in model folders of the first format.
FIRST_KEYS = {"model_type", "hidden_size", "num_hidden_layers", "num_attention_heads", "intermediate_size"}
FIRST_KEYS |= {"feat_extract_norm", "do_stable_layer_norm", "do_normalize", "conv_bias", "conv_dim", "conv_kernel"}
FIRST_KEYS |= {"conv_stride", "num_conv_pos_embeddings", "num_conv_pos_embedding_groups", "layer_norm_eps"}
FIRST_KEYS |= {"feat_proj_layer_norm", "num_buckets", "max_bucket_distance"}
SAMPLES = 16000
CLIP = speech_like(3, SAMPLES)


def folder_with_rates(folder: Path, family: str, **rates) -> Path:
    """The golden encoder with other rates in its config.json."""
    shutil.copytree(GOLDEN / "encoders" / family, folder, ignore=shutil.ignore_patterns("*.npz"), dirs_exist_ok=True)
    path = folder / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | QUIET | rates))
    return folder


def encode(encoder: nnx.Module, seeds: range | None, rows: int = 1, states="all", lengths=None) -> np.ndarray:
    """States of the clip in `rows` rows for each seed, [seeds, (states,) rows, F, D]; without seeds in evaluation."""
    graph, params = nnx.split(encoder)
    waveform, lengths = jnp.tile(CLIP, (rows, 1)), jnp.array(lengths or [SAMPLES] * rows)

    @jax.jit
    def run(params, key):
        return nnx.merge(graph, params)(waveform, lengths, states=states, dropout_key=key)[0]

    if seeds is None:
        return np.asarray(run(params, None))
    return np.stack([run(params, jax.random.key(seed)) for seed in seeds])


def tiny(**changes) -> Wav2Vec2Config:
    sizes = dict(hidden_size=24, num_hidden_layers=4, num_attention_heads=3, intermediate_size=40, conv_dim=(16,) * 7)
    sizes |= dict(num_conv_pos_embeddings=8, num_conv_pos_embedding_groups=3, model_type="wavlm")
    kind = dict(feat_extract_norm="layer", do_stable_layer_norm=True, do_normalize=True)
    return Wav2Vec2Config(**sizes | kind | changes)


def without_positions(config: Wav2Vec2Config) -> Wav2Vec2:
    """Its state 0 is the projected frames (in the layout with the norms first)."""
    encoder = make_encoder(config, rngs=nnx.Rngs(0))
    encoder.position.kernel[...] = jnp.zeros_like(encoder.position.kernel[...])
    return encoder


# Evaluation, and keys.


@pytest.mark.slow
@pytest.mark.parametrize("family", FAMILIES)
def test_evaluation_is_as_without_regularisation(family: str, tmp_path: Path):
    folder = folder_with_rates(tmp_path, family, **RATES_ON)
    plain, regularised = load_encoder(folder), load_encoder(folder, regularisation=True)
    wanted = encode(plain, None)
    assert (encode(regularised, None) == wanted).all()
    assert (encode(plain, range(1))[0] == wanted).all(), "no rate, no regularisation"
    found = encode(regularised, range(2))
    assert (encode(regularised, range(2)) == found).all() and np.isfinite(found).all()
    for layer in range(len(wanted)):
        assert np.abs(found[0, layer] - wanted[layer]).max() > 0.01
        assert np.abs(found[0, layer] - found[1, layer]).max() > 0.01


@pytest.mark.slow
def test_each_row_is_regularised_by_itself_and_padding_has_no_part(tmp_path: Path):
    encoder = load_encoder(folder_with_rates(tmp_path, "wavlm-large", **RATES_ON), regularisation=True)
    rows = encode(encoder, range(1), rows=2)[0]
    assert np.abs(rows[:, 0] - rows[:, 1]).max() > 0.1
    encoder = without_positions(tiny(mask_time_prob=0.9, mask_time_length=3, feat_proj_dropout=0.2))
    lengths = [SAMPLES, 9000]
    first, frames = encode(encoder, range(1), rows=2, lengths=lengths)[0, 0, 1], encoder.config.frame_lengths(9000)
    assert (first[frames:] == 0).all() and (first[:frames] != 0).any(1).all()


def test_random_initialisation_is_that_without_regularisation():
    plain, regularised = (flat_state(make_encoder(c, rngs=nnx.Rngs(0))) for c in (tiny(), tiny(mask_time_prob=0.1)))
    assert regularised.keys() - plain.keys() == {"masked"}
    assert all((regularised[path][...] == value[...]).all() for path, value in plain.items())
    assert 0 <= regularised["masked"][...].min() < 0.3 < 0.7 < regularised["masked"][...].max() <= 1


# SpecAugment.


def spans(lengths: list[int], size: int, *shape, draws: int) -> np.ndarray:
    """Masks [draws, rows, size]."""
    rows = jnp.tile(jnp.array(lengths), draws)
    found = jax.jit(sample_spans, static_argnums=(2, 3, 4, 5))(jax.random.key(1), rows, size, *shape)
    return np.asarray(found).reshape(draws, len(lengths), size)


def expected_share(length: int, probability: float, span: int, least: int) -> np.ndarray:
    """How often each place lies in a span, where n of the starts are drawn without replacement."""
    starts = length - span + 1
    if starts < 1:
        return np.zeros(length)
    wanted = probability * length / span
    share = np.zeros(length)
    for count, weight in ((int(wanted), 1 - wanted % 1), (int(wanted) + 1, wanted % 1)):
        count = min(max(count, least), length // span)
        for place in range(length):
            covering = min(place, starts - 1) - max(0, place - span + 1) + 1
            share[place] += weight * (1 - math.comb(starts - covering, count) / math.comb(starts, count))
    return share


CASES = [(0.05, 10, 2), (0.65, 10, 2), (0.3, 4, 0), (1.0, 1, 0), (0.0, 10, 0)]
LENGTHS = [0, 3, 9, 10, 11, 19, 20, 49, 120]


@pytest.mark.parametrize("shape", CASES)
def test_spans(shape: tuple):
    draws = 4000
    found = spans(LENGTHS, 130, *shape, draws=draws)
    for row, length in enumerate(LENGTHS):
        assert not found[:, row, length:].any(), "beyond the row"
        wanted = expected_share(length, *shape)
        error = found[:, row, :length].mean(0) - wanted
        assert np.abs(error).max(initial=0) < 5 * 0.5 / np.sqrt(draws), length
        lengths_of_runs = np.diff(np.flatnonzero(np.diff(np.pad(found[:, row], ((0, 0), (1, 1))).ravel())))[::2]
        assert (lengths_of_runs >= shape[1]).all()


def test_numbers_of_spans():
    """Rounded at random, at least the least, and no more than fit side by side."""
    counts = spans([37], 40, 0.25, 1, 0, draws=4000).sum((1, 2))
    assert set(counts) == {9, 10} and abs(counts.mean() - 9.25) < 0.05
    assert set(spans([30, 9, 10, 25], 40, 0.05, 10, 2, draws=500)[:, 1].sum(1)) == {0}
    assert set(spans([10], 40, 0.05, 10, 2, draws=500)[:, 0].sum(1)) == {10}
    assert {11, 20} <= set(spans([25], 40, 0.05, 10, 2, draws=500)[:, 0].sum(1)) <= set(range(11, 21))


@pytest.mark.slow
def test_masked_frames_and_features():
    masks = dict(mask_time_prob=0.4, mask_time_length=4, mask_feature_prob=0.3, mask_feature_length=3)
    encoder = without_positions(tiny(**masks))
    plain, found = encode(encoder, None)[0], encode(encoder, range(8), rows=3)[:, 0]
    zero = (found == 0).all(2)
    assert 0.1 < zero.mean() < 0.3
    kept = ~zero[:, :, None]
    masked = ((found == np.asarray(encoder.masked[...])) | ~kept).all(3)
    assert 0.2 < masked.mean() < 0.4
    rest = np.broadcast_to(plain, found.shape)
    rest = np.where(kept & ~masked[..., None], rest, found)
    np.testing.assert_allclose(found, rest, rtol=1e-5, atol=1e-5, err_msg="the rest is as in evaluation")
    assert len(np.unique(masked.reshape(24, -1), axis=0)) > 20 and len(np.unique(zero.reshape(24, -1), axis=0)) > 10


def test_the_vector_of_masked_frames_comes_from_the_checkpoint(tmp_path: Path):
    folder = folder_with_rates(tmp_path, "hubert-large", **RATES_ON)
    tensors = safetensors.numpy.load_file(folder / "model.safetensors")
    encoder = load_encoder(folder, regularisation=True)
    np.testing.assert_array_equal(encoder.masked[...], tensors["masked_spec_embed"])
    assert load_encoder(folder).masked is None
    del tensors["masked_spec_embed"]
    safetensors.numpy.save_file(tensors, folder / "model.safetensors")
    with pytest.raises(WeightsError, match="missing key masked_spec_embed"):
        load_encoder(folder, regularisation=True)
    assert load_encoder(folder).masked is None
    folder_with_rates(folder, "hubert-large", **RATES_ON | {"apply_spec_augment": False})
    config = load_encoder(folder, regularisation=True).config
    assert config.mask_time_prob == config.mask_feature_prob == 0 and config.layerdrop == 0.3


# Dropout.


def layer_draws(rates: dict[str, float], silent: str, draws: int) -> tuple[np.ndarray, np.ndarray]:
    """Output of a layer in evaluation and with keys, one of its two branches silent: linear in what is dropped."""
    layer = EncoderLayer(tiny(model_type="wav2vec2", **rates), rngs=nnx.Rngs(0))
    kernel = {"attention": layer.attention.out, "feed": layer.feed_out}[silent].kernel
    kernel[...] = jnp.zeros_like(kernel[...])
    h = jax.random.normal(jax.random.key(5), (1, 12, 24))
    mask = jnp.ones((1, 12), bool)
    keys = jax.random.split(jax.random.key(6), draws)
    found = jax.jit(jax.vmap(lambda key: layer(h, mask, None, dropout_key=key)))(keys)
    return np.asarray(layer(h, mask, None)), np.asarray(found)


@pytest.mark.parametrize(
    ("rate", "silent"),
    [
        ("hidden_dropout", "feed"),
        ("hidden_dropout", "attention"),
        ("attention_dropout", "feed"),
        ("activation_dropout", "attention"),
    ],
)
def test_dropout_in_a_layer(rate: str, silent: str):
    """It leaves the mean as it is, and its variance grows as rate / (1 - rate)."""
    draws, variances = 3000, []
    for value in (0.1, 0.5):
        wanted, found = layer_draws({rate: value}, silent, draws)
        error = (found.mean(0) - wanted) / (found.std(0) + 1e-9)
        assert np.abs(error).max() < 6 / np.sqrt(draws)
        variances.append(found.var(0).mean())
    assert variances[0] > 1e-7 and variances[1] / variances[0] == pytest.approx(9, rel=0.1)
    other = {"feed": "attention", "attention": "feed"}[silent]
    if rate != "hidden_dropout":
        wanted, found = layer_draws({rate: 0.5}, other, 3)
        np.testing.assert_allclose(found, np.broadcast_to(wanted, found.shape), atol=1e-6)


@pytest.mark.parametrize("rate", ["feat_proj_dropout", "hidden_dropout"])
@pytest.mark.parametrize("stable", [True, False])
def test_dropout_before_the_layers(rate: str, stable: bool):
    encoder = without_positions(tiny(do_stable_layer_norm=stable, **{rate: 0.3}))
    plain, found = encode(encoder, None)[0], encode(encoder, range(40), rows=4)[:, 0]
    if not stable and rate == "feat_proj_dropout":
        assert (found != 0).mean() > 0.99, "the norm follows"
        return
    dropped = found == 0
    assert dropped.mean() == pytest.approx(0.3, abs=0.01)
    np.testing.assert_allclose(found, np.where(dropped, 0, plain / 0.7), rtol=1e-4, atol=1e-5)


# LayerDrop.


@pytest.mark.parametrize("model_type", ["wavlm", "wav2vec2"])
def test_every_layer_is_dropped(model_type: str):
    encoder = make_encoder(tiny(model_type=model_type, layerdrop=1.0), rngs=nnx.Rngs(0))
    plain, found = encode(encoder, None), encode(encoder, range(1))[0]
    kept = int(model_type == "wavlm")
    assert found.shape == plain.shape, "a skipped layer has a state"
    np.testing.assert_allclose(found[: kept + 1], plain[: kept + 1], rtol=1e-5, atol=1e-6)
    assert (found[kept:] == found[kept]).all() and np.abs(np.diff(plain, axis=0)).max((1, 2, 3)).min() > 1e-3


@pytest.mark.slow
@pytest.mark.parametrize("model_type", ["wavlm", "hubert"])
def test_some_layers_are_dropped(model_type: str):
    encoder = make_encoder(tiny(model_type=model_type, layerdrop=0.4), rngs=nnx.Rngs(0))
    found = encode(encoder, range(300), rows=2)
    same = (found[:, 1:] == found[:, :-1]).all((3, 4))
    assert (same[..., 0] == same[..., 1]).all(), "of all rows"
    share = same[..., 0].mean(0)
    wanted = [0 if model_type == "wavlm" else 0.4, 0.4, 0.4, 0.4]
    np.testing.assert_allclose(share, wanted, atol=0.12)
    mixed = [(same[:, i, 0] & ~same[:, j, 0]).any() for i in range(1, 4) for j in range(1, 4) if i != j]
    assert all(mixed), "each by itself"


def test_a_sum_of_states_counts_skipped_layers():
    encoder = make_encoder(tiny(layerdrop=0.5, hidden_dropout=0.1), rngs=nnx.Rngs(0))
    weights = jnp.array([0.1, 0.3, 0.2, 0.15, 0.25])
    wanted = np.einsum("s,nsbfd->nbfd", weights, encode(encoder, range(5)))
    for remat in (False, True):
        encoder.layers.remat = remat
        np.testing.assert_allclose(encode(encoder, range(5), states=weights), wanted, rtol=1e-4, atol=1e-5)


# Configs.


def test_defaults_of_rates_that_a_config_leaves_out(tmp_path: Path):
    """Where transformers' default is ours, it is not asked; another test compares them."""
    folder = folder_with_rates(tmp_path, "wavlm-base", **RATES_ON)
    values = json.loads((folder / "config.json").read_text())
    for key in ("apply_spec_augment", "mask_time_length", "mask_time_min_masks", "feat_proj_dropout"):
        del values[key]
    (folder / "config.json").write_text(json.dumps(values))
    config = find_config(folder, regularisation=True)[1]
    assert (config.mask_time_prob, config.mask_time_length, config.mask_time_min_masks) == (0.2, 10, 2)
    assert config.feat_proj_dropout == 0 and config.mask_feature_min_masks == 0 and config.layerdrop == 0.3
    assert find_config(folder)[1] == config.without_regularisation() != config


@pytest.mark.torch
@pytest.mark.parametrize("model_type", ["wav2vec2", "hubert", "wavlm"])
def test_regularisation_defaults_are_those_of_transformers(model_type: str, tmp_path: Path):
    from transformers import AutoConfig

    every = AutoConfig.for_model(model_type).to_dict()
    (tmp_path / "preprocessor_config.json").write_text("{}")
    (tmp_path / "config.json").write_text(json.dumps(every))
    wanted = find_config(tmp_path, regularisation=True)[1]
    assert wanted.hidden_dropout == wanted.layerdrop == 0.1 and wanted.mask_time_prob == 0.05
    without = wanted.without_regularisation()
    rates = {f.name for f in dataclasses.fields(wanted) if getattr(without, f.name) == f.default}
    (tmp_path / "config.json").write_text(json.dumps({key: every[key] for key in every if key not in rates}))
    assert find_config(tmp_path, regularisation=True)[1] == wanted


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        (dict(hidden_dropout=1.5), "hidden_dropout"),
        (dict(layerdrop=-0.1), "layerdrop"),
        (dict(mask_time_length=0), "mask_time_length is 0, expected a whole number from 1"),
        (dict(mask_time_min_masks=-1), "mask_time_min_masks is -1, expected a whole number from 0"),
        (dict(attention_dropout="none"), "attention_dropout"),
    ],
)
def test_odd_rates_are_refused(changes: dict, words: str, tmp_path: Path):
    folder = folder_with_rates(tmp_path, "wavlm-base", **RATES_ON | changes)
    with pytest.raises(ValueError, match=words):
        load_encoder(folder, regularisation=True)
    load_encoder(folder)


def test_families_without_regularisation_say_so():
    for family in ("whisper", "qwen2-audio", "qwen3-omni"):
        with pytest.raises(ValueError, match=rf"{family}: .* has no train-time regularisation .*; set noise=False"):
            load_encoder(GOLDEN / "encoders" / family, regularisation=True)
    config = WhisperConfig("whisper", 80, 8, 1, 2, 12)
    with pytest.raises(ValueError, match=r"whisper has no train-time regularisation .*; set noise=False"):
        EncoderConfig(config, noise=True)
    EncoderConfig(CompactConfig(), noise=True)


# Against transformers.


def reference_draws(folder: Path, calls: int, rows: int) -> np.ndarray:
    """Last layer of transformers in train mode, [calls, rows, F, D]."""
    import torch
    from transformers import AutoModel

    torch.manual_seed(0)
    np.random.seed(0)  # of SpecAugment
    model = AutoModel.from_pretrained(folder).train()
    clip = torch.from_numpy(CLIP)
    if json.loads((folder / "preprocessor_config.json").read_text())["do_normalize"]:
        clip = (clip - clip.mean()) / torch.sqrt(clip.var(correction=0) + 1e-7)
    with torch.no_grad():
        mask = torch.ones(rows, SAMPLES, dtype=torch.long)
        return np.stack([model(clip.tile(rows, 1), attention_mask=mask).last_hidden_state for _ in range(calls)])


RATES = {
    "hidden_dropout": dict(hidden_dropout=0.2),
    "attention_dropout": dict(attention_dropout=0.3),
    "activation_dropout": dict(activation_dropout=0.3),
    "feat_proj_dropout": dict(feat_proj_dropout=0.2),
    "layerdrop": dict(layerdrop=0.3),
    "mask_time": dict(apply_spec_augment=True, mask_time_prob=0.3),
    "mask_feature": dict(apply_spec_augment=True, mask_time_prob=0.0, mask_feature_prob=0.2, mask_feature_length=4),
}


# Both layouts with each kind of regularisation; mask_feature fails in transformers' WavLM, LayerDrop needs many calls.
COMPARED = [("wavlm-base", kind) for kind in RATES if kind != "mask_feature"]
COMPARED += [("hubert-large", kind) for kind in RATES if kind != "layerdrop"]


@pytest.mark.torch
@pytest.mark.parametrize(("family", "kind"), COMPARED)
def test_regularisation_has_the_mean_and_deviation_of_transformers(family: str, kind: str, tmp_path: Path):
    folder = folder_with_rates(tmp_path, family, **RATES[kind])
    tensors = safetensors.numpy.load_file(folder / "model.safetensors")
    # The layers count for as much as their input does.
    grown = {name: 6 * x for name, x in tensors.items() if name.endswith(("out_proj.weight", "output_dense.weight"))}
    safetensors.numpy.save_file(tensors | grown, folder / "model.safetensors", {"format": "pt"})
    encoder = load_encoder(folder, regularisation=True)
    # LayerDrop is drawn once a call.
    calls, rows = (150, 4) if kind == "layerdrop" else (20, 40)
    found = encode(encoder, range(calls), rows=rows, states="last").reshape(calls * rows, -1)
    wanted = reference_draws(folder, calls, rows).reshape(calls * rows, -1)
    deviation = np.linalg.norm(wanted.std(0))
    assert np.linalg.norm(found.mean(0) - wanted.mean(0)) < 0.12 * deviation
    assert np.linalg.norm(found.std(0) - wanted.std(0)) < 0.06 * deviation
    assert deviation > 0.01 * np.linalg.norm(wanted.mean(0))


# Models.


def model_of(*encoders: EncoderConfig) -> UrgentMOS:
    category = TransformerConfig(layers=1, heads=2, feedforward=12, dropout=0.0)
    metrics = {"quality": {"mos_overall": Metric(1, 5, True)}}
    return UrgentMOS(ModelConfig(encoders, metrics, width=8, category=category), rngs=nnx.Rngs(0))


@pytest.mark.slow
def test_a_frozen_encoder_with_rates():
    architecture = tiny(hidden_dropout=0.1, layerdrop=0.2, mask_time_prob=0.1)
    waveform, lengths = jnp.asarray(CLIP)[None], jnp.array([SAMPLES])

    @nnx.jit
    def encode(module: UrgentMOS, key: jax.Array | None) -> jax.Array:
        return module.encode(waveform, lengths, dropout_key=key).by_category["quality"]

    def features(module: UrgentMOS, seed: int | None) -> np.ndarray:
        return np.asarray(encode(module, None if seed is None else jax.random.key(seed)))

    quiet, regularised, trained = (
        model_of(EncoderConfig(architecture, freeze=freeze, noise=noise))
        for freeze, noise in ((True, False), (True, True), (False, False))
    )
    for module in (quiet, regularised, trained):
        assert (features(module, None) == features(quiet, None)).all()
    assert (features(quiet, 1) == features(quiet, None)).all()
    for module in (regularised, trained):
        assert (features(module, 1) == features(module, 1)).all()
        assert np.abs(features(module, 1) - features(module, 2)).max() > 1e-3
    _, free, frozen = split_module(regularised)
    names = {".".join(map(str, path)) for path, _ in nnx.to_flat_state(free)}
    assert names and not any(name.startswith("encoders.") for name in names)
    assert len(nnx.to_flat_state(frozen)) == len(flat_state(regularised.encoders))
    graph, free, frozen = split_module(trained)

    def total(free: nnx.State) -> jax.Array:
        return jnp.square(encode(nnx.merge(graph, free, frozen), jax.random.key(3))).sum()

    assert np.abs(jax.jit(jax.grad(total))(free)["encoders"][0]["masked"][...]).max() > 0


def test_regularisation_comes_back_from_a_model_folder(tmp_path: Path):
    module = model_of(EncoderConfig(tiny(hidden_dropout=0.1, layerdrop=0.2, mask_time_prob=0.1), noise=True))
    save_folder(tmp_path / "model", module, {})
    found, _ = load_folder(tmp_path / "model")
    assert found.config == module.config and found.config.encoders[0].noise
    assert (found.encoders[0].masked[...] == module.encoders[0].masked[...]).all()


def test_a_folder_from_before_regularisation_was_known(model_folder: Path, tmp_path: Path):
    folder = shutil.copytree(model_folder, tmp_path / "model")
    content = json.loads((folder / "config.json").read_text())
    encoder = content["model"]["encoders"][0]
    del encoder["noise"]
    for name in set(encoder["architecture"]) - FIRST_KEYS:
        del encoder["architecture"][name]
    assert set(encoder["architecture"]) == FIRST_KEYS
    (folder / "config.json").write_text(json.dumps(content))
    old, new = load_folder(folder)[0], load_folder(model_folder)[0]
    assert old.config == new.config == read(type(old.config), as_json(old.config))
    for path, value in flat_state(new).items():
        assert (flat_state(old)[path][...] == value[...]).all()


def run_config(folder: Path, root: Path, *, noise: bool):
    values = get_config()
    values.data.update(root=str(root), valid=())
    values.batch = dict(seconds=3.0, clips=4, accumulate=1)
    shared = dict(layer_aggregation=True, freeze=True, gradient_scale=0.1, dtype="float32")
    values.model.encoders = dict(wavlm=dict(pretrained=str(folder), noise=noise, **shared))
    values.model.width = 8
    values.model.category.update(dict(heads=2, feedforward=12))
    values.update(dict(updates=1, save_every=1, validate_every=100, log_every=1))
    return values


@pytest.mark.long
def test_runs_with_rates(tmp_path: Path):
    """From a pretrained encoder, and from models that were made with regularisation and without."""
    folder = folder_with_rates(tmp_path / "encoder", "wavlm-base", **RATES_ON)
    vector = safetensors.numpy.load_file(folder / "model.safetensors")["masked_spec_embed"]
    write_corpus(tmp_path / "mine" / "train", [9000] * 4)
    trainer = Trainer(run_config(folder, tmp_path, noise=True), tmp_path / "run", devices=jax.devices()[:1])
    before = {path: np.asarray(x[...]) for path, x in flat_state(trainer.module()).items()}
    np.testing.assert_array_equal(before["encoders.0.masked"], vector)
    trainer.run()
    moved = {path for path, x in flat_state(trainer.module()).items() if (np.asarray(x[...]) != before[path]).any()}
    assert moved and not any(path.startswith("encoders.") for path in moved)
    trainer.export(tmp_path / "regularised")
    assert load_folder(tmp_path / "regularised")[0].config.encoders[0].architecture.layerdrop == 0.3

    with_rates, without = (read_config(run_config(folder, tmp_path, noise=noise)).model for noise in (True, False))
    for source, settings in (("regularised", with_rates), ("regularised", without), ("quiet", with_rates)):
        given = flat_state(load_folder(tmp_path / source)[0])
        found = fine_tuned_module(settings, 7, str(tmp_path / source))
        assert found.config.encoders[0].architecture == find_config(folder, regularisation=settings is with_rates)[1]
        state = flat_state(found)
        assert all((state[path][...] == given[path][...]).all() for path in state.keys() & given.keys())
        if settings is with_rates:
            np.testing.assert_array_equal(state["encoders.0.masked"][...], vector)
        else:
            assert "encoders.0.masked" not in state
            save_folder(tmp_path / "quiet", found, {})
    folder_with_rates(folder, "wavlm-base", **RATES_ON, layer_norm_eps=1e-6)
    with pytest.raises(WeightsError, match="not the encoder of"):
        fine_tuned_module(with_rates, 7, str(tmp_path / "quiet"))
