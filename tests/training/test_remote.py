"""Run folders and manifests in a bucket, played by a local folder: `gs://` paths through `etils.epath` and fsspec.

The arrays of checkpoints go through Orbax and TensorStore, which speak to Google's servers themselves; here they are
not.
"""

import json
import os
from pathlib import Path

import fsspec
import pytest
from etils import epath
from fsspec.implementations.dirfs import DirFileSystem
from fsspec.implementations.local import LocalFileSystem

from tests.helpers.corpus import write_corpus
from urgentmos_jax.data.training_set import find_source, read_training_set
from urgentmos_jax.files import StepLog, absolute_path, append_json_lines, copy_files, file_hash, is_remote, write_text
from urgentmos_jax.manifests.records import ManifestError
from urgentmos_jax.metrics import Metric
from urgentmos_jax.training.checkpoints import Checkpoints, _listed
from urgentmos_jax.training.logs import RunLog

METRICS = {"mos_overall": Metric(1, 5, comparative=True)}


@pytest.fixture
def bucket(tmp_path, monkeypatch) -> Path:
    """The local folder that stands for `gs://bucket`."""
    folder = tmp_path / "store"
    (folder / "bucket").mkdir(parents=True)

    class Store(DirFileSystem):
        protocol = ("gcs", "gs")
        cachable = False

        def __init__(self, **_):
            super().__init__(str(folder), LocalFileSystem(auto_mkdir=True))

        @classmethod
        def _strip_protocol(cls, path):
            return path.removeprefix("gs://").rstrip("/")

        def _join(self, path):
            return super()._join(self._strip_protocol(path) if isinstance(path, str) else path)

    fsspec.register_implementation("gcs", Store, clobber=True)
    epath.backend._FileSystemSpecBackend._get_filesystem.cache_clear()
    monkeypatch.setenv("EPATH_USE_TF", "false")
    yield folder / "bucket"
    epath.backend._FileSystemSpecBackend._get_filesystem.cache_clear()


def test_files_of_a_run(bucket: Path):
    folder = absolute_path("gs://bucket/run")
    assert is_remote(folder) and is_remote(folder / "checkpoints") and not is_remote(absolute_path("runs/mine"))
    folder.mkdir(parents=True, exist_ok=True)
    write_text(folder / "config.json", "{}")
    append_json_lines(folder / "skipped.jsonl", [{"uid": "a"}])
    append_json_lines(folder / "skipped.jsonl", [{"uid": "b"}])
    assert (bucket / "run" / "config.json").read_text() == "{}"
    assert [json.loads(x)["uid"] for x in (bucket / "run" / "skipped.jsonl").read_text().splitlines()] == ["a", "b"]
    lines = StepLog(folder / "metrics.jsonl", upto=0)
    lines.add({"step": 1})
    lines.add({"step": 2})
    lines.flush()
    StepLog(folder / "metrics.jsonl", upto=1)
    assert (bucket / "run" / "metrics.jsonl").read_text() == '{"step": 1}\n'


def test_log(bucket: Path, caplog):
    log = RunLog(absolute_path("gs://bucket/run"), 0, 10, lambda update: 0.1)
    log.write(1, "train", {"loss": 2.0})
    log.close()
    assert json.loads((bucket / "run" / "metrics.jsonl").read_text()) == {"step": 1, "kind": "train", "loss": 2.0}
    assert "no TensorBoard files in a remote folder" in caplog.text


def test_steps_are_complete_only_with_their_checksums(bucket: Path):
    checkpoints = Checkpoints(absolute_path("gs://bucket/run/checkpoints"), keep=2)
    for step in (3, 4):
        folder = checkpoints.folder / str(step)
        folder.mkdir(parents=True, exist_ok=True)
        write_text(folder / "step.json", "{}")
    write_text(checkpoints.folder / "3" / "checksums.json", _listed({"step.json": file_hash(folder / "step.json")}))
    assert checkpoints.steps() == [3]
    checkpoints.remove_unfinished()
    assert os.listdir(bucket / "run" / "checkpoints") == ["3"]


def test_manifests(bucket: Path, tmp_path):
    write_corpus(tmp_path / "audio", [8000, 9000])
    (bucket / "data" / "one" / "train").mkdir(parents=True)
    manifest = bucket / "data" / "one" / "train" / "data.jsonl"
    manifest.write_text((tmp_path / "audio" / "data.jsonl").read_text())
    source = find_source("one/train", absolute_path("gs://bucket/data"))
    data = read_training_set([source], METRICS, audio_root=tmp_path / "audio")
    assert data.paths == [str(tmp_path / "audio" / f"{i}.wav") for i in range(2)]
    manifest.write_text("{\n")
    with pytest.raises(ManifestError, match=r"gs://bucket/data/one/train/data\.jsonl:1: "):
        read_training_set([source], METRICS)
    with pytest.raises(FileNotFoundError, match=r"gs://bucket/data/one/dev/data\.jsonl"):
        find_source("one/dev", absolute_path("gs://bucket/data"))


def test_the_start_goes_there_and_back(bucket: Path, tmp_path):
    (tmp_path / "model").mkdir()
    for name in ("config.json", "model.safetensors"):
        (tmp_path / "model" / name).write_bytes(name.encode())
    copy_files(tmp_path / "model", absolute_path("gs://bucket/run/start"))
    copy_files(absolute_path("gs://bucket/run/start"), tmp_path / "back")
    assert {path.name: path.read_bytes().decode() for path in (tmp_path / "back").iterdir()} == {
        "config.json": "config.json",
        "model.safetensors": "model.safetensors",
    }
