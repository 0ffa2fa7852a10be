"""The notebooks: they run on small data, and what the repository keeps of their outputs is small."""

import json
import os
from pathlib import Path

import nbformat
import pytest
import soundfile
from nbclient import NotebookClient

from tests.helpers.corpus import speech_like, tiny_config, write_corpus

NOTEBOOKS = sorted((Path(__file__).parents[2] / "notebooks").glob("*.ipynb"))
MOST_BYTES = 4096


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_outputs_kept_are_small(path):
    cells = json.loads(path.read_text())["cells"]
    outputs = [output for cell in cells for output in cell.get("outputs", ())]
    assert len(json.dumps(outputs)) <= MOST_BYTES * max(1, len(outputs)), "clear the outputs of this notebook"
    assert all(len(json.dumps(output)) <= MOST_BYTES for output in outputs), "clear the outputs of this notebook"


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


@pytest.mark.slow
@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_runs(path, material, monkeypatch):
    for name, value in material.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("PYTHONPATH", str(path.parents[1]) + os.pathsep + os.environ.get("PYTHONPATH", ""))
    notebook = nbformat.read(path, 4)
    for cell in notebook.cells:
        cell.pop("outputs", None) if cell.cell_type == "markdown" else cell.update(outputs=[])
    NotebookClient(notebook, timeout=300, resources={"metadata": {"path": str(path.parent)}}).execute()
    outputs = [output for cell in notebook.cells for output in cell.get("outputs", ())]
    assert any(output.output_type == "stream" and output.name == "stdout" for output in outputs)
    printed = "".join(o.text for o in outputs if o.output_type == "stream" and o.name == "stdout")
    assert "nan" not in printed.lower().split(), printed
