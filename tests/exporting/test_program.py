"""Exports against the model: any length, batches, silence behind a clip; and what cannot be exported."""

import json
import re
import sys
from pathlib import Path

import jax
import numpy as np
import pytest
from flax import nnx

from tests.helpers.commands import refused, run, write_recording
from tests.helpers.corpus import speech_like
from tests.helpers.models import OWN_LENGTH, on_one_device, random_module
from urgentmos_jax.exporting import program as exporting
from urgentmos_jax.exporting.program import ExportError, program_of
from urgentmos_jax.exporting.stablehlo import PLATFORMS, StableHLO, to_stablehlo
from urgentmos_jax.scoring.model import Model
from urgentmos_jax.weights.model_folder import save_folder

TOLERANCE = 1e-4
LENGTHS = (8000, 6100, 20000)


def half(module):
    """Weights that were saved in float16."""
    return nnx.merge(
        nnx.graphdef(module), jax.tree.map(lambda x: x.astype(np.float16).astype(np.float32), nnx.state(module))
    )


@pytest.fixture(scope="module")
def small() -> Model:
    """Of the kind of the packaged model: Whisper's encoder at the clip's own length, weights of float16."""
    return on_one_device(half(random_module("whisper" + OWN_LENGTH)))


@pytest.fixture(scope="module")
def clips() -> list[np.ndarray]:
    return [speech_like(seed, length) for seed, length in enumerate(LENGTHS)]


@pytest.fixture(scope="module")
def wanted(small, clips) -> np.ndarray:
    rows = small.score(clips, sample_rate=16000)
    return np.array([[row["scores"][name] for name in small.metrics] for row in rows])


@pytest.fixture(scope="module")
def small_folder(small, tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("model") / "small"
    save_folder(folder, nnx.merge(small.engine.graph, small.params), {"data": "none"})
    return folder


def agrees(exported, clips: list[np.ndarray], wanted: np.ndarray) -> None:
    """Each clip alone, and all in a batch with noise behind the shorter ones."""
    batch = np.random.default_rng(0).standard_normal((len(clips), max(LENGTHS))).astype(np.float32)
    for row, clip in zip(batch, clips, strict=True):
        row[: len(clip)] = clip
    together = np.stack(exported(batch, np.array(LENGTHS, np.int32)), axis=1)
    np.testing.assert_allclose(together, wanted, atol=TOLERANCE)
    alone = np.stack(exported(clips[0][None], np.array(LENGTHS[:1], np.int32)), axis=1)
    np.testing.assert_allclose(alone, wanted[:1], atol=TOLERANCE)


@pytest.mark.slow
def test_stablehlo(small, clips, wanted):
    pytest.importorskip("flatbuffers")
    content = to_stablehlo(program_of(small))
    assert set(jax.export.deserialize(bytearray(content)).platforms) == set(PLATFORMS) == {"cpu", "cuda", "tpu"}
    agrees(StableHLO(content), clips, wanted)
    parameters = sum(x.size for x in jax.tree.leaves(small.params))
    assert len(content) < 3.5 * parameters + 250_000, "weights of float16 stay so"
    text = jax.export.deserialize(bytearray(content)).mlir_module()
    matrices = sum(x.ndim > 1 for x in jax.tree.leaves(small.params))
    assert len(re.findall(r"constant dense<.*xf16>", text)) >= matrices > 10


def test_onnx(small, clips, wanted):
    onnx = pytest.importorskip("onnx")
    pytest.importorskip("onnxruntime")
    from urgentmos_jax.exporting.onnx import ONNX, to_onnx

    content = to_onnx(program_of(small))
    agrees(ONNX(content), clips, wanted)
    model = onnx.load_from_string(content)
    assert [one.name for one in model.graph.output] == list(small.metrics)
    about = json.loads({one.key: one.value for one in model.metadata_props}["urgentmos"])
    assert about["inputs"]["waveform"] == "float32 [b, t]" and about["max_samples"] == 32000
    assert not {node.op_type for node in model.graph.node} & {"DFT", "Loop", "Scan", "If"}


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["compact", "whisper", "qwen2_audio_encoder" + OWN_LENGTH, "group", "layer"])
def test_onnx_of_other_encoders(kind, clips):
    """Any length, or rows of one length."""
    pytest.importorskip("onnx")
    pytest.importorskip("onnxruntime")
    from urgentmos_jax.exporting.onnx import ONNX, to_onnx

    model = on_one_device(random_module(kind))
    if kind in ("group", "layer"):
        with pytest.raises(ExportError, match=r"rows of any length cannot be exported .*: --seconds 10"):
            program_of(model)
        program = program_of(model, max(LENGTHS) / 16000)
    else:
        program = program_of(model)
    rows = model.score(clips, sample_rate=16000)
    expected = np.array([[row["scores"][name] for name in model.metrics] for row in rows])
    batch = np.zeros((len(clips), max(LENGTHS)), np.float32)
    for row, clip in zip(batch, clips, strict=True):
        row[: len(clip)] = clip
    found = np.stack(ONNX(to_onnx(program))(batch, np.array(LENGTHS, np.int32)), axis=1)
    np.testing.assert_allclose(found, expected, atol=TOLERANCE)


