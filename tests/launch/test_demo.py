"""The demo, whole: what it prints and leaves behind. Minutes, so `.ci/run` runs it and the default tests do not."""

import json
import logging
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from launch.demo.progress import Progress

ROOT = Path(__file__).parents[2]
LEAST_SRCC = {"estoi": 0.90, "si_sdr": 0.90, "pesq": 0.90}


@pytest.mark.slow
def test_demo(tmp_path):
    environment = {k: v for k, v in os.environ.items() if k not in ("JAX_NUM_CPU_DEVICES", "XLA_FLAGS")}
    python = os.environ.get("DEMO_PYTHON", sys.executable)  # Of a fresh environment, in `.ci/run`.
    command = [python, "-m", "launch.demo", f"--workdir={tmp_path}"]
    found = subprocess.run(command, env=environment, cwd=ROOT, capture_output=True, text=True)
    assert found.returncode == 0, found.stderr[-2000:]
    assert "never met a listener's\nopinion" in found.stdout and "CMOS head, estoi" in found.stdout
    results = json.loads((tmp_path / "results.json").read_text())
    probe = "from urgentmos_jax.labels.intrusive import available; print(*available())"
    metrics = subprocess.run([python, "-c", probe], cwd=ROOT, capture_output=True, text=True, check=True).stdout.split()
    wanted = {name: least for name, least in LEAST_SRCC.items() if name in metrics}
    assert results["metrics"].keys() == wanted.keys()
    for name, least in wanted.items():
        assert results["metrics"][name]["srcc"] >= least, name
        assert results["metrics"][name]["srcc"] > results["metrics"][name]["ridge_srcc"], name
        assert {"noise", "mnru", "clipping", "band", "reverberation"} <= results["kinds"][name].keys()
    assert results["pairs"]["accuracy"] >= 0.9 and results["pairs"]["n"] > 100
    assert results["example"]["cmos"] > 0 and "finds the clean clip better" in found.stdout
    for name in ("predicted_against_true.png", "frame_scores.png"):
        assert (tmp_path / name).read_bytes().startswith(b"\x89PNG")
    assert {path.name for path in (tmp_path / "model").iterdir()} == {"config.json", "model.safetensors"}


def test_silence_is_broken(capsys):
    logger = logging.getLogger("some.package")
    with Progress(logger, every_seconds=0.6) as progress:
        progress.begin("compiling")
        time.sleep(1.6)
    lines = capsys.readouterr().err.splitlines()
    assert lines[0].endswith(" compiling") and lines[1].endswith("compiling: 1 s so far")
    assert not logger.handlers


def test_what_is_logged_breaks_silence_too(capsys):
    logger = logging.getLogger("some.package")
    logger.setLevel(logging.INFO)
    with Progress(logger, every_seconds=0.8) as progress:
        progress.begin("training")
        for _ in range(4):
            time.sleep(0.3)
            logger.info("update")
    assert len(capsys.readouterr().err.splitlines()) == 1
