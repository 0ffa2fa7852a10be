"""Encoders from Hugging Face folders: the ways weights are stored, and what is refused."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import jax
import jax.numpy as jnp
import ml_dtypes
import numpy as np
import pytest
import safetensors.numpy
from flax import nnx

from tests.helpers.corpus import GOLDEN, speech_like
from tests.helpers.torch_writer import checkpoint, state_dict_file
from urgentmos_jax.encoders.registry import ENCODERS
from urgentmos_jax.weights.encoder_folder import CONFIG_FILES, load_encoder, read_config
from urgentmos_jax.weights.hub import ModelNotFound, find_folder
from urgentmos_jax.weights.published import PUBLISHED_ENCODERS
from urgentmos_jax.weights.rules import WeightsError, flat_state
from urgentmos_jax.weights.safetensors import DamagedFile

FAMILIES = ("wavlm-base", "wavlm-large", "wav2vec2-base", "wav2vec2-large-lv60", "hubert-base", "hubert-large")
WEIGHT_NORM = "encoder.pos_conv_embed.conv.parametrizations.weight.original"
QUERY = "encoder.layers.1.attention.q_proj.weight"

Tensors = dict[str, np.ndarray]


def weights(family: str = "wavlm-base") -> Tensors:
    return safetensors.numpy.load_file(GOLDEN / "encoders" / family / "model.safetensors")


@pytest.fixture
def folder(tmp_path) -> Path:
    """An encoder folder without weights."""
    for name in ("config.json", "preprocessor_config.json"):
        shutil.copy(GOLDEN / "encoders" / "wavlm-base" / name, tmp_path)
    return tmp_path


def as_safetensors(folder: Path, tensors: Tensors) -> None:
    safetensors.numpy.save_file(tensors, folder / "model.safetensors")


def as_torch(folder: Path, tensors: Tensors) -> None:
    (folder / "pytorch_model.bin").write_bytes(state_dict_file(tensors))


def as_shards(folder: Path, tensors: Tensors, stem: str = "model", suffix: str = "safetensors") -> None:
    names, files = sorted(tensors), {}
    for i in range(3):
        file = f"{stem}-{i + 1:05}-of-00003.{suffix}"
        part = {name: tensors[name] for name in names[i::3]}
        files |= dict.fromkeys(part, file)
        if suffix == "bin":
            (folder / file).write_bytes(state_dict_file(part))
        else:
            safetensors.numpy.save_file(part, folder / file)
    (folder / f"{stem}.{suffix}.index.json").write_text(json.dumps({"metadata": {}, "weight_map": files}))


def as_torch_shards(folder: Path, tensors: Tensors) -> None:
    as_shards(folder, tensors, "pytorch_model", "bin")


def with_prefix(prefix: str):
    def write(folder: Path, tensors: Tensors) -> None:
        as_safetensors(folder, {prefix + name: tensor for name, tensor in tensors.items()})

    return write


def with_old_weight_norm(folder: Path, tensors: Tensors) -> None:
    names = {f"{WEIGHT_NORM}0": ".weight_g", f"{WEIGHT_NORM}1": ".weight_v"}
    conv = WEIGHT_NORM.removesuffix(".parametrizations.weight.original")
    assert names.keys() <= tensors.keys()
    as_torch(folder, {conv + names[name] if name in names else name: x for name, x in tensors.items()})


def with_pretraining_heads(folder: Path, tensors: Tensors) -> None:
    heads = (
        "quantizer.codevectors",
        "quantizer.weight_proj.bias",
        "project_q.weight",
        "project_hid.bias",
        "lm_head.bias",
    )
    found = {f"wavlm.{name}": tensor for name, tensor in tensors.items()}
    as_safetensors(folder, found | {name: np.ones((2, 3), np.float32) for name in heads})


WRITERS = {
    "safetensors": as_safetensors,
    "shards": as_shards,
    "torch": as_torch,
    "torch shards": as_torch_shards,
    "prefix wavlm.": with_prefix("wavlm."),
    "prefix wav2vec2.": with_prefix("wav2vec2."),
    "prefix hubert.": with_prefix("hubert."),
    "old weight norm": with_old_weight_norm,
    "pretraining heads": with_pretraining_heads,
}


def parameters(encoder: nnx.Module) -> Tensors:
    return {path: np.asarray(value[...], np.float32) for path, value in flat_state(encoder).items()}


def features(encoder: nnx.Module) -> np.ndarray:
    graph, params = nnx.split(encoder)
    clip = jnp.asarray(speech_like(1, 4000))[None]
    return np.asarray(jax.jit(lambda params: nnx.merge(graph, params)(clip, jnp.array([4000]))[0])(params))


@pytest.mark.parametrize("writer", WRITERS)
def test_every_way_to_store_weights_gives_the_same_encoder(writer: str, folder: Path):
    WRITERS[writer](folder, weights())
    found, wanted = (parameters(load_encoder(f)) for f in (folder, GOLDEN / "encoders" / "wavlm-base"))
    assert found.keys() == wanted.keys()
    for path, value in wanted.items():
        np.testing.assert_array_equal(found[path], value, err_msg=path)


def test_bfloat16_weights(folder: Path):
    rounded = {name: tensor.astype(ml_dtypes.bfloat16) for name, tensor in weights().items()}
    as_safetensors(folder, rounded)
    near, exact = load_encoder(folder), load_encoder(GOLDEN / "encoders" / "wavlm-base")
    for path, wanted in parameters(exact).items():
        found = flat_state(near)[path][...]
        assert found.dtype == np.float32, "the dtype of the weights is that of the computation"
        # 2 ** -8 for each of the two factors of the weight norm, and their norm.
        np.testing.assert_allclose(found, wanted, rtol=0.01, err_msg=path)
    assert features(near).dtype == np.float32
    as_safetensors(folder, {name: tensor.astype(np.float32) for name, tensor in rounded.items()})
    np.testing.assert_array_equal(
        parameters(load_encoder(folder))["position.kernel"], parameters(near)["position.kernel"]
    )


def test_safetensors_come_before_torch(folder: Path):
    as_safetensors(folder, weights())
    (folder / "pytorch_model.bin").write_bytes(b"never read")
    load_encoder(folder)


# What is refused.


def test_all_faults_of_the_weights_are_named_at_once(folder: Path):
    tensors = weights()
    missing = tensors.pop("encoder.layers.0.feed_forward.output_dense.bias")
    tensors["encoder.layers.9.layer_norm.weight"] = missing
    tensors[QUERY] = tensors[QUERY][:, :-1].copy()
    tensors["feature_projection.projection.bias"][3] = np.nan
    tensors["feature_projection.layer_norm.bias"][2] = -np.inf
    tensors["encoder.layers.2.layer_norm.weight"] = tensors["encoder.layers.2.layer_norm.weight"].astype(np.int32)
    as_safetensors(folder, tensors)
    with pytest.raises(WeightsError) as error:
        load_encoder(folder)
    text = str(error.value)
    assert "6 faults" in text and str(folder) in text
    assert "missing key encoder.layers.0.feed_forward.output_dense.bias" in text
    assert "unexpected key encoder.layers.9.layer_norm.weight" in text
    assert f"{QUERY} (32, 31)" in text
    assert "NaN or infinity in feature_projection.projection.bias" in text
    assert "NaN or infinity in feature_projection.layer_norm.bias" in text
    assert "dtype int32 in encoder.layers.2.layer_norm.weight" in text


def test_a_transposed_weight_is_refused(folder: Path):
    tensors = weights()
    key = "encoder.layers.0.feed_forward.output_dense.weight"
    assert tensors[key].shape[0] != tensors[key].shape[1]
    tensors[key] = tensors[key].T.copy()
    as_safetensors(folder, tensors)
    with pytest.raises(WeightsError, match=r"wrong shape: encoder.layers.0.feed_forward.output_dense.weight"):
        load_encoder(folder)


def test_one_weight_under_two_names(folder: Path):
    tensors = weights()
    as_safetensors(folder, tensors | {f"wavlm.{QUERY}": 2 * tensors[QUERY]})
    with pytest.raises(WeightsError, match=rf"several names.*'wavlm.{QUERY}'"):
        load_encoder(folder)


def test_shards(folder: Path):
    as_shards(folder, weights())
    shard = folder / "model-00002-of-00003.safetensors"
    content = shard.read_bytes()
    shard.unlink()
    with pytest.raises(WeightsError, match=f"missing.*{shard.name}"):
        load_encoder(folder)
    shard.write_bytes(content)
    first = folder / "model-00001-of-00003.safetensors"
    again = safetensors.numpy.load_file(first) | {QUERY: weights()[QUERY]}
    again |= safetensors.numpy.load_file(shard)
    safetensors.numpy.save_file(again, first)
    with pytest.raises(WeightsError, match="earlier shard"):
        load_encoder(folder)
    index = folder / "model.safetensors.index.json"
    index.write_text(json.dumps({"weight_map": {QUERY: "../model.safetensors"}}))
    with pytest.raises(WeightsError, match="outside its folder"):
        load_encoder(folder)
    for text in ("{", "[]", "{}", '{"weight_map": 3}'):
        index.write_text(text)
        with pytest.raises(WeightsError, match=index.name):
            load_encoder(folder)


def test_damaged_safetensors(folder: Path):
    path = folder / "model.safetensors"
    as_safetensors(folder, weights())
    whole = path.read_bytes()
    size = int.from_bytes(whole[:8], "little")
    header = whole[8 : 8 + size].rstrip()
    twice = header[:-1] + b"," + header[1:]
    damaged = {
        "nothing": b"",
        "half": whole[: len(whole) // 2],
        "a byte short": whole[:-1],
        "a byte long": whole + b"\0",
        "huge header": (1 << 62).to_bytes(8, "little") + whole[8:],
        "text": b"<html>" * 100,
    }
    for name, content in damaged.items():
        path.write_bytes(content)
        with pytest.raises(DamagedFile, match=r"model.safetensors"):
            pytest.fail(f"{name}: {load_encoder(folder)}")
    path.write_bytes(len(twice).to_bytes(8, "little") + twice + whole[8 + size :])
    with pytest.raises(DamagedFile, match="twice"):
        load_encoder(folder)


def test_no_weights(folder: Path):
    with pytest.raises(WeightsError, match=r"neither model.safetensors nor pytorch_model.bin"):
        load_encoder(folder)
    (folder / "pytorch_model.bin").write_bytes(checkpoint([1, 2]))
    with pytest.raises(WeightsError, match="not a state dict"):
        load_encoder(folder)


def change_config(folder: Path, **changes) -> None:
    path = folder / "config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))


def test_settings_that_are_not_supported_are_named_at_once(folder: Path):
    change_config(folder, conv_pos_batch_norm=True, add_adapter=True, hidden_act="relu")
    (folder / "preprocessor_config.json").unlink()
    with pytest.raises(ValueError) as error:
        read_config(folder)
    for words in ("conv_pos_batch_norm", "add_adapter", "hidden_act", "preprocessor_config.json is missing"):
        assert words in str(error.value)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"model_type": "bert"}, "is 'bert', must be one of"),
        ({"model_type": ["wavlm"]}, "must be one of"),
        ({"hidden_size": "wide"}, "hidden_size"),
        ({"hidden_size": None}, "hidden_size"),
        ({"hidden_size": 33}, "heads do not divide"),
        ({"conv_dim": [32, 32]}, "conv_dim"),
        ({"conv_kernel": 3}, "conv_kernel"),
        ({"conv_stride": [5, 2, 2, 2, 2, 2, 2.5]}, "conv_stride.6 is 2.5"),
        ({"num_attention_heads": 0}, "num_attention_heads"),
        ({"num_hidden_layers": -1}, "num_hidden_layers"),
        ({"num_hidden_layers": 10**30}, "num_hidden_layers"),
        ({"layer_norm_eps": "small"}, "layer_norm_eps"),
        ({"feat_extract_norm": "batch"}, "feat_extract_norm"),
        ({"do_stable_layer_norm": "yes"}, "do_stable_layer_norm"),
    ],
)
def test_odd_configs_are_refused(folder: Path, changes: dict, words: str):
    change_config(folder, **changes)
    as_safetensors(folder, weights())
    with pytest.raises(ValueError) as error:
        load_encoder(folder)
    assert words in str(error.value) and str(folder) in str(error.value)
    assert not isinstance(error.value, WeightsError), "the config is at fault"


@pytest.mark.parametrize("name", ["config.json", "preprocessor_config.json"])
@pytest.mark.parametrize("content", [b"", b"[]", b"{", b"\xff\xfe", b"null"])
def test_broken_json_is_named(folder: Path, name: str, content: bytes):
    (folder / name).write_bytes(content)
    with pytest.raises(ValueError, match=f"{name} cannot be read"):
        read_config(folder)


def test_other_sample_rates_are_refused(folder: Path):
    (folder / "preprocessor_config.json").write_text('{"sampling_rate": 8000}')
    with pytest.raises(ValueError, match="sampling_rate is 8000"):
        read_config(folder)


def test_what_is_no_folder(tmp_path: Path):
    file = tmp_path / "model.pt"
    file.write_bytes(b"")
    for source in (tmp_path / "none", file, "name", "a/b/c", "./a/b"):
        with pytest.raises(ModelNotFound, match="folder"):
            find_folder(source, files=CONFIG_FILES)


# Configs.


def test_defaults_that_a_config_may_leave_out(folder: Path):
    """Of microsoft/wavlm-base-plus, whose config.json leaves out what is usual."""
    sizes = {"hidden_size": 768, "num_hidden_layers": 12, "num_attention_heads": 12, "intermediate_size": 3072}
    norms = {"feat_extract_norm": "group", "do_stable_layer_norm": False}
    (folder / "config.json").write_text(json.dumps({"model_type": "wavlm", **sizes, **norms}))
    (folder / "preprocessor_config.json").write_text('{"do_normalize": false}')
    assert read_config(folder) == PUBLISHED_ENCODERS["microsoft/wavlm-base-plus"]


@pytest.mark.torch
@pytest.mark.parametrize("model_type", ["wav2vec2", "hubert", "wavlm"])
def test_defaults_are_those_of_transformers(model_type: str, folder: Path):
    from transformers import AutoConfig

    every = AutoConfig.for_model(model_type).to_dict()
    (folder / "config.json").write_text(json.dumps(every))
    wanted = read_config(folder)
    needed = ("hidden_size", "num_hidden_layers", "num_attention_heads", "intermediate_size")
    needed += ("feat_extract_norm", "do_stable_layer_norm", "model_type")
    (folder / "config.json").write_text(json.dumps({key: every[key] for key in needed}))
    assert read_config(folder) == wanted
    (folder / "config.json").write_text(json.dumps({"model_type": model_type}))
    assert read_config(folder) == wanted


@pytest.mark.parametrize("family", FAMILIES)
def test_random_initialisation_of_a_config(family: str):
    config = read_config(GOLDEN / "encoders" / family)
    encoder = ENCODERS[config.model_type](config, rngs=nnx.Rngs(3))
    found = features(encoder)
    assert found.shape == (1, config.frame_lengths(4000), config.hidden_size)
    assert np.isfinite(found).all() and found.std(1).min() > 1e-3, "frames differ"


def test_loading_imports_no_torch(folder: Path):
    as_torch(folder, weights())
    code = "import sys; from urgentmos_jax.weights.encoder_folder import load_encoder; load_encoder(sys.argv[1])\n"
    code += "assert not {'torch', 'transformers'} & sys.modules.keys(), 'imported'"
    subprocess.run([sys.executable, "-c", code, folder], check=True, timeout=120)


@pytest.mark.torch  # which transformers imports, in seconds
def test_transformers_fills_in_what_is_needed(folder: Path):
    content = json.loads((folder / "config.json").read_text())
    wanted = read_config(folder)
    del content["feat_extract_norm"], content["do_stable_layer_norm"]  # "group" and false by default
    (folder / "config.json").write_text(json.dumps(content))
    assert read_config(folder) == wanted
    change_config(folder, hidden_size="wide")
    with pytest.raises(ValueError, match="hidden_size"):
        read_config(folder)
