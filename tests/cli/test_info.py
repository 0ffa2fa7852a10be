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


def test_version_needs_no_jax():
    code = "import sys; from urgentmos_jax.cli import main\ntry: main(['--version'])\nexcept SystemExit: pass\n"
    code += "assert 'jax' not in sys.modules and 'torch' not in sys.modules"
    assert subprocess.run([sys.executable, "-c", code], timeout=60).returncode == 0
