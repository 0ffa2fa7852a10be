"""Adapters whose tools need no torch here: datasets as it is, VERSA and NeMo Curator by their published interfaces."""

import dataclasses
import enum
import importlib
import subprocess
import sys
import types
from pathlib import Path

import numpy as np
import pytest
import soundfile

from tests.helpers.corpus import ROOT, speech_like
from urgentmos_jax.interop.datasets import ScoreColumns
from urgentmos_jax.interop.tensorboard import ScoreLog
from urgentmos_jax.scoring.loading import load_model
from urgentmos_jax.scoring.model import Model

TOLERANCE = 1e-4
SAMPLES = 8000


@pytest.fixture(scope="module")
def model(model_folder) -> Model:
    return load_model(model_folder, compile_cache=False)


@pytest.fixture(scope="module")
def clips() -> list[np.ndarray]:
    return [speech_like(seed, SAMPLES) for seed in (1, 2)]


@pytest.fixture(scope="module")
def wanted(model, clips) -> list[dict[str, float]]:
    return [row["scores"] for row in model.score(clips, sample_rate=16000)]


def module(monkeypatch, name: str, **content: object) -> None:
    parts = name.split(".")
    for end in range(1, len(parts)):
        monkeypatch.setitem(sys.modules, ".".join(parts[:end]), types.ModuleType(parts[end - 1]))
    found = types.ModuleType(name)
    found.__dict__.update(content)
    monkeypatch.setitem(sys.modules, name, found)


def fresh(monkeypatch, name: str):
    """A file of ours, imported anew; afterwards it is forgotten."""
    monkeypatch.delitem(sys.modules, f"urgentmos_jax.interop.{name}", raising=False)
    found = importlib.import_module(f"urgentmos_jax.interop.{name}")
    monkeypatch.delitem(sys.modules, f"urgentmos_jax.interop.{name}")
    return found


@pytest.mark.slow
def test_every_file_is_there_without_its_tool():
    """Where one is missing its class says what to install; nothing of torch is imported on the way."""
    code = """
import sys
tools = ("torch", "torchmetrics", "lightning", "pytorch_lightning", "lhotse", "versa", "nemo_curator", "datasets")
sys.modules.update(dict.fromkeys(tools))
import urgentmos_jax.interop.datasets, urgentmos_jax.interop.lhotse, urgentmos_jax.interop.tensorboard
from urgentmos_jax.interop import lightning, nemo_curator, torch, torchmetrics, versa
for make in (lambda: lightning.ScoreAudio("m", 16000), lambda: nemo_curator.UrgentMOSStage("m"),
             lambda: torchmetrics.SpeechQuality("m", 16000), lambda: versa.UrgentMOSMetric({})):
    try:
        make()
    except ModuleNotFoundError as error:
        print(error)
"""
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert done.stdout.count("is missing: pip install") == 4, done.stderr


def test_a_column_of_a_dataset(model_folder, clips, wanted, tmp_path):
    datasets = pytest.importorskip("datasets")
    for number, clip in enumerate(clips):
        soundfile.write(tmp_path / f"{number}.wav", clip, 16000, subtype="FLOAT")
    paths = [str(tmp_path / "0.wav"), str(tmp_path / "1.wav"), str(tmp_path / "2.wav")]
    (tmp_path / "2.wav").write_bytes(b"")
    data = datasets.Dataset.from_dict({"audio": paths, "id": [0, 1, 2]})
    data = data.cast_column("audio", datasets.Audio(decode=False))
    columns = ScoreColumns(model_folder, metrics=["mos_overall"], prefix="u_")
    for batched in (True, False):
        found = data.map(columns, batched=batched, batch_size=1, load_from_cache_file=False)
        assert found["u_mos_overall"][:2] == pytest.approx([one["mos_overall"] for one in wanted], abs=TOLERANCE)
        assert np.isnan(found["u_mos_overall"][2]) and found["u_score_error"][2].startswith("empty")
        assert found["u_score_error"][0] == "" and list(found["id"]) == [0, 1, 2]
    assert datasets.fingerprint.Hasher.hash(columns) == datasets.fingerprint.Hasher.hash(
        ScoreColumns(model_folder, metrics=["mos_overall"], prefix="u_")
    )


def test_decoded_columns(model, clips, wanted):
    decoder = types.SimpleNamespace(
        get_all_samples=lambda: types.SimpleNamespace(data=clips[1][None], sample_rate=16000)
    )
    found = ScoreColumns(model)({"audio": [{"array": clips[0], "sampling_rate": 16000, "path": None}, decoder]})
    for name in model.metrics:
        assert found[name] == pytest.approx([one[name] for one in wanted], abs=TOLERANCE)


