"""The rooms of the package: which may import which, how large a file may be, and that a room is light to enter."""

import ast
import importlib
import subprocess
import sys
from pathlib import Path

import pytest

from tests.helpers.corpus import ROOT

PACKAGE = ROOT / "urgentmos_jax"
MAX_LINES = 420

# From the top down; an import goes down this list, or stays in its room. Rooms of one line do not see each other.
ORDER = (
    ("cli",),
    ("serving", "distributed"),
    ("challenges", "exporting", "interop"),
    ("training",),
    ("data",),
    ("report",),
    ("ranking",),
    ("evaluation",),
    ("corpora", "synthesis"),
    ("labels",),
    ("scoring",),
    ("statistics",),
    ("weights",),
    ("model",),
    ("encoders",),
    ("nn", "accelerators"),
    ("manifests",),
    ("audio",),
    ("metrics", "schema", "files", "tables", "lazy", "launch", "version"),
)
LEVEL = {room: level for level, rooms in enumerate(ORDER) for room in rooms}
ROOMS = sorted(path.parent.name for path in PACKAGE.glob("*/__init__.py"))


def module_name(path: Path) -> str:
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


MODULES = {module_name(path): path for path in sorted(PACKAGE.rglob("*.py"))}


def imports(name: str) -> set[str]:
    """Modules of the package that a module imports, also in functions and for types alone."""
    found = set()
    for node in ast.walk(ast.parse(MODULES[name].read_text())):
        if isinstance(node, ast.ImportFrom):
            assert not node.level, f"{name} imports by a relative name"
            names = [f"{node.module}.{one.name}" for one in node.names]
            found |= {full if full in MODULES else str(node.module) for full in names}
        elif isinstance(node, ast.Import):
            found |= {one.name for one in node.names}
    return {one for one in found if one in MODULES} - {name}


IMPORTS = {name: imports(name) for name in MODULES}


def room(name: str) -> str:
    return name.split(".")[1] if "." in name else ""


def test_every_room_has_its_place():
    assert {room(name) for name in MODULES} - {""} - {"_moved"} <= LEVEL.keys()


def test_every_import_goes_down():
    up = [
        f"{name} imports {other}"
        for name, others in IMPORTS.items()
        for other in others
        if room(name) in LEVEL and room(other) != room(name)
        if room(other) not in LEVEL or LEVEL[room(other)] <= LEVEL[room(name)]
        # Files that belong to no room stand at the bottom together.
        if not (LEVEL.get(room(other)) == LEVEL[room(name)] == len(ORDER) - 1)
    ]
    assert not up, "\n".join(up)


def test_a_room_imports_its_own_files_by_name():
    whole = [
        f"{name} imports the room {other}"
        for name, others in IMPORTS.items()
        for other in others
        if not name.endswith("__main__")
        and "." in name
        and other in {f"urgentmos_jax.{one}" for one in ROOMS}
        and room(name) == room(other)
    ]
    assert not whole, "\n".join(whole)


def test_no_circle_of_files():
    """Files without imports among those that are left are taken away, until none is left."""
    left = {name: set(others) for name, others in IMPORTS.items()}
    while free := [name for name, others in left.items() if not others & left.keys()]:
        for name in free:
            del left[name]
    assert not left, f"in or above a circle: {sorted(left)}"


def test_files_are_short():
    long = {name: lines for name, path in MODULES.items() if (lines := path.read_text().count("\n")) > MAX_LINES}
    assert not long


@pytest.mark.parametrize("name", ROOMS)
def test_public_names_of_a_room(name: str):
    module = importlib.import_module(f"urgentmos_jax.{name}")
    assert module.__doc__ and all(getattr(module, one) is not None for one in getattr(module, "__all__", ()))


def test_rooms_are_light_to_enter():
    heavy = ("jax", "flax", "grain", "orbax", "transformers", "scipy", "soundfile", "torch")
    rooms = ", ".join(f"urgentmos_jax.{one}" for one in ROOMS)
    code = f"import sys, {rooms}; print([m for m in {heavy} if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
