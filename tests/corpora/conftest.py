"""Fixtures of the corpora."""

from pathlib import Path

import pytest


@pytest.fixture
def root(tmp_path) -> Path:
    # A folder whose name is of no consequence, whatever it holds.
    folder = tmp_path / "EVAL TRAIN VAL" / "source"
    folder.mkdir(parents=True)
    return folder
