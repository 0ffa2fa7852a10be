"""Inputs that once went wrong: each is read as `corpus/expected.json` says, and breaks none of what must hold."""

import json
import shutil
import sys
from pathlib import Path

import pytest

from tests.fuzz.targets import TARGETS

CORPUS = Path(__file__).parent / "corpus"
EXPECTED = json.loads((CORPUS / "expected.json").read_text())


@pytest.mark.parametrize("name", EXPECTED)
def test_findings_stay_mended(name, tmp_path, monkeypatch):
    unraised = []
    monkeypatch.setattr(sys, "unraisablehook", unraised.append)
    target = TARGETS[name.split("/")[0]]
    path = Path(shutil.copy(CORPUS / name, tmp_path))
    outcome, found = target.read(path)
    flags = getattr(found, "flags", ())
    assert " ".join([outcome, *flags]) == EXPECTED[name]
    assert not unraised


def test_each_finding_is_expected():
    held = {str(path.relative_to(CORPUS)) for path in CORPUS.rglob("*") if path.is_file()}
    assert held == {*EXPECTED, "expected.json"}


@pytest.mark.parametrize("target", TARGETS)
def test_seeds_are_read(target, tmp_path):
    for data in TARGETS[target].seeds().values():
        path = tmp_path / f"seed{TARGETS[target].suffix}"
        path.write_bytes(data)
        assert TARGETS[target].read(path)[0] == "read"