@pytest.mark.slow
def test_what_differs_is_not_written(small, small_folder, tmp_path, capsys, monkeypatch):
    """The check is of the file's own content."""
    pytest.importorskip("flatbuffers")
    write_recording(tmp_path / "a.wav", 1)
    (tmp_path / "b.wav").write_bytes(b"no sound")
    command = [
        "export",
        small_folder,
        "--format",
        "stablehlo",
        "--output",
        tmp_path / "m.stablehlo",
        "--seconds",
        "0.6",
    ]
    real = StableHLO.__call__
    monkeypatch.setattr(StableHLO, "__call__", lambda self, *given: [x + 2e-4 for x in real(self, *given)])
    assert "differ from the model's by 0.0002" in refused(capsys, *command, "--check", tmp_path / "a.wav")
    assert not list(tmp_path.glob("m.stablehlo*"))
    monkeypatch.undo()
    assert "no recording to compare on: " in refused(capsys, *command, "--check", tmp_path / "b.wav")
    status, _, err = run(capsys, *command, "--check", tmp_path)
    assert status == 0 and "compared on recordings: 1\n" in err
    about = json.loads((tmp_path / "m.stablehlo.meta.json").read_text())
    assert about["compared"] == 1 and about["largest_difference"] < TOLERANCE and len(about["model_sha256"]) == 64
    assert about["inputs"] == {"waveform": "float32 [b, 9600]", "lengths": "int32 [b]"}


@pytest.mark.parametrize("form, package", [("stablehlo", "flatbuffers"), ("onnx", "onnxruntime")])
def test_a_missing_package_names_its_extra(form, package, small_folder, tmp_path, capsys, monkeypatch):
    pytest.importorskip("onnx")
    monkeypatch.setitem(sys.modules, package, None)
    error = refused(capsys, "export", small_folder, "--format", form, "--output", tmp_path / "m")
    assert f'{package} is missing: pip install "urgentmos_jax[{form}]"' in error and not list(tmp_path.iterdir())


def test_what_cannot_be_exported(small, small_folder, tmp_path, capsys):
    for seconds in (3.0, 0.01, float("nan"), float("inf")):
        with pytest.raises(ExportError, match=rf"rows of {seconds:g} s: this model takes 0\.025 to 2 s"):
            program_of(small, seconds)
    half_precision = Model(random_module("compact"), devices=jax.devices()[:1], precision="bfloat16")
    with pytest.raises(ExportError, match="load the model in float32"):
        program_of(half_precision)
    with pytest.raises(SystemExit):
        run(capsys, "export", small_folder, "--format", "tflite")
    assert exporting.TOLERANCE == TOLERANCE
