"""`urgentmos info`, and `urgentmos` itself."""

import subprocess
import sys
from pathlib import Path

import pytest

from urgentmos_jax.cli import main
from urgentmos_jax.weights.torch_zip import read_torch_file

CASE = Path(__file__).parents[1] / "golden" / "model" / "c1m5-mean-base"


def test_info(model_folder, capsys):
    assert main(["info", str(model_folder)]) == 0
    out = capsys.readouterr().out
    assert "mos_overall          1 to 5, scores and comparisons" in out and "wavlm, 3 layers of 32" in out
    (total,) = [float(line.split()[2]) for line in out.splitlines() if line.startswith("all ")]
    trained = float(next(line for line in out.splitlines() if line.startswith("all ")).split()[1])
    assert "GFLOP" in out and "GB with" in out and trained > 0
    total += trained
    tensors = read_torch_file(CASE / "model.pt")["model"]
    # All but the ten bounds and the training-only mask embedding; weight norm is folded (16 gains).
    assert total == pytest.approx((sum(t.size for t in tensors.values()) - 10 - 32 - 16) / 1e6, abs=1e-3)


def test_info_on_a_slice(model_folder, monkeypatch, capsys):
    from urgentmos_jax.accelerators.plan import Plan
    from urgentmos_jax.accelerators.work import Work

    def plans(memory: float):
        parts = ("256 clips of 4.7 s", 1203.2, memory, 16.9e9, {}, {}, (), Work(1e12, 6e12, 1e9), 1.0, "0")
        return lambda config, where, **_: [Plan(str(where), where.chips, {"data": where.chips}, *parts)]

    command = ["info", str(model_folder), "--topology=v5e:2x2"]
    monkeypatch.setattr("urgentmos_jax.scoring.slices.plan_scoring", plans(1e9))
    assert main(command) == 0
    out = capsys.readouterr().out
    assert "v5e:2x2: 4 chips" in out and "1.00 GB of a chip, which has 16.90 GB: fits" in out
    # Six passes of the matrix units for float32 at the highest precision: 6e12 over 4 chips of 197e12.
    assert "at least 7.6 ms a step" in out
    monkeypatch.setattr("urgentmos_jax.scoring.slices.plan_scoring", plans(20e9))
    assert main(command) == 1 and "--batch-seconds" in capsys.readouterr().out
    assert main(["info", str(model_folder), "--topology=v9:2x2"]) == 2
    assert "expected a chip of v5e, v5p, v6e" in capsys.readouterr().err


def test_version_needs_no_jax():
    code = "import sys; from urgentmos_jax.cli import main\ntry: main(['--version'])\nexcept SystemExit: pass\n"
    code += "assert 'jax' not in sys.modules and 'torch' not in sys.modules"
    assert subprocess.run([sys.executable, "-c", code], timeout=60).returncode == 0
