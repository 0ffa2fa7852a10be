"""A corpus, and one run of `tiny_config` to its end, which all workers of a session share."""

import json
import os
import shutil
from pathlib import Path

import filelock
import jax
import pytest

from tests.helpers.corpus import tiny_config, write_corpus
from urgentmos_jax.training.trainer import Trainer


@pytest.fixture(scope="session")
def data(tmp_path_factory) -> Path:
    root = tmp_path_factory.mktemp("data")
    write_corpus(root / "mine" / "train", [8000 + 700 * i for i in range(8)], metrics=("mos_overall", "pesq"))
    write_corpus(root / "mine" / "dev", [9000, 9500, 10000, 11000], seed=99)
    return root


@pytest.fixture(scope="session")
def trained(data: Path, tmp_path_factory) -> Path:
    """`run`, its folder; `best`, the model it exports; `results.json`, what it returned. Who writes takes a copy."""
    base = tmp_path_factory.getbasetemp()
    folder = (base.parent if "PYTEST_XDIST_WORKER" in os.environ else base) / "trained"
    with filelock.FileLock(folder.with_suffix(".lock")):
        if not (folder / "results.json").exists():
            shutil.rmtree(folder, ignore_errors=True)
            trainer = Trainer(tiny_config(data), folder / "run", devices=jax.local_devices()[:2])
            results = trainer.run()
            trainer.export(folder / "best")
            (folder / "results.json").write_text(json.dumps(results))
    return folder
