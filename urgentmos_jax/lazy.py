"""Public names of a room, imported when they are asked for (PEP 562), so that to enter a room is light; extras."""

import importlib
from collections.abc import Callable, Iterable
from typing import Any


def public(room: str, **files: str) -> tuple[Callable[[str], Any], list[str]]:
    """`__getattr__` and `__all__` of a room.

    Args:
        room: Its `__name__`.
        files: Public names of each file, with spaces between.
    """
    file_of = {name: file for file, names in files.items() for name in names.split()}

    def get(name: str) -> Any:
        if name not in file_of:
            raise AttributeError(f"module {room!r} has no attribute {name!r}")
        return getattr(importlib.import_module(f"{room}.{file_of[name]}"), name)

    return get, sorted(file_of)


def missing(error: ModuleNotFoundError, extra: str, why: str = "") -> ModuleNotFoundError:
    """What to raise, `from None`, where a package of an extra of setup.cfg is not installed."""
    text = f'{error.name} is missing: pip install "urgentmos_jax[{extra}]"' + (f" ({why})" if why else "")
    return ModuleNotFoundError(text, name=error.name)


def need(packages: Iterable[str], extra: str) -> None:
    """Looks for packages before work begins that uses them.

    Raises:
        ModuleNotFoundError: One is not installed; it names the extra of setup.cfg.
    """
    for name in packages:
        try:
            importlib.import_module(name)
        except ModuleNotFoundError as error:
            raise missing(error, extra) from None
