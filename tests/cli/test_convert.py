"""`urgentmos convert`: the authors' checkpoint, and what is refused."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from tests.helpers.commands import run, write_recording
from tests.helpers.torch_writer import Raw, call, checkpoint, state_dict_file, storage, tensor
from urgentmos_jax.cli import main
from urgentmos_jax.weights.model_folder import load_folder
from urgentmos_jax.weights.torch_zip import read_torch_file

CASE = Path(__file__).parents[1] / "golden" / "model" / "c1m5-mean-base"


def changed(tmp_path: Path, change) -> Path:
    """The golden checkpoint, with its content changed."""
    content = read_torch_file(CASE / "model.pt")
    change(content)
    path = tmp_path / "changed.pt"
    path.write_bytes(state_dict_file(content))
    return path


def test_convert_then_score(tmp_path, capsys, model_folder):
    path = changed(tmp_path, lambda content: None)
    assert run_convert(path, tmp_path / "out") == 0
    assert "mos_overall" in capsys.readouterr().out
    clip = write_recording(tmp_path / "a.wav", 1)
    scores = [run(capsys, "score", clip, "--model", m)[1][0]["scores"] for m in (tmp_path / "out", model_folder)]
    assert scores[0] == scores[1]
    assert run_convert(path, tmp_path / "out") == 0, "a model folder may be replaced"


def run_convert(path: Path, out: Path, *encoders: Path) -> int:
    flags = [text for encoder in encoders or (CASE / "encoder",) for text in ("--encoder", str(encoder))]
    return main(["convert", str(path), str(out), *flags])


def convert_error(capsys, path: Path, out: Path, *encoders: Path) -> str:
    assert run_convert(path, out, *encoders) == 2
    found, error = capsys.readouterr()
    assert found == "" and "Traceback" not in error and not out.exists()
    return error


def test_convert_refuses_a_pickle_that_would_act(tmp_path, capsys):
    canary = tmp_path / "canary"
    path = tmp_path / "evil.pt"
    path.write_bytes(checkpoint({"model": Raw(call("posix system", f"touch {canary}")), "config": {}}))
    error = convert_error(capsys, path, tmp_path / "out")
    assert "posix.system" in error and "evil.pt" in error and not canary.exists()


def test_convert_refuses_damaged_files(tmp_path, capsys):
    whole = (CASE / "model.pt").read_bytes()
    cut = tmp_path / "cut.pt"
    for size in (0, 100, len(whole) // 2, len(whole) - 1):
        cut.write_bytes(whole[:size])
        assert "cut.pt" in convert_error(capsys, cut, tmp_path / "out")
    assert "none.pt" in convert_error(capsys, tmp_path / "none.pt", tmp_path / "out")


def test_convert_refuses_a_tensor_beyond_its_storage(tmp_path, capsys):
    path = tmp_path / "odd.pt"
    path.write_bytes(checkpoint({"model": {"a": tensor(storage(numel=6), size=(3, 3))}, "config": {}}))
    assert "beyond its storage" in convert_error(capsys, path, tmp_path / "out")
    path.write_bytes(checkpoint({"model": {"a": tensor(storage(numel=7))}, "config": {}}))
    assert "data/0" in convert_error(capsys, path, tmp_path / "out")


def test_convert_lists_every_key_at_fault(tmp_path, capsys):
    def change(content):
        tensors = content["model"]
        tensors["extra.weight"] = np.ones(3)
        del tensors["category2encoder.mos.layers.0.norm1.bias"]
        del tensors["feature_extractor.feature_extractors.0.model.encoder.layers.2.attention.q_proj.weight"]
        tensors["feature_extractor.feat_proj.0.bias"] = np.ones(31)
        tensors["metric2absolute_score_predictor.utmos.prediction_head.bias"] = np.array([np.nan])

    error = convert_error(capsys, changed(tmp_path, change), tmp_path / "out")
    assert "missing key category2encoder.mos.layers.0.norm1.bias" in error
    assert "encoder.layers.2.attention.q_proj.weight" in error
    assert "unexpected key extra.weight" in error
    assert "feature_extractor.feat_proj.0.bias (31,)" in error
    assert "NaN or infinity in metric2absolute_score_predictor.utmos.prediction_head.bias" in error


def test_convert_names_what_is_wrong_with_the_config(tmp_path, capsys):
    def range_disagrees(content):
        content["model"]["metric2absolute_score_predictor.utmos.activation.max_value"] = np.array(4.5)

    def unknown_pooling(content):
        content["config"]["model"]["metric2absolute_score_predictor"]["pooler_cfg"]["_target_"] = "x.MaxPooling"

    def no_categories(content):
        del content["config"]["model"]["category2metrics"]

    wanted = {range_disagrees: "max_value is 4.5", unknown_pooling: "MaxPooling", no_categories: "category2metrics"}

    def odd_types(content):
        content["config"]["model"]["category2metrics"] = ["mos"]

    def odd_size(content):
        content["config"]["model"]["category2encoder"]["encoder_cfg"]["encoder_layer"]["dim_feedforward"] = 1.5

    wanted |= {odd_types: "the checkpoint's config is not supported", odd_size: "category.feedforward is 1.5"}
    for change, words in wanted.items():
        assert words in convert_error(capsys, changed(tmp_path, change), tmp_path / "out")
    (tmp_path / "list.pt").write_bytes(checkpoint([1, 2]))
    assert "no UrgentMOS checkpoint" in convert_error(capsys, tmp_path / "list.pt", tmp_path / "out")


@pytest.mark.slow
def test_convert_a_fused_checkpoint(tmp_path, capsys):
    """Four encoders, given in the order of the checkpoint's config; a wrong order is refused, all keys named."""
    case = CASE.parent / "f4c1m5-mean"
    folders = [case / "encoders" / name for name in ("wavlm-large", "whisper", "qwen3-omni", "qwen2-audio")]
    flags = [word for folder in folders for word in ("--encoder", str(folder))]
    assert main(["convert", str(case / "model.pt"), str(tmp_path / "out"), *flags]) == 0
    config = load_folder(tmp_path / "out")[0].config
    families = [encoder.architecture.model_type for encoder in config.encoders]
    assert families == ["wavlm", "whisper", "qwen3_omni_moe_audio_encoder", "qwen2_audio_encoder"]
    assert [encoder.layer_aggregation for encoder in config.encoders] == [True, True, False, False]
    capsys.readouterr()
    error = convert_error(capsys, case / "model.pt", tmp_path / "other", *reversed(folders))
    assert "missing key feature_extractor.feature_extractors.0.model.conv1.weight" in error
    assert "3 given" in convert_error(capsys, case / "model.pt", tmp_path / "other", *folders[:3])


