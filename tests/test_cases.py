"""The tables of tests/README.md: thirty cases, and the tests that they and the kinds of faults name, are there."""

import re
from pathlib import Path

import pytest

TESTS = Path(__file__).parent
README = (TESTS / "README.md").read_text()
CASES = dict(re.findall(r"^\| (\d+) \| .* \| (.*) \|$", README, re.MULTILINE))
NAMED = sorted(set(re.findall(r"`([\w/]+\.py)::(test_\w+)`", README)))


def test_there_are_thirty_cases():
    assert list(map(int, CASES)) == list(range(1, 31))
    assert [number for number, tests in CASES.items() if "::test_" not in tests] == []


@pytest.mark.parametrize("file", sorted({file for file, _ in NAMED}))
def test_the_tests_that_are_named_are_there(file: str):
    there = set(re.findall(r"^def (test_\w+)\(", (TESTS / file).read_text(), re.MULTILINE))
    assert [name for path, name in NAMED if path == file and name not in there] == []
