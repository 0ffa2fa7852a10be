"""The model folder: what is saved is what is loaded, and nothing else is."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import safetensors.numpy
from flax import nnx

from tests.helpers.corpus import GOLDEN
from urgentmos_jax.encoders.compact import CompactConfig
from urgentmos_jax.metrics import Metric
from urgentmos_jax.model.urgentmos import EncoderConfig, ModelConfig, UrgentMOS
from urgentmos_jax.schema import as_json, read
from urgentmos_jax.weights import model_folder as released
from urgentmos_jax.weights.model_folder import ModelFolderError, is_model_folder, load_folder, save_folder
from urgentmos_jax.weights.rules import WeightsError, flat_state
from urgentmos_jax.weights.safetensors import DamagedFile, read_safetensors
from urgentmos_jax.weights.urgent_mos import read_checkpoint

CASES = ("c1m5-mean-base", "c3m9-attentive-large", "c1m3-token-base", "c1m2-unfrozen-large")
HEAD = "absolute_heads.utmos.score"


@pytest.fixture(scope="module")
def module(model_folder) -> UrgentMOS:
    return load_folder(model_folder)[0]


@pytest.fixture
def folder(model_folder, tmp_path) -> Path:
    """A model folder to damage."""
    return shutil.copytree(model_folder, tmp_path / "model")


def change_config(folder: Path, **changes) -> None:
    path = folder / "config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))


def change_weights(folder: Path, change) -> None:
    path = folder / "model.safetensors"
    arrays = safetensors.numpy.load_file(path)
    change(arrays)
    safetensors.numpy.save_file(arrays, path)


def state(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


@pytest.mark.parametrize("case", CASES)
def test_a_model_comes_back_as_it_was(case: str, tmp_path: Path):
    checkpoint = read_checkpoint(GOLDEN / "model" / case / "model.pt", [GOLDEN / "model" / case / "encoder"])
    save_folder(tmp_path / "m", checkpoint.module, checkpoint.origin)
    module, content = load_folder(tmp_path / "m")
    assert module.config == checkpoint.module.config
    assert content["origin"] == checkpoint.origin and content["sample_rate_hz"] == 16000
    found, wanted = flat_state(module), flat_state(checkpoint.module)
    assert found.keys() == wanted.keys()
    for path, value in wanted.items():
        assert found[path][...].dtype == np.float32
        assert found[path][...].tobytes() == np.ascontiguousarray(value[...]).tobytes(), path
    save_folder(tmp_path / "again", module, content["origin"])
    assert state(tmp_path / "again") == state(tmp_path / "m")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["again", "m"], "nothing is left behind"


def test_open_bounds_and_other_encoders_survive_json():
    metrics = {"a": Metric(1, 5, True), "b": Metric(minimum=0), "c": Metric(maximum=3.5), "d": Metric()}
    config = ModelConfig((EncoderConfig(CompactConfig()),), {"x": metrics, "y": {"e": Metric(0, 1)}}, width=16)
    text = json.dumps(as_json(config), allow_nan=False)
    assert read(ModelConfig, json.loads(text)) == config
    assert list(read(ModelConfig, json.loads(text)).metrics) == list("abcde")


# What is refused on loading.


def test_a_folder_without_a_model(tmp_path: Path):
    with pytest.raises(ModelFolderError, match=r"config.json.*urgentmos convert"):
        load_folder(tmp_path)
    for content in (b"", b"{", b"[]", b"null", b"\xff", b'{"model_type": "wavlm"}'):
        (tmp_path / "config.json").write_bytes(content)
        assert not is_model_folder(tmp_path)
        with pytest.raises(ModelFolderError, match=r"config.json.*urgentmos convert"):
            load_folder(tmp_path)


def test_the_folder_of_a_training_run_asks_for_an_export(tmp_path: Path):
    (tmp_path / "checkpoints").mkdir()
    (tmp_path / "config.json").write_text('{"seed": 1, "updates": 4}')
    with pytest.raises(ModelFolderError, match=r"training run, not a model.*--export DIR"):
        load_folder(tmp_path)


def test_a_newer_format(folder: Path):
    change_config(folder, format_version=2)
    with pytest.raises(ModelFolderError, match=r"format version 2.*install a release that reads it"):
        load_folder(folder)


@pytest.mark.parametrize(
    ("place", "value", "words"),
    [
        (("sample_rate_hz",), 8000, "sample_rate_hz"),
        (("origin",), None, "origin"),
        (("model",), [], "config"),
        (("model", "unknown_key"), 1, "unknown_key"),
        (("model", "width"), "wide", "width"),
        (("model", "width"), 33, "heads do not divide"),
        (("model", "width"), -32, "width"),
        (("model", "category", "heads"), 0, "category.heads"),
        (("model", "category", "layers"), 10**30, "category.layers"),
        (("model", "category", "unknown_key"), 0, "unknown_key"),
        (("model", "absolute", "pooling"), "max", "absolute.pooling"),
        (("model", "encoders"), [], "encoder"),
        (("model", "encoders", 0, "architecture", "model_type"), "bert", "bert"),
        (("model", "encoders", 0, "architecture", "do_normalize"), "no", "encoders.0.architecture.do_normalize"),
        (("model", "encoders", 0, "architecture", "unknown_key"), 1, "unknown_key"),
        (("model", "encoders", 0, "layer_aggregation"), 1, "encoders.0.layer_aggregation"),
        (("model", "categories"), {}, "metric"),
        (("model", "categories", "mos", "utmos"), 5, "config"),
        (("model", "categories", "mos", "utmos", "maximum"), "5", "categories.mos.utmos.maximum"),
        (("model", "categories", "mos", "utmos", "maximum"), 0.5, "1.0 to 0.5"),
        (("model", "categories", "again"), {"utmos": {"minimum": 1, "maximum": 5, "comparative": False}}, "two"),
    ],
)
def test_an_odd_config(place: tuple, value: object, words: str, folder: Path):
    path = folder / "config.json"
    content = json.loads(path.read_text())
    inner = content
    for key in place[:-1]:
        inner = inner[key]
    inner[place[-1]] = value
    path.write_text(json.dumps(content))
    with pytest.raises(ModelFolderError) as error:
        load_folder(folder)
    assert words in str(error.value) and str(path) in str(error.value)


@pytest.mark.parametrize("place", [("origin",), ("model",), ("sample_rate_hz",), ("model", "absolute")])
def test_a_config_that_lacks_something(place: tuple, folder: Path):
    path = folder / "config.json"
    content = json.loads(path.read_text())
    inner = content
    for key in place[:-1]:
        inner = inner[key]
    del inner[place[-1]]
    path.write_text(json.dumps(content))
    with pytest.raises(ModelFolderError, match=place[-1]):
        load_folder(folder)


def test_all_faults_of_the_weights_are_named_at_once(folder: Path):
    def change(arrays):
        arrays["stranger"] = arrays.pop(f"{HEAD}.bias")
        arrays[f"{HEAD}.kernel"] = arrays[f"{HEAD}.kernel"].T.copy()
        arrays["fusion.norm.scale"] = np.ones(33, np.float32)
        arrays["fusion.norm.bias"][3] = np.nan
        arrays["fusion.project.bias"] = np.zeros(32, np.int64)

    change_weights(folder, change)
    with pytest.raises(WeightsError) as error:
        load_folder(folder)
    text = str(error.value)
    assert f"missing {HEAD}.bias" in text and "unexpected stranger" in text and "model.safetensors" in text
    assert f"{HEAD}.kernel has shape (1, 32), expected (32, 1)" in text
    assert "fusion.norm.scale has shape (33,), expected (32,)" in text
    assert "NaN or infinity in fusion.norm.bias" in text
    assert "dtype int64 in fusion.project.bias" in text


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_values_that_are_not_finite(value: float, folder: Path):
    change_weights(folder, lambda arrays: arrays["fusion.norm.bias"].__setitem__(3, value))
    with pytest.raises(WeightsError, match=r"NaN or infinity in fusion.norm.bias"):
        load_folder(folder)


def test_damaged_weights(folder: Path):
    path = folder / "model.safetensors"
    whole = path.read_bytes()
    for content in (b"", whole[: len(whole) // 2], whole[:-4], whole + b"\0\0\0\0"):
        path.write_bytes(content)
        with pytest.raises(DamagedFile, match=r"model.safetensors.*again"):
            load_folder(folder)
    path.unlink()
    with pytest.raises(DamagedFile, match=r"model.safetensors: is missing"):
        load_folder(folder)


def write_safetensors(path: Path, header: dict | str, data: bytes) -> None:
    text = header if isinstance(header, str) else json.dumps(header)
    path.write_bytes(len(text).to_bytes(8, "little") + text.encode() + data)


@pytest.mark.parametrize(
    ("header", "data"),
    [
        ({"a": {"dtype": "F32", "shape": [2], "data_offsets": [0, 8]}}, b"\0" * 4),
        ({"a": {"dtype": "F32", "shape": [2], "data_offsets": [0, 4]}}, b"\0" * 4),
        ({"a": {"dtype": "F32", "shape": [2**62, 4], "data_offsets": [0, 8]}}, b"\0" * 8),
        ({"a": {"dtype": "F99", "shape": [2], "data_offsets": [0, 8]}}, b"\0" * 8),
        (
            {
                "a": {"dtype": "F32", "shape": [2], "data_offsets": [0, 8]},
                "b": {"dtype": "F32", "shape": [2], "data_offsets": [4, 12]},
            },
            b"\0" * 12,
        ),
        (
            {
                "a": {"dtype": "F32", "shape": [1], "data_offsets": [0, 4]},
                "b": {"dtype": "F32", "shape": [1], "data_offsets": [8, 12]},
            },
            b"\0" * 12,
        ),
        ('{"a": 3}', b""),
        ("[]", b""),
        (
            '{"a": {"dtype": "F32", "shape": [1], "data_offsets": [0, 4]}, '
            '"a": {"dtype": "F32", "shape": [1], "data_offsets": [0, 4]}}',
            b"\0" * 4,
        ),
    ],
    ids=["cut", "short", "overflow", "dtype", "overlap", "hole", "no tensor", "no object", "twice"],
)
def test_inconsistent_safetensors(header: dict | str, data: bytes, tmp_path: Path):
    path = tmp_path / "a.safetensors"
    write_safetensors(path, {"a": {"dtype": "F32", "shape": [2], "data_offsets": [0, 8]}}, b"\0" * 8)
    assert read_safetensors(path)["a"].tolist() == [0, 0]
    write_safetensors(path, header, data)
    with pytest.raises(DamagedFile, match=r"a.safetensors"):
        read_safetensors(path)


# Saving.


def test_saving_over_a_model_replaces_it(folder: Path, module: UrgentMOS):
    change_config(folder, origin={"old": True})
    change_weights(folder, lambda arrays: arrays["fusion.norm.bias"].fill(7))
    save_folder(folder, module, {"kind": "new"})
    again, content = load_folder(folder)
    assert content["origin"] == {"kind": "new"}
    assert (again.fusion.norm.bias[...] == module.fusion.norm.bias[...]).all()
    assert [path.name for path in folder.parent.iterdir()] == [folder.name]


def test_saving_into_an_empty_or_new_folder(tmp_path: Path, module: UrgentMOS):
    (tmp_path / "empty").mkdir()
    for name in ("empty", "new/deep"):
        save_folder(tmp_path / name, module, {})
        assert is_model_folder(tmp_path / name)


def test_saving_through_a_link(tmp_path: Path, folder: Path, module: UrgentMOS):
    link = tmp_path / "link"
    link.symlink_to(folder)
    save_folder(link, module, {"kind": "new"})
    assert link.is_symlink() and load_folder(folder)[1]["origin"] == {"kind": "new"}


@pytest.mark.parametrize("name", ["thesis.tex", "config.json"])
def test_other_folders_are_left_alone(name: str, tmp_path: Path, module: UrgentMOS):
    (tmp_path / name).write_text("{}")
    with pytest.raises(FileExistsError, match="choose another folder"):
        save_folder(tmp_path, module, {})
    assert state(tmp_path) == {name: b"{}"}


def test_a_model_folder_with_something_more_is_left_alone(folder: Path, module: UrgentMOS):
    (folder / "README.md").write_text("mine")
    with pytest.raises(FileExistsError, match=r"README.md.*choose another folder"):
        save_folder(folder, module, {})
    assert (folder / "README.md").read_text() == "mine" and is_model_folder(folder)


def test_a_file_is_left_alone(tmp_path: Path, module: UrgentMOS):
    (tmp_path / "out").write_text("mine")
    with pytest.raises(OSError, match="out"):
        save_folder(tmp_path / "out", module, {})
    assert state(tmp_path) == {"out": b"mine"}


@pytest.mark.parametrize("call", ["save_file", "replace"])
def test_a_save_that_fails_leaves_the_old_model(call: str, folder: Path, module: UrgentMOS, monkeypatch):
    before = state(folder)
    real = released.os.replace

    def save_file(arrays, path):
        Path(path).write_bytes(b"half")
        raise OSError("disk full")

    def replace(source, target):
        if Path(target) == folder and Path(source, "model.safetensors").read_bytes() != before["model.safetensors"]:
            raise OSError("disk full")
        real(source, target)

    if call == "save_file":
        monkeypatch.setattr(released.safetensors.numpy, "save_file", save_file)
    else:
        monkeypatch.setattr(released.os, "replace", replace)
    changed = nnx.clone(module)
    changed.fusion.norm.bias[...] = changed.fusion.norm.bias[...] + 1
    with pytest.raises(OSError, match="disk full"):
        save_folder(folder, changed, {})
    assert state(folder) == before
    assert [path.name for path in folder.parent.iterdir()] == [folder.name], "nothing is left behind"
