"""The notebooks: they run on small data, and what the repository keeps of their outputs is small."""

import configparser
import json
import os
import re
from pathlib import Path

import pytest
import soundfile

from tests.helpers.corpus import speech_like, tiny_config, write_corpus
from tests.notebooks.refresh import FOLDER, MOST_BYTES, SUBJECTS, execute

NOTEBOOKS = sorted(FOLDER.glob("*.ipynb"))
# Those that train do so for a few updates.
SHORTER = {
    "train_on_your_ratings": ("updates=100, save_every=100", "updates=10, save_every=10"),
    "use_as_a_loss": ("UPDATES, EVERY = 40, 8", "UPDATES, EVERY = 4, 2"),
}
# Notebooks that take a model and material of one's own.
OWN = ("compare_two_systems", "evaluate_and_rank", "multi_metric_supervision", "score_and_hear")


def cells_of(name: str) -> list[dict]:
    return json.loads((FOLDER / f"{name}.ipynb").read_text(encoding="utf-8"))["cells"]


def test_subjects():
    assert {path.stem for path in NOTEBOOKS} == {*SUBJECTS, "multi_metric_supervision"}


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_outputs_kept_are_small(path):
    cells = json.loads(path.read_text(encoding="utf-8"))["cells"]
    outputs = [output for cell in cells for output in cell.get("outputs", ())]
    assert len(json.dumps(outputs)) <= MOST_BYTES * max(1, len(outputs)), "clear the outputs of this notebook"
    assert all(len(json.dumps(output)) <= MOST_BYTES for output in outputs), "clear the outputs of this notebook"


@pytest.mark.parametrize("name", SUBJECTS)
def test_a_picture_is_on_the_first_screen(name):
    _, install, first, *_ = cells_of(name)
    assert not install["outputs"]
    pictures = [output for output in first["outputs"] if "image/png" in output.get("data", {})]
    assert pictures, "run python -m tests.notebooks.refresh"


@pytest.mark.parametrize("name", SUBJECTS)
def test_it_opens_in_colab_and_kaggle(name):
    title, install, *others = ("".join(cell["source"]) for cell in cells_of(name))
    (repository,) = re.findall(r'^REPOSITORY = "(https://github\.com/[^/]+/[^/"]+)"$', install, re.M)
    assert "%pip install" in install and "find_spec" in install
    page = f"blob/main/notebooks/{name}.ipynb"
    owner_and_name = repository.removeprefix("https://github.com/")
    assert f"](https://colab.research.google.com/github/{owner_and_name}/{page})" in title
    assert f"](https://kaggle.com/kernels/welcome?src={repository}/{page})" in title
    # One address for all, that of setup.cfg once it tells one.
    metadata = configparser.ConfigParser()
    metadata.read(FOLDER.parent / "setup.cfg", encoding="utf-8")
    stated = metadata["metadata"].get("url", repository)
    (told,) = re.findall(r"https://github\.com/[\w-]+/[\w-]+", (FOLDER / "README.md").read_text(encoding="utf-8"))
    assert repository == stated == told
    assert not re.findall(r"(?<![\w./:])/(?:home|tmp|work|content|root)\b", "\n".join([title, install, *others]))


@pytest.fixture(scope="module")
def material(tmp_path_factory) -> dict[str, str]:
    """A model trained for a few updates, a labelled manifest, and recordings of three systems."""
    from urgentmos_jax.training.trainer import Trainer

    folder = tmp_path_factory.mktemp("notebooks")
    manifest = write_corpus(folder / "mine" / "train", [16000 + 400 * i for i in range(12)])
    write_corpus(folder / "mine" / "dev", [16000 + 500 * i for i in range(4)], seed=50)
    config = tiny_config(folder)
    trainer = Trainer(config, folder / "run")
    trainer.run()
    trainer.export(folder / "model")
    for place, system in enumerate(("clean", "codec", "noisy")):
        (folder / "recordings" / system).mkdir(parents=True)
        for seed in range(4):
            clip = speech_like(10 * place + seed, 16000 + 300 * seed)
            soundfile.write(folder / "recordings" / system / f"sentence{seed}.wav", clip, 16000)
    return {
        "URGENTMOS_MODEL": str(folder / "model"),
        "URGENTMOS_RECORDINGS": str(folder / "recordings"),
        "URGENTMOS_MANIFEST": str(manifest),
    }


def printed_by(path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setenv("PYTHONPATH", str(path.parents[1]) + os.pathsep + os.environ.get("PYTHONPATH", ""))
    notebook = execute(path, SHORTER.get(path.stem, ("", "")))
    outputs = [output for cell in notebook.cells for output in cell.get("outputs", ())]
    assert any(output.output_type == "stream" and output.name == "stdout" for output in outputs)
    printed = "".join(o.text for o in outputs if o.output_type == "stream" and o.name == "stdout")
    assert "nan" not in printed.lower().split(), printed
    return printed


@pytest.mark.slow
@pytest.mark.parametrize("path", [path for path in NOTEBOOKS if path.stem in OWN], ids=lambda path: path.stem)
def test_runs(path, material, monkeypatch):
    for name, value in material.items():
        monkeypatch.setenv(name, value)
    printed_by(path, monkeypatch)


# The same code as above, or trainings, and minutes each.
MINUTES = ("evaluate_and_rank", "train_on_your_ratings", "use_as_a_loss")


@pytest.mark.slow
@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=[pytest.mark.long] * (name in MINUTES)) for name in SUBJECTS]
)
def test_runs_on_what_the_package_holds(name, monkeypatch):
    # As users run them: what the tests set for tiny models makes the packaged one slow.
    for variable in list(os.environ):
        if variable.startswith("URGENTMOS_") or variable in ("XLA_FLAGS", "JAX_NUM_CPU_DEVICES"):
            monkeypatch.delenv(variable)
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    printed_by(FOLDER / f"{name}.ipynb", monkeypatch)
