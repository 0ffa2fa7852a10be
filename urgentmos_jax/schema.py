"""Config dataclasses come from JSON files: whether they hold what their annotations say."""

import dataclasses
import math
import types
import typing
from collections.abc import Iterator
from typing import Any, Literal

__all__ = ["type_faults"]

# Above any width, and few enough layers for the table of their weights to fit in memory.
_LARGEST = 65_536


def type_faults(value: Any, hint: Any = Any, name: str = "", *, least: int = 1) -> Iterator[str]:
    """What in a config is not of its annotated type; whole numbers are sizes and counts.

    Args:
        value: A dataclass, or a value in one.
        hint: Its annotation. `Any` that holds a dataclass is looked into.
        name: Its place, for messages.
        least: Smallest whole number; `least` in the metadata of a field is that of its value.

    Yields:
        One sentence for each fault.
    """
    origin, inner = typing.get_origin(hint), typing.get_args(hint)
    wanted = getattr(hint, "__name__", str(hint))
    if origin in (typing.Union, types.UnionType):
        if value is not None or types.NoneType not in inner:
            yield from type_faults(value, next(part for part in inner if part is not types.NoneType), name)
        return
    if dataclasses.is_dataclass(value) and (hint is Any or (isinstance(hint, type) and isinstance(value, hint))):
        hints = typing.get_type_hints(type(value))
        for field in dataclasses.fields(value):
            place = f"{name}.{field.name}".strip(".")
            least = field.metadata.get("least", 1)
            yield from type_faults(getattr(value, field.name), hints[field.name], place, least=least)
        return
    if origin in (tuple, dict) and isinstance(value, origin):
        for key, item in value.items() if origin is dict else enumerate(value):
            yield from type_faults(item, inner[origin is dict], f"{name}.{key}")
        return
    if origin is Literal:
        fits, wanted = value in inner, " or ".join(map(repr, inner))
    elif hint is int:
        fits, wanted = type(value) is int and least <= value <= _LARGEST, f"a whole number from {least} to {_LARGEST}"
    elif hint is float:
        fits, wanted = type(value) in (int, float) and not math.isnan(value), "a number"
    else:
        fits = hint is Any or isinstance(value, origin or hint)
    if not fits:
        yield f"{name} is {value!r}, wanted is {wanted}"
