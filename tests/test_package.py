"""What is installed: the plain package is for scoring, extras for the rest; a wheel holds the programs too."""

import configparser
import fnmatch
import importlib
import json
import os
import shutil
import site
import subprocess
import sys
import venv
from pathlib import Path

import numpy as np
import pytest
import soundfile

from tests.helpers.corpus import ROOT
from urgentmos_jax.weights.encoder_folder import read_config

# Packages that scoring must not import.
HEAVY = ("torch", "transformers", "grain", "orbax", "tensorboardX", "ml_collections", "matplotlib", "jinja2")

SCORE = f"""
import sys
from urgentmos_jax.cli import main
status = main(sys.argv[1:])
assert not (found := [name for name in {HEAVY} if name in sys.modules]), found
sys.exit(status)
"""


@pytest.fixture(scope="module")
def setup() -> configparser.ConfigParser:
    parser = configparser.ConfigParser()
    parser.read(ROOT / "setup.cfg")
    return parser


def names(requirements: str) -> set[str]:
    """Of a list in setup.cfg, without extras and versions."""
    lines = [line.strip() for line in requirements.splitlines()]
    return {line.split(";")[0].split(">")[0].split("[")[0].strip() for line in lines if line and line[0] != "#"}


def test_the_plain_install_is_for_scoring(setup):
    plain = names(setup["options"]["install_requires"])
    assert {"jax", "flax", "soundfile"} <= plain
    assert not plain & {"grain", "orbax-checkpoint", "transformers", "torch", "tensorboardX", "ml-collections"}


def test_no_extra_brings_torch(setup):
    for extra, requirements in setup["options.extras_require"].items():
        assert extra == "predictors-torch" or not names(requirements) & {"torch", "torchaudio"}, extra


def test_the_source_archive_holds_what_is_tracked():
    listed = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True)
    if listed.returncode:
        pytest.skip("not a clone")
    patterns = []
    for kind, *rest in (line.split() for line in (ROOT / "MANIFEST.in").read_text().splitlines()):
        folder, rest = (rest[0] + "/", rest[1:]) if kind == "recursive-include" else ("", rest)
        patterns += [f"{folder}*{one}" if folder else one for one in rest]
    left_out = [
        path
        for path in listed.stdout.splitlines()
        if path not in ("setup.py", "setup.cfg", "MANIFEST.in")
        if not path.startswith("urgentmos_jax/") or not path.endswith(".py")
        if not any(fnmatch.fnmatchcase(path, pattern) for pattern in patterns)
    ]
    assert not left_out


@pytest.mark.parametrize("module, package", [("data.loader", "grain"), ("training.checkpoints", "orbax.checkpoint")])
def test_a_missing_extra_is_named(module: str, package: str, monkeypatch):
    monkeypatch.setitem(sys.modules, package, None)
    monkeypatch.delitem(sys.modules, f"urgentmos_jax.{module}", raising=False)
    with pytest.raises(ModuleNotFoundError, match=rf'{package} is missing: pip install "urgentmos_jax\[train\]"'):
        importlib.import_module(f"urgentmos_jax.{module}")


def test_programs_name_their_extra(monkeypatch):
    monkeypatch.setitem(sys.modules, "ml_collections", None)
    monkeypatch.delitem(sys.modules, "launch", raising=False)
    with pytest.raises(SystemExit, match=r'launch: ml_collections is missing: pip install "urgentmos_jax\[train\]"'):
        importlib.import_module("launch")


def test_defaults_of_an_encoder_name_their_extra(tmp_path: Path, monkeypatch):
    source = ROOT / "tests" / "golden" / "encoders" / "wavlm-base"
    content = json.loads((source / "config.json").read_text())
    del content["feat_extract_norm"]
    (tmp_path / "config.json").write_text(json.dumps(content))
    shutil.copy(source / "preprocessor_config.json", tmp_path)
    monkeypatch.setitem(sys.modules, "transformers", None)
    with pytest.raises(ModuleNotFoundError, match=r"urgentmos_jax\[hub\].*config\.json leaves out feat_extract_norm"):
        read_config(tmp_path)


