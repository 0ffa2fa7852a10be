"""Whisper, Qwen2-Audio and Qwen3-Omni in folders: those of larger models, bad ones, and in bfloat16."""

import dataclasses
import json
import shutil
from pathlib import Path

import jax
import numpy as np
import pytest
import safetensors.numpy
from flax import nnx

from tests.helpers.corpus import GOLDEN, speech_like
from tests.helpers.models import model_config, on_one_device, random_module
from urgentmos_jax.weights.encoder_folder import load_encoder, read_config
from urgentmos_jax.weights.model_folder import load_folder, save_folder
from urgentmos_jax.weights.rules import WeightsError, flat_state

FAMILIES = ("whisper", "qwen2-audio", "qwen3-omni")


@pytest.mark.parametrize("family", FAMILIES)
def test_within_a_larger_model(family: str, tmp_path: Path):
    """The audio tower in shards of a whole model; a shard without any of it need not be there."""
    source = GOLDEN / "encoders" / family
    config = json.loads((source / "config.json").read_text())
    tensors = safetensors.numpy.load_file(source / "model.safetensors")
    encoder = load_encoder(source)
    tensors = {key.removeprefix("encoder."): value for key, value in tensors.items() if not key.startswith("decoder.")}
    prefix, whole, other = {
        "whisper": ("model.encoder.", config, "model.decoder.x"),
        "qwen2-audio": (
            "audio_tower.",
            {"model_type": "qwen2_audio", "audio_config": config},
            "language_model.model.x",
        ),
        "qwen3-omni": (
            "thinker.audio_tower.",
            {"model_type": "qwen3_omni_moe", "thinker_config": {"audio_config": config}},
            "thinker.model.x",
        ),
    }[family]
    names = sorted(tensors)
    half = len(names) // 2
    places = {}
    for number, part in enumerate((names[:half], names[half:])):
        name = f"model-{number}.safetensors"
        safetensors.numpy.save_file({prefix + key: tensors[key] for key in part}, tmp_path / name)
        places |= {prefix + key: name for key in part}
    places[other] = "model-9.safetensors"
    (tmp_path / "model.safetensors.index.json").write_text(json.dumps({"weight_map": places}))
    (tmp_path / "config.json").write_text(json.dumps(whole))
    shutil.copy(source / "preprocessor_config.json", tmp_path)
    found = load_encoder(tmp_path)
    for path, value in flat_state(encoder).items():
        assert (value[...] == flat_state(found)[path][...]).all()

    places[prefix + names[0]] = "model-9.safetensors"
    (tmp_path / "model.safetensors.index.json").write_text(json.dumps({"weight_map": places}))
    with pytest.raises(WeightsError, match=r"missing: \['model-9.safetensors'\]"):
        load_encoder(tmp_path)


@pytest.mark.parametrize("family", FAMILIES)
def test_bad_folders_name_every_fault(family: str, tmp_path: Path):
    source = GOLDEN / "encoders" / family
    shutil.copytree(source, tmp_path / "a")
    (tmp_path / "a" / "preprocessor_config.json").unlink()
    config = json.loads((source / "config.json").read_text())
    path = tmp_path / "a" / "config.json"
    path.write_text(json.dumps(config | {"activation_function": "relu", "encoder_layers": 0}))
    with pytest.raises(ValueError, match=r"preprocessor_config\.json is missing") as error:
        read_config(tmp_path / "a")
    assert "activation_function is 'relu'" in str(error.value)

    shutil.copy(source / "preprocessor_config.json", tmp_path / "a")
    preprocessor = json.loads((source / "preprocessor_config.json").read_text())
    changed = preprocessor | {"feature_size": 64, "hop_length": 100}
    (tmp_path / "a" / "preprocessor_config.json").write_text(json.dumps(changed))
    path.write_text(json.dumps(config))
    with pytest.raises(ValueError, match="feature_size of the preprocessor is 64") as error:
        read_config(tmp_path / "a")
    assert "hop_length of the preprocessor is 100" in str(error.value)

    shutil.copy(source / "preprocessor_config.json", tmp_path / "a")
    path.write_text(json.dumps(config | {"encoder_layers": 4, "encoder_ffn_dim": 63}))
    with pytest.raises(WeightsError) as error:
        load_encoder(tmp_path / "a")
    assert "missing key layers.3.fc1.weight" in str(error.value) and "wrong shape: layers.0.fc1.weight" in str(
        error.value
    )

    path.write_text(json.dumps(config | {"model_type": "seamless"}))
    with pytest.raises(ValueError, match=r"model_type is 'seamless', must be one of .*qwen3_omni"):
        read_config(tmp_path / "a")


def test_odd_windows_are_refused(tmp_path: Path):
    for family, change, words in (
        ("qwen3-omni", {"n_window": 60}, "n_window is 60, must be 50"),
        ("qwen3-omni", {"n_window_infer": 50}, "n_window_infer is 50, shorter than a chunk"),
        ("whisper", {"max_source_positions": 750}, "chunk_length is 30 s, max_source_positions asks for 15 s"),
    ):
        folder = tmp_path / words[:8]
        shutil.copytree(GOLDEN / "encoders" / family, folder, dirs_exist_ok=True)
        config = json.loads((GOLDEN / "encoders" / family / "config.json").read_text())
        (folder / "config.json").write_text(json.dumps(config | change))
        with pytest.raises(ValueError, match=words):
            read_config(folder)


@pytest.mark.slow
def test_bfloat16_encoder_in_a_model_folder(tmp_path: Path):
    config = model_config("fused")
    halves = tuple(dataclasses.replace(encoder, dtype="bfloat16") for encoder in config.encoders)
    exact = random_module(config)
    module = random_module(dataclasses.replace(config, encoders=halves))
    assert {str(v.dtype) for v in jax.tree.leaves(nnx.state(module.encoders))} == {"bfloat16"}
    save_folder(tmp_path / "model", module, {})
    found, _ = load_folder(tmp_path / "model")
    assert found.config == module.config
    clips = [speech_like(i, 12000) for i in range(3)]
    rows = [on_one_device(m).score(clips, sample_rate=16000) for m in (exact, module, found)]
    scores = [np.array([row["scores"]["mos_overall"] for row in part]) for part in rows]
    assert (scores[1] == scores[2]).all() and 0 < np.abs(scores[0] - scores[1]).max() < 0.3
    with pytest.raises(ValueError, match="bfloat16 cannot be trained"):
        dataclasses.replace(halves[0], freeze=False)
