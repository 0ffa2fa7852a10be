"""What the READMEs point to is there."""

import re
from pathlib import Path

import pytest

from urgentmos_jax._moved import MODULES

ROOT = Path(__file__).parents[1]
READMES = [ROOT / "README.md", ROOT / "CHANGELOG.md"]
READMES += sorted(path for room in ("launch", "urgentmos_jax", "tests") for path in (ROOT / room).rglob("README.md"))
READMES = [path for path in READMES if "node_modules" not in path.parts]


def test_the_first_readme_is_short_and_starts_with_scoring():
    lines = (ROOT / "README.md").read_text().splitlines()
    assert len(lines) <= 150
    first = next(line for line in lines if line.startswith("## "))
    assert first == "## Score, compare, rank"
    text = "\n".join(lines)
    assert 'pip install -e ".[demo]" && python -m launch.demo' in text
    assert 'pip install -e ".[test]" && pytest' in text


@pytest.mark.parametrize("path", READMES, ids=lambda path: str(path.relative_to(ROOT)))
def test_links_lead_somewhere(path):
    for target in re.findall(r"\]\((?!https?:)([^)#]+)", path.read_text()):
        assert (path.parent / target).exists(), target


def test_the_tour_leads_to_files():
    text = (ROOT / "urgentmos_jax" / "README.md").read_text()
    tour = text[text.index("### A stranger's tour") : text.index("## Formats")]
    files = re.findall(r"\| `([\w/]+\.py)` \|", tour)
    assert len(files) >= 6
    for file in files:
        assert (ROOT / "urgentmos_jax" / file).is_file(), file


def test_the_rooms_are_listed():
    text = (ROOT / "urgentmos_jax" / "README.md").read_text()
    rooms = {path.parent.name for path in (ROOT / "urgentmos_jax").glob("*/__init__.py")}
    files = {path.name for path in (ROOT / "urgentmos_jax").glob("[a-z]*.py")} - {"version.py"}
    for name in [f"{room}/" for room in rooms] + sorted(files):
        assert f"`{name}`" in text, name


def test_the_changelog_names_each_path_that_moved():
    text = (ROOT / "CHANGELOG.md").read_text()
    for old, places in MODULES.items():
        assert f"| `{old}` | {', '.join(f'`{place}`' for place in places)}" in text