def test_programs_are_found_beside_a_clone(monkeypatch):
    """`python -m urgentmos_jax.launch.train` is `python -m launch.train`."""
    ours = importlib.import_module("urgentmos_jax.launch")
    assert importlib.import_module("urgentmos_jax.launch.demo").__file__ == str(ROOT / "launch/demo/__init__.py")
    assert Path(ours.FOLDER) == ROOT and str(ROOT) in sys.path


@pytest.fixture(scope="module")
def installed(tmp_path_factory) -> str:
    """Python of an environment with the wheel: $INSTALLED_PYTHON, else one that borrows the packages of this one."""
    if given := os.environ.get("INSTALLED_PYTHON"):
        return given
    folder = tmp_path_factory.mktemp("wheel")
    source = folder / "source"
    for name in ("urgentmos_jax", "configs", "launch"):
        shutil.copytree(ROOT / name, source / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("setup.py", "setup.cfg", "MANIFEST.in", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, source)
    command = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--wheel-dir", folder, source]
    if all(map(importlib.util.find_spec, ("setuptools", "wheel"))):  # Else pip fetches them.
        command.insert(4, "--no-build-isolation")
    subprocess.run(command, check=True, timeout=300)
    venv.create(folder / "venv", symlinks=True)
    python = str(folder / "venv" / "bin" / "python")
    (where,) = (folder / "venv").glob("lib/python*/site-packages")
    (wheel,) = folder.glob("*.whl")
    command = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--target", where, wheel]
    subprocess.run(command, check=True, timeout=300)
    # Behind the environment's own folder; a .pth of an editable install there is not read.
    borrowed = [path for path in (*site.getsitepackages(), site.getusersitepackages()) if Path(path).is_dir()]
    (where / "borrowed.pth").write_text("\n".join(borrowed) + "\n")
    return python


@pytest.mark.slow
def test_the_wheel_scores(installed: str, model_folder: Path, tmp_path: Path):
    rng = np.random.default_rng(0)
    soundfile.write(tmp_path / "a.wav", 0.1 * rng.standard_normal(16000), 16000)
    # Flags of XLA that these tests set are of another jax than that environment may have.
    environment = {k: v for k, v in os.environ.items() if k not in ("PYTHONPATH", "XLA_FLAGS")}

    def run(*arguments: object) -> subprocess.CompletedProcess[str]:
        command = [installed, *map(str, arguments)]
        return subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=300)

    if os.environ.get("INSTALLED_PYTHON"):
        find = "from importlib.util import find_spec; print([x for x in sys.argv[1:] if find_spec(x)])"
        assert run("-c", f"import sys; {find}", "grain", "transformers", "torch").stdout == "[]\n"
    found = run("-c", "import urgentmos_jax; print(urgentmos_jax.__file__)")
    assert "site-packages" in found.stdout and str(ROOT) not in found.stdout, found
    found = run("-c", SCORE, "score", "a.wav", "--model", model_folder)
    assert found.returncode == 0, found.stderr
    row = json.loads(found.stdout)
    assert row["error"] is None and all(np.isfinite(value) for value in row["scores"].values())

    # The model of the package is in the wheel.
    found = run("-c", SCORE, "score", "a.wav", "--model", "urgentmos-small")
    assert found.returncode == 0, found.stderr
    assert json.loads(found.stdout)["scores"].keys() >= {"distill_mos", "mos_overall"}

    # Programs and configs, from a folder that has none.
    find = "from importlib.util import find_spec; print(find_spec('urgentmos_jax.launch.train').origin)"
    if found := run("-c", find).stderr:  # Without the extra `train`, which the installed environment may not have.
        assert found.endswith('launch: ml_collections is missing: pip install "urgentmos_jax[train]"\n'), found
        return
    found = run("-m", "urgentmos_jax.launch.train", "--config=configs/compact.py", "--dry_run")
    assert found.returncode == 0 and "GFLOP" in found.stdout, found.stderr
