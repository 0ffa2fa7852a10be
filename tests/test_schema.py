"""Dataclasses of plain values: everything that is wrong is named at once."""

import dataclasses
import json
import math
from dataclasses import dataclass, field
from typing import Literal

import pytest

from urgentmos_jax.schema import SchemaError, as_json, at_least, find_faults, read


class Shape:
    pass


@dataclass(frozen=True)
class Circle(Shape):
    radius: float
    kind: Literal["circle"] = "circle"


@dataclass(frozen=True)
class Polygon(Shape):
    corners: tuple[int, ...]
    kind: Literal["polygon"] = "polygon"


VARIANTS = {"tag": "kind", "variants": {"circle": Circle, "polygon": Polygon}}


@dataclass(frozen=True)
class Part:
    shape: Shape = field(metadata=VARIANTS)
    name: str = "part"

    def __post_init__(self):
        if self.name == "none":
            raise ValueError("a part has a name")


@dataclass(frozen=True)
class Whole:
    parts: tuple[Part, ...]
    sizes: dict[str, float]
    mode: Literal["fast", "slow"] = "fast"
    seed: int = field(default=0, metadata=at_least(0))
    rate: float = field(default=0.5, metadata={"above": 0})
    top: float = field(default=math.inf, metadata={"null": math.inf})
    width: int = 8
    sure: bool = True
    new: int = field(default=2, metadata={"later": True})
    one: Part | None = None
    box: Part = field(default_factory=lambda: Part(Circle(1.0)))


VALUES = {
    "parts": [
        {"shape": {"kind": "circle", "radius": 2}, "name": "a"},
        {"shape": {"kind": "polygon", "corners": [3, 4]}},
    ],
    "sizes": {"x": 1, "y": 2.5},
    "seed": 10**9,
    "top": None,
    "box": {"shape": {"kind": "circle", "radius": 1.0}},
}
WHOLE = Whole((Part(Circle(2.0), "a"), Part(Polygon((3, 4)))), {"x": 1.0, "y": 2.5}, seed=10**9)


def test_values_make_a_dataclass_and_come_back():
    found = read(Whole, VALUES)
    assert found == WHOLE and type(found.sizes["x"]) is float and not find_faults(WHOLE)
    text = json.dumps(as_json(found), allow_nan=False)
    assert read(Whole, json.loads(text), defaults=False) == WHOLE
    assert json.loads(text)["top"] is None and json.loads(text)["one"] is None
    assert read(Whole, {**VALUES, "parts": {"p": WHOLE.parts[0], "q": VALUES["parts"][1]}}) == WHOLE


@pytest.mark.parametrize(
    ("change", "fault"),
    [
        ({"sized": 1}, "unknown key sized"),
        ({"parts": 3}, "parts is 3, expected a tuple"),
        ({"parts": [3]}, "parts.0 is 3, expected the keys shape, name"),
        ({"parts": [{"name": "b"}]}, "missing key parts.0.shape"),
        ({"parts": [{"shape": {"kind": "star"}}]}, "parts.0.shape.kind is 'star', must be one of circle, polygon"),
        ({"parts": [{"shape": 7}]}, "parts.0.shape.kind is None, must be one of circle, polygon"),
        ({"parts": {"p": {"shape": Circle(1), "name": "none"}}}, "parts.p: a part has a name"),
        ({"sizes": [1]}, "sizes is [1], expected entries by name"),
        ({"sizes": {"x": True}}, "sizes.x is True, expected a number"),
        ({"sizes": {"x": math.nan}}, "sizes.x is nan, expected a number"),
        ({"mode": "quick"}, "mode is 'quick', must be one of fast, slow"),
        ({"seed": -1}, "seed is -1, expected a whole number of at least 0"),
        ({"seed": 1.0}, "seed is 1.0, expected a whole number of at least 0"),
        ({"rate": 0}, "rate is 0, expected a number above 0"),
        ({"rate": None}, "rate is None, expected a number above 0"),
        ({"width": 0}, "width is 0, expected a whole number from 1 to 65536"),
        ({"width": 65537}, "width is 65537, expected a whole number from 1 to 65536"),
        ({"sure": 1}, "sure is 1, expected true or false"),
        ({"one": []}, "one is [], expected the keys shape, name"),
        ({"top": 10**400}, f"top is {10**400}, expected a number"),
        ({"box": {"shape": Circle(1.0), "name": None}}, "box.name is None, expected a string"),
    ],
)
def test_faults_are_named(change: dict, fault: str):
    with pytest.raises(SchemaError) as error:
        read(Whole, VALUES | change)
    assert error.value.faults == [fault]


def test_all_faults_come_at_once():
    values = {key: value for key, value in VALUES.items() if key != "sizes"} | {"width": "wide", "rate": -1, "x": 0}
    with pytest.raises(SchemaError, match=r"unknown key x; missing key sizes; rate is -1, .*; width is 'wide', "):
        read(Whole, values)
    with pytest.raises(SchemaError, match=r"^run is 3, expected the keys parts, "):
        read(Whole, 3, name="run")


def test_keys_that_may_be_left_out():
    lacking = {"missing key sizes", "missing key parts", "missing key box"}
    with pytest.raises(SchemaError) as error:
        read(Whole, {})
    assert set(error.value.faults) == lacking
    with pytest.raises(SchemaError) as error:
        read(Whole, {}, defaults=False)
    assert len(error.value.faults) == len(dataclasses.fields(Whole)) - 1
    assert not any("new" in fault for fault in error.value.faults)


def test_a_dataclass_itself_is_looked_into():
    assert find_faults(dataclasses.replace(WHOLE, width=0, parts=(Part(Circle("1")),))) == [
        "parts.0.shape.radius is '1', expected a number",
        "width is 0, expected a whole number from 1 to 65536",
    ]
