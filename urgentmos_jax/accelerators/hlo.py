"""What devices exchange in a compiled program, read from its text: collectives by kind, and transfers to the host."""

import dataclasses
import math
import re
from collections import defaultdict
from collections.abc import Iterator

KINDS = (
    *("all-reduce", "all-gather", "reduce-scatter", "all-to-all", "collective-permute"),
    *("ragged-all-to-all", "collective-broadcast"),
)
_COMPUTATION = re.compile(r"^(ENTRY )?%?([\w.\-]+) \(.*\) -> .* \{$")
_INSTRUCTION = re.compile(r"^\s+(?:ROOT )?%?([\w.\-]+) = (.*?) ([a-z][\w\-]*)\((.*)$")
_ARRAY = re.compile(r"\b(pred|[subf]\d+|bf16|f8\w*|c64|c128)\[([\d,]*)\]")
_CALLED = re.compile(r"\b(?:calls|body|to_apply|true_computation|false_computation)=%?([\w.\-]+)")
_BRANCHES = re.compile(r"\bbranch_computations=\{([^}]*)\}")
# Arrays go to the host's memory, or a function of Python is called.
_HOST = re.compile(r"MoveToHost|MoveToDevice|xla_(?:ffi_)?python|callback|is_host_transfer=true")


@dataclasses.dataclass(frozen=True)
class Collective:
    """Collectives of one kind and size in a run of the program.

    Args:
        kind: Of `KINDS`.
        bytes: Of the whole arrays on a device: the result, of a reduce-scatter the operand.
        times: How often, a scan's body as often as it runs.
    """

    kind: str
    bytes: int
    times: int


@dataclasses.dataclass
class _Computation:
    collectives: dict[str, Collective] = dataclasses.field(default_factory=dict)
    calls: list[tuple[str, str]] = dataclasses.field(default_factory=list)
    constants: list[int] = dataclasses.field(default_factory=list)


def collectives(text: str) -> list[Collective]:
    """Collectives of a compiled program (`Compiled.as_text()`), those of one kind and size together.

    What a loop does counts as often as the loop runs, by the constant that its condition compares with; what XLA has
    cut into a start, steps and an end counts once, by its channel.

    Raises:
        ValueError: a loop with collectives has no such constant.
    """
    computations, entry = _read(text)
    found: dict[tuple[str, int], int] = defaultdict(int)
    seen: set[tuple[str, int]] = set()

    def visit(name: str, times: int) -> None:
        one = computations[name]
        for channel, each in one.collectives.items():
            if (channel, times) not in seen:
                seen.add((channel, times))
                found[each.kind, each.bytes] += times
        for called, condition in one.calls:
            inside = times
            if condition and _has_collectives(computations, called):
                inside *= _trip_count(computations, condition)
            visit(called, inside)

    visit(entry, 1)
    return [Collective(kind, size, times) for (kind, size), times in sorted(found.items())]


def by_kind(found: list[Collective]) -> dict[str, tuple[int, int]]:
    """Number and bytes of the collectives of each kind that there is."""
    kinds = sorted({one.kind for one in found})
    return {
        kind: (
            sum(one.times for one in found if one.kind == kind),
            sum(one.times * one.bytes for one in found if one.kind == kind),
        )
        for kind in kinds
    }


def host_transfers(text: str) -> list[str]:
    """Operations that exchange arrays with the host while the program runs."""
    found = []
    for line in text.splitlines():
        match = _INSTRUCTION.match(line)
        if match and (match[3] in ("infeed", "outfeed") or _HOST.search(line.partition("metadata=")[0])):
            found.append(f"{match[3]} {match[1]}")
    return found


def _read(text: str) -> tuple[dict[str, _Computation], str]:
    computations: dict[str, _Computation] = {}
    entry, one, scatters = "", _Computation(), False
    for line in text.splitlines():
        if head := _COMPUTATION.match(line):
            one = computations[head[2]] = _Computation()
            entry = head[2] if head[1] else entry
            # TPUs have a reduce-scatter as an all-reduce that is cut, in a computation of this name.
            scatters = head[2].startswith("all-reduce-scatter")
        elif match := _INSTRUCTION.match(line):
            name, shapes, operation, rest = match.groups()
            kind = operation.removesuffix("-start")
            if kind in KINDS:
                channel = re.search(r"channel_id=(\d+)", rest)
                size = _bytes_of(kind, operation, shapes, rest)
                kind = "reduce-scatter" if scatters else kind
                one.collectives[channel[1] if channel else name] = Collective(kind, size, 1)
            if operation == "constant" and shapes[:5] in ("s32[]", "u32[]"):
                one.constants.append(int(rest.partition(")")[0]))
            condition = re.search(r"\bcondition=%?([\w.\-]+)", rest)
            for called in _called(rest):
                one.calls.append((called, condition[1] if condition else ""))
    return computations, entry


def _called(rest: str) -> Iterator[str]:
    yield from _CALLED.findall(rest)
    for branches in _BRANCHES.findall(rest):
        yield from re.findall(r"[\w.\-]+", branches)


def _bytes_of(kind: str, operation: str, shapes: str, rest: str) -> int:
    sizes = [_width(dtype) * math.prod(int(n) for n in dims.split(",") if n) for dtype, dims in _ARRAY.findall(shapes)]
    if operation.endswith("-start") and kind != "all-reduce":
        # The result is a tuple of operand, result and perhaps counters.
        return max(sizes)
    if kind == "reduce-scatter":
        group = re.search(r"replica_groups=(?:\[\d+,(\d+)\]|\{\{([\d,]*)\})", rest)
        members = int(group[1]) if group and group[1] else len(group[2].split(",")) if group else 1
        return sum(sizes) * members
    return sum(sizes)


def _width(dtype: str) -> int:
    return max(1, int(re.sub(r"\D.*", "", dtype.lstrip("bsufcpred")) or 8) // 8)


def _has_collectives(computations: dict[str, _Computation], name: str) -> bool:
    one = computations[name]
    return bool(one.collectives) or any(_has_collectives(computations, called) for called, _ in one.calls)


def _trip_count(computations: dict[str, _Computation], condition: str) -> int:
    constants = list(computations[condition].constants)
    for called, _ in computations[condition].calls:
        constants += computations[called].constants
    if len(set(constants)) != 1:
        raise ValueError(f"the loop with the condition {condition} has no constant length: {constants}")
    return constants[0]