def test_the_log_of_a_training(model, clips, wanted):
    written: dict[str, object] = {}

    class Writer:
        def add_scalar(self, tag, value, step):
            written[tag] = value, step

        def add_audio(self, tag, audio, step, sample_rate):
            written[tag] = audio, step, sample_rate

    log = ScoreLog(model, 16000)
    log.add(np.stack(clips)[:, None])
    log.add([clips[0][:100]])
    log.write(Writer(), 7)
    for name in model.metrics:
        value, step = written[f"urgentmos/{name}"]
        assert value == pytest.approx(np.mean([one[name] for one in wanted]), abs=TOLERANCE) and step == 7
    assert written["urgentmos/failed"] == (1.0, 7)
    audio, _, rate = written["urgentmos/worst"]
    worst = min(range(2), key=lambda index: wanted[index][model.metrics[0]])
    assert np.array_equal(audio, clips[worst]) and rate == 16000
    assert log.means() == {"urgentmos/failed": 0.0}, "what is written is gone"


def test_a_metric_of_versa(model_folder, clips, wanted, monkeypatch):
    @dataclasses.dataclass
    class MetricMetadata:
        name: str
        category: object
        metric_type: object
        requires_reference: bool
        requires_text: bool
        gpu_compatible: bool
        auto_install: bool
        dependencies: list
        description: str
        paper_reference: str | None = None
        implementation_source: str | None = None

    class BaseMetric:
        def __init__(self, config=None):
            self.config = config or {}
            self._setup()

    registered = {}

    class MetricRegistry:
        def register(self, metric_class, metadata, aliases=None):
            registered.update(dict.fromkeys([metadata.name, *aliases], metric_class))

    module(
        monkeypatch,
        "versa.definition",
        BaseMetric=BaseMetric,
        MetricMetadata=MetricMetadata,
        MetricCategory=enum.Enum("MetricCategory", "INDEPENDENT"),
        MetricType=enum.Enum("MetricType", "DICT"),
    )
    ours = fresh(monkeypatch, "versa")
    ours.register_urgentmos_metric(MetricRegistry())
    metric = registered["urgentmos"]({"name": "urgentmos", "model": str(model_folder), "metrics": ["mos_overall"]})
    found = metric.compute(clips[0], None, {"sample_rate": 16000, "key": "a"})
    assert found == pytest.approx({"urgentmos_mos_overall": wanted[0]["mos_overall"]}, abs=TOLERANCE)
    assert metric.get_metadata().requires_reference is False
    with pytest.raises(ValueError, match="urgentmos: too_short"):
        metric.compute(clips[0][:10], None, {"sample_rate": 16000})
    with pytest.raises(ValueError, match="names no model"):
        registered["urgent_mos"]({})


def test_a_stage_of_nemo_curator(model_folder, clips, wanted, monkeypatch, tmp_path: Path):
    class ProcessingStage:
        def __class_getitem__(cls, _):
            return cls

    module(monkeypatch, "nemo_curator.stages.base", ProcessingStage=ProcessingStage)
    stage = fresh(monkeypatch, "nemo_curator").UrgentMOSStage(str(model_folder), metrics=["mos_overall"])
    stage.setup()
    soundfile.write(tmp_path / "a.wav", clips[0], 16000, subtype="FLOAT")
    tasks = [
        types.SimpleNamespace(data=data)
        for data in (
            {"audio_filepath": str(tmp_path / "a.wav")},
            {"waveform": clips[1][None], "sample_rate": 16000, "text": "b"},
            {"audio_filepath": str(tmp_path / "c.wav")},
        )
    ]
    assert stage.process_batch(tasks) == tasks
    found = [task.data["mos_overall"] for task in tasks]
    assert found[:2] == pytest.approx([one["mos_overall"] for one in wanted], abs=TOLERANCE)
    assert np.isnan(found[2]) and tasks[2].data["score_error"].startswith("missing") and tasks[1].data["text"] == "b"
    del tasks[1].data["sample_rate"]
    tasks[2].data["audio_filepath"] = str(tmp_path / "a.wav")
    kept, lost, scored = (task.data for task in stage.process_batch(tasks))
    assert lost["score_error"].endswith("no sample_rate") and np.isnan(lost["mos_overall"])
    assert kept["mos_overall"] == scored["mos_overall"] == found[0] and "score_error" not in scored
    assert stage.outputs() == ([], ["mos_overall"])
