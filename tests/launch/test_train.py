"""The launch scripts, with stand-ins for ssh, gcloud and Slurm that run on this machine."""

import json
import logging
import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import absl.logging
import jax
import pytest
from absl import app, flags

from launch import train
from tests.helpers import processes
from tests.helpers.corpus import tiny_config, write_corpus
from urgentmos_jax.training.slices import DoesNotFit

ROOT = Path(__file__).parents[2]
SCRIPTS = ROOT / "launch" / "tpu"
ARGUMENTS = ["--config", "configs/compact.py", "--config.data.train=('a b/train',)"]


def script(name: str, *arguments: str, stand_ins: dict[str, str], folder: Path, **environment: str):
    """Runs a script with commands replaced by shell lines."""
    folder.mkdir(exist_ok=True)
    for command, body in stand_ins.items():
        (folder / command).write_text(f"#!/usr/bin/env bash\n{body}\n")
        (folder / command).chmod(0o755)
    environment = os.environ | {"PATH": f"{folder}:{os.environ['PATH']}"} | environment
    return subprocess.run(
        ["bash", str(SCRIPTS / name), *arguments],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        timeout=170,
    )


def test_pod_runs_the_same_command_on_every_worker(tmp_path):
    stand_ins = {"gcloud": 'printf "%s\\n" "$@"', "python": 'printf "%s\\n" "$@"'}
    found = script("pod.sh", "mine", "europe-west4-b", *ARGUMENTS, stand_ins=stand_ins, folder=tmp_path / "bin")
    *before, command = found.stdout.splitlines()
    assert " ".join(before) == "compute tpus tpu-vm ssh mine --zone europe-west4-b --worker=all --command"
    # What a worker's shell makes of it.
    (tmp_path / "urgentmos_jax").mkdir()
    path = f"{tmp_path / 'bin'}:{os.environ['PATH']}"
    there = subprocess.run(
        ["bash", "-c", command], cwd=tmp_path, env=os.environ | {"PATH": path}, capture_output=True, text=True
    )
    assert there.stdout.splitlines() == ["-m", "launch.train", "--distributed", *ARGUMENTS]
    assert script("pod.sh", "mine", stand_ins={}, folder=tmp_path).returncode == 2


@pytest.mark.parametrize(("status", "queued"), [(0, False), (1, False), (143, True)])
def test_slurm_queues_again_what_was_interrupted(tmp_path, status: int, queued: bool):
    stand_ins = {"srun": f'printf "%s\\n" "$@"; exit {status}', "scontrol": 'echo "scontrol $*"'}
    found = script("slurm.sh", *ARGUMENTS, stand_ins=stand_ins, folder=tmp_path, SLURM_JOB_ID="77")
    lines = found.stdout.splitlines()
    assert lines[2:6] == ["python", "-m", "launch.train", "--distributed"] and lines[6:9] == ARGUMENTS
    assert ("scontrol requeue 77" in lines) == queued
    assert found.returncode == (0 if queued else status)


def test_what_jax_says_of_devices_that_are_not_there_is_not_shown(tmp_path, monkeypatch):
    """The log is in order before the first look at devices: `Unable to initialize backend 'tpu'` is of level INFO."""
    seen = []

    def stopped() -> bool:
        seen.append(absl.logging.get_verbosity())
        raise ValueError("far enough")

    flags.FLAGS.mark_as_parsed()
    monkeypatch.setattr(train.config_flags, "get_config_filename", lambda flag: "compact.py")
    monkeypatch.setattr(train, "_WORKDIR", SimpleNamespace(value=str(tmp_path)))
    package = logging.getLogger("urgentmos_jax")
    before = package.handlers[:], package.level, package.propagate, absl.logging.get_verbosity()
    absl.logging.set_verbosity(absl.logging.INFO)
    monkeypatch.setattr(train.topology, "is_first", stopped)
    try:
        with pytest.raises(SystemExit, match="far enough"):
            train.main(["launch.train"])
    finally:
        package.handlers[:], package.level, package.propagate = before[:3]
        absl.logging.set_verbosity(before[3])
    assert seen == [absl.logging.WARNING]


