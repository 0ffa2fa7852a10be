"""What is said of all rows at the end: how many failed and why, statistics of their numbers, where the time went."""

from array import array
from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any

from urgentmos_jax.scoring.selection import Gate, row_numbers, statistic
from urgentmos_jax.scoring.times import Times
from urgentmos_jax.tables import text_table

_STATISTICS = {"mean": "mean", "median": "median", "p5": "5 %", "p95": "95 %"}


class Summary:
    """Counts and numbers of the rows; eight bytes a number are kept.

    Args:
        names: Of the numbers in the table, see `row_numbers`.
        gates: Their names are kept too.

    Attributes:
        counts: `rows`, `done`, `failed`, and each error and flag as `error:empty`, `flag:silent`.
    """

    def __init__(self, names: Iterable[str], gates: Iterable[Gate] = ()):
        self.counts = Counter(rows=0, done=0, failed=0)
        self._names, self._gates = list(names), list(gates)
        self._values = {name: array("d") for name in [*self._names, *(gate.name for gate in self._gates)]}

    def add(self, row: Mapping[str, Any]) -> None:
        """Takes a row."""
        self.counts["rows"] += 1
        self.counts["failed" if row["error"] else "done"] += 1
        if row["error"]:
            self.counts[f"error:{row['error']['code']}"] += 1
        for flag in row["flags"]:
            self.counts[f"flag:{flag}"] += 1
        numbers = row_numbers(row)
        for name, values in self._values.items():
            if name in numbers:
                values.append(numbers[name])

    def faults(self) -> list[str]:
        """Each gate that is not passed, and why."""
        found = ((gate, gate.fault(self._values[gate.name])) for gate in self._gates)
        return [f"{gate}: {fault}" for gate, fault in found if fault]

    def counted(self) -> str:
        """The counts, in a line."""
        counts = self.counts
        details = ", ".join(f"{name.split(':')[1]}: {count}" for name, count in counts.items() if ":" in name)
        text = f"{counts['rows']} rows, {counts['done']} done, {counts['failed']} failed"
        return text + (f" ({details})" if details else "")

    def table(self) -> str:
        """Statistics of the numbers; empty where no row has one."""
        rows = [
            [name, *(f"{statistic(self._values[name], kind):.3f}" for kind in _STATISTICS)]
            for name in self._names
            if self._values[name]
        ]
        return text_table([["", *_STATISTICS.values()], *rows], [0]) if rows else ""


def timing(times: Times, wall_s: float, writing_s: float) -> str:
    """Where the time of a run went, in a line.

    Args:
        times: Of its rows.
        wall_s: From the first row to the last.
        writing_s: Of it, for writing rows.
    """
    speed = times.audio / wall_s if wall_s > 0 else 0.0
    return (
        f"{times.audio:.1f} s of audio in {wall_s:.1f} s, {speed:.1f} seconds of audio a second; computing "
        f"{times.computing:.1f} s, writing {writing_s:.1f} s, in threads beside: reading {times.reading:.1f} s, "
        f"decoding {times.decoding:.1f} s"
    )
