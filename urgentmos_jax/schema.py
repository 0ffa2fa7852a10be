"""From plain values (JSON, config files) to dataclasses and back; everything that is wrong is found at once.

What a field may hold is its annotation: a number, a string, `Literal`, `X | None`, tuples, dicts and other dataclasses.
Its metadata say more:

    min, max, above    Range of a number, `above` not included. A whole number without them is a size: 1 to 65,536.
    null               Number that JSON has no spelling for, and that null stands for.
    later              Key that files from before it existed lack, and configs may leave out; they mean its default.
    tag, variants      Key whose value chooses the class of a field that may be one of several dataclasses.
"""

import dataclasses
import math
import types
import typing
from collections.abc import Mapping, Sequence
from typing import Any, Literal, TypeVar

T = TypeVar("T")

# Above any width, and few enough layers for the table of their weights to fit in memory.
_LARGEST = 65_536


class SchemaError(ValueError):
    """Values that do not fit a dataclass.

    Attributes:
        faults: All that is wrong, each with the key it is about.
    """

    def __init__(self, faults: Sequence[str]):
        super().__init__("; ".join(faults))
        self.faults = list(faults)


def at_least(least: float) -> dict[str, float]:
    """Metadata of a number without an upper bound."""
    return {"min": least, "max": math.inf}


def read(cls: type[T], values: Any, *, name: str = "", defaults: bool = True) -> T:
    """Makes a dataclass of plain values.

    Args:
        cls: The dataclass; its fields may be dataclasses.
        values: A mapping with its keys. A tuple may also be given as entries by name, which then name its parts in
            messages; a dataclass as itself.
        name: Of the values, for messages.
        defaults: Whether a key may be left out whose field has a default (`default_factory` is none).

    Raises:
        SchemaError: naming every key that is unknown, missing, or of another type or range.
    """
    reader = _Reader(defaults=defaults)
    found = reader.dataclass(cls, values, name)
    if reader.faults:
        raise SchemaError(reader.faults)
    return found


def find_faults(value: Any) -> list[str]:
    """What in a dataclass is not as its annotations and metadata say."""
    reader = _Reader(defaults=True)
    reader.dataclass(type(value), value, "")
    return reader.faults


def as_json(value: Any) -> Any:
    """A dataclass as plain values, which `read` takes."""
    if dataclasses.is_dataclass(value):
        found = {field.name: as_json(getattr(value, field.name)) for field in dataclasses.fields(value)}
        nulls = {field.name: field.metadata.get("null") for field in dataclasses.fields(value)}
        return {key: None if one is not None and one == nulls[key] else one for key, one in found.items()}
    if isinstance(value, Mapping):
        return {key: as_json(one) for key, one in value.items()}
    return [as_json(one) for one in value] if isinstance(value, (tuple, list)) else value


class _Reader:
    """Values as annotations say; faults are gathered."""

    def __init__(self, *, defaults: bool):
        self.faults: list[str] = []
        self._defaults = defaults

    def value(self, hint: Any, value: Any, name: str, metadata: Mapping[str, Any]) -> Any:
        origin, inner = typing.get_origin(hint), typing.get_args(hint)
        if value is None and "null" in metadata:
            return metadata["null"]
        if origin in (typing.Union, types.UnionType):
            if value is None and types.NoneType in inner:
                return None
            return self.value(next(part for part in inner if part is not types.NoneType), value, name, metadata)
        if "tag" in metadata:
            return self._variant(hint, value, name, metadata["tag"], metadata["variants"])
        if dataclasses.is_dataclass(hint):
            return self.dataclass(hint, value, name)
        if origin is dict and isinstance(value, Mapping):
            return {key: self.value(inner[1], one, f"{name}.{key}", {}) for key, one in value.items()}
        if origin is tuple and isinstance(value, (Mapping, tuple, list)):
            entries = value.items() if isinstance(value, Mapping) else enumerate(value)
            return tuple(self.value(inner[0], one, f"{name}.{key}", metadata) for key, one in entries)
        if origin is Literal:
            if value not in inner:
                self.faults.append(f"{name} is {value!r}, must be one of {', '.join(map(str, inner))}")
        elif hint is float and type(value) in (int, float) and _in_range(value, metadata):
            return float(value)
        elif hint is int and type(value) is int and _in_range(value, {"min": 1, "max": _LARGEST, **metadata}):
            return value
        elif hint in (float, int) or not (hint is Any or isinstance(value, origin or hint)):
            self.faults.append(f"{name} is {value!r}, expected {_expected(hint, metadata)}")
        return value

    def dataclass(self, cls: Any, value: Any, name: str) -> Any:
        fields = {field.name: field for field in dataclasses.fields(cls)}
        if isinstance(value, cls):
            value = {key: getattr(value, key) for key in fields}
        if not isinstance(value, Mapping):
            self.faults.append(f"{name or 'the whole'} is {value!r}, expected the keys {', '.join(fields)}")
            return None
        hints = typing.get_type_hints(cls)
        before = len(self.faults)
        self.faults += [f"unknown key {_join(name, key)}" for key in value if key not in fields]
        for key, field in fields.items():
            optional = self._defaults or "later" in field.metadata
            if key not in value and not (optional and field.default is not dataclasses.MISSING):
                self.faults.append(f"missing key {_join(name, key)}")
        found = {
            key: self.value(hints[key], value[key], _join(name, key), field.metadata)
            for key, field in fields.items()
            if key in value
        }
        if len(self.faults) > before:
            return None
        try:
            return cls(**found)
        except ValueError as error:
            self.faults.append(f"{name}: {error}" if name else str(error))
            return None

    def _variant(self, hint: Any, value: Any, name: str, tag: str, variants: Mapping[str, type]) -> Any:
        if isinstance(value, hint):
            return self.dataclass(type(value), value, name)
        kind = value.get(tag) if isinstance(value, Mapping) else None
        if not isinstance(kind, str) or kind not in variants:
            self.faults.append(f"{_join(name, tag)} is {kind!r}, must be one of {', '.join(variants)}")
            return None
        return self.dataclass(variants[kind], value, name)


def _join(name: str, key: str) -> str:
    return f"{name}.{key}" if name else str(key)


def _in_range(value: float, metadata: Mapping[str, Any]) -> bool:
    """Whether a number is one (NaN is not, nor is what is too large for a float), and in its range."""
    try:
        number = float(value)
    except OverflowError:
        return False
    low, high, above = metadata.get("min", -math.inf), metadata.get("max", math.inf), metadata.get("above")
    return not math.isnan(number) and low <= value <= high and (above is None or value > above)


def _expected(hint: Any, metadata: Mapping[str, Any]) -> str:
    if hint in (int, float):
        low, high = metadata.get("min", 1 if hint is int else None), metadata.get("max", _LARGEST)
        text = "a whole number" if hint is int else "a number"
        if "above" in metadata:
            return f"{text} above {metadata['above']}"
        if low is None:
            return text
        return f"{text} of at least {low}" if hint is float or high == math.inf else f"{text} from {low} to {high}"
    known = {bool: "true or false", str: "a string", tuple: "a tuple", dict: "entries by name"}
    kind = typing.get_origin(hint) or hint
    return known.get(kind, f"a value of type {getattr(kind, '__name__', kind)}")