def test_a_slice_that_is_too_small_is_told_with_what_to_change(monkeypatch, capsys):
    def too_large(values, where, *, name):
        raise DoesNotFit(f"no room on {where}: --config.remat", "the plans")

    flags.FLAGS.mark_as_parsed()
    monkeypatch.setattr(train.config_flags, "get_config_filename", lambda flag: "compact.py")
    monkeypatch.setattr(train, "_CONFIG", SimpleNamespace(value=None))
    monkeypatch.setattr(train, "_WORKDIR", SimpleNamespace(value="unused"))
    monkeypatch.setattr(train, "_TOPOLOGY", SimpleNamespace(value="v5e:2x2"))
    monkeypatch.setattr(train, "describe_on_slice", too_large)
    monkeypatch.setattr(train, "show_log", lambda: None)
    with pytest.raises(app.UsageError, match="--topology goes with --dry_run"):
        train.main(["launch.train"])
    monkeypatch.setattr(train, "_DRY_RUN", SimpleNamespace(value=True))
    with pytest.raises(SystemExit, match=r"launch\.train: no room on v5e:2x2: --config\.remat"):
        train.main(["launch.train"])
    assert capsys.readouterr().out == "the plans\n"
    monkeypatch.setattr(train, "_TOPOLOGY", SimpleNamespace(value="v5e:2"))
    with pytest.raises(SystemExit, match="has 2 sides"):
        train.main(["launch.train"])


@pytest.mark.slow
def test_ssh_trains_on_several_hosts(tmp_path):
    """Two processes of `launch.train --distributed`, as two hosts would run them."""
    write_corpus(tmp_path / "data" / "mine" / "train", [8000 + 700 * i for i in range(9)])
    settings = tiny_config(tmp_path / "data").to_dict()
    arguments = ["--config", "configs/compact.py", "--workdir", str(tmp_path / "run"), "--config.data.valid=()"]
    arguments += ["--config.data.root", str(tmp_path / "data"), "--config.updates=4", "--config.log_every=2"]
    sizes = settings["model"]["encoders"]["compact"]["architecture"]
    small = {f"model.encoders.compact.architecture.{k}": sizes[k] for k in ("hidden_size", "num_attention_heads")}
    small |= {"model.encoders.compact.architecture.mel_bins": 16, "batch.seconds": 4.0, "batch.clips": 4}
    arguments += [f"--config.{key}={value}" for key, value in small.items()]
    # ssh -tt HOST COMMAND
    ssh = {"ssh": 'exec bash -c "$3"'}
    cache = {"JAX_COMPILATION_CACHE_DIR": jax.config.jax_compilation_cache_dir or "", "JAX_NUM_CPU_DEVICES": "1"}
    found = script(
        "ssh.sh",
        *arguments,
        "--export",
        str(tmp_path / "model"),
        stand_ins=ssh,
        folder=tmp_path / "bin",
        HOSTS="localhost 127.0.0.1",
        PORT=str(processes.free_port()),
        PYTHON=sys.executable,
        **cache,
    )
    assert found.returncode == 0, found.stdout[-3000:] + found.stderr[-2000:]
    assert "localhost: " in found.stdout and "update 4/4" in found.stdout
    assert list(processes.figures(tmp_path / "run")) == [1, 2, 3, 4]
    assert json.loads((tmp_path / "model" / "config.json").read_text())["origin"]["update"] == 4


def test_configs_of_a_working_folder_come_before_ours(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "configs").mkdir()
    (tmp_path / "configs" / "mine.py").write_text("")
    given = ["launch.train", "--config", "configs/compact.py", "--config=configs/f1c1m1.py:paper", "configs/mine.py"]
    wanted = ["launch.train", "--config", f"{ROOT}/configs/compact.py", f"--config={ROOT}/configs/f1c1m1.py:paper"]
    assert train.with_own_configs(given) == [*wanted, "configs/mine.py"]