def test_convert_needs_the_config_of_the_encoder(tmp_path, capsys):
    assert main(["convert", str(CASE / "model.pt"), str(tmp_path / "beside")]) == 0, "it lies beside the file"
    capsys.readouterr()
    shutil.copy(CASE / "model.pt", tmp_path)
    assert main(["convert", str(tmp_path / "model.pt"), str(tmp_path / "out")]) == 2
    assert "--encoder" in capsys.readouterr().err
    twice = (CASE / "encoder",) * 2
    assert "2 given" in convert_error(capsys, CASE / "model.pt", tmp_path / "out", *twice)
    folder = tmp_path / "encoder"
    shutil.copytree(CASE / "encoder", folder)
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, "model_type": "bert"}))
    (folder / "preprocessor_config.json").unlink()
    error = convert_error(capsys, CASE / "model.pt", tmp_path / "out", folder)
    assert "preprocessor_config.json is missing" in error and "model_type is 'bert', must be one of wav2vec2" in error


def test_convert_leaves_other_folders_alone(tmp_path, capsys):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "thesis.tex").write_text("x")
    assert run_convert(CASE / "model.pt", tmp_path / "out") == 2
    assert "choose another folder" in capsys.readouterr().err and (tmp_path / "out" / "thesis.tex").exists()


def test_convert_looks_at_out_before_anything_is_read(tmp_path, capsys, monkeypatch):
    def read_checkpoint(*_):
        raise AssertionError("read before OUT was looked at")

    monkeypatch.setattr("urgentmos_jax.weights.urgent_mos.read_checkpoint", read_checkpoint)
    (tmp_path / "file").write_text("x")
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "config.json").write_text('{"model_type": "wavlm"}')
    wanted = {
        tmp_path / "file": "is a file; choose another folder",
        tmp_path / "full": "holds other than a model: ['config.json']; choose another folder",
        tmp_path / "file" / "below": "cannot be written",
        Path("/proc/none/out"): "cannot be written",
    }
    for out, words in wanted.items():
        assert run_convert(tmp_path / "none.pt", out) in (2, 4)
        error = capsys.readouterr().err
        assert words in error and str(out) in error and "Traceback" not in error
    assert (tmp_path / "file").read_text() == "x"
