"""Readers tried on damaged files in another process, so that a crash of a library is seen as one."""

import dataclasses
import json
import math
import os
import pkgutil
import resource
import selectors
import subprocess
import sys
import tempfile
import time
import traceback
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from tests.fuzz.mutations import mutated
from tests.fuzz.seeds import held_once
from tests.fuzz.targets import TARGETS, Target

SECONDS = 10
MEMORY_BYTES = 2**28
_ROOT = Path(__file__).parents[2]


@dataclasses.dataclass
class Result:
    """What became of damaged files.

    Attributes:
        outcomes: How many of each outcome, by seed.
        findings: Crashes, hangs and all that must not be, one text each.
        survivors: (seed, number, outcome) of those that were read.
        slowest_s: Time of the slowest.
        growth_bytes: By how much the largest process grew.
    """

    outcomes: dict[str, Counter[str]]
    findings: list[str]
    survivors: list[tuple[str, int, str]]
    slowest_s: float
    growth_bytes: int

    def report(self, title: str) -> str:
        """A table of the outcomes by seed, and the totals."""
        total = sum(self.outcomes.values(), Counter())
        lines = [
            f"{title}: {total.total()} damaged files, {len(self.findings)} findings, the slowest took "
            f"{self.slowest_s:.2f} s, memory grew by {self.growth_bytes / 2**20:.0f} MiB at most"
        ]
        for name, counts in [*self.outcomes.items(), ("all", total)]:
            lines.append(f"  {name}: " + ", ".join(f"{count} {outcome}" for outcome, count in counts.most_common()))
        return "\n".join([*lines, *self.findings])


def run(target: str, count: int, *, seconds: float = SECONDS) -> Result:
    """Reads the seeds of a target with `count` kinds of damage in all, in other processes.

    Each process may grow by `MEMORY_BYTES`.

    Args:
        target: A name of `TARGETS`, or `module:name` of another.
        count: Of damaged files.
        seconds: That each may take.
    """
    seeds = list(_found(target).seeds())
    cases = [(seed, number) for number in range(math.ceil(count / len(seeds))) for seed in seeds][:count]
    result = Result({seed: Counter() for seed in seeds}, [], [], 0.0, 0)
    done = 0
    while done < len(cases):
        for line in _lines(target, cases[done:], seconds):
            if line is None:
                break
            seed, number = cases[done]
            done += 1
            result.outcomes[seed][line["outcome"]] += 1
            result.slowest_s = max(result.slowest_s, line["seconds"])
            result.growth_bytes = max(result.growth_bytes, line["growth"])
            if line["finding"]:
                result.findings.append(f"{target} {seed} {number}: {line['finding']}")
            elif line["read"]:
                result.survivors.append((seed, number, line["outcome"]))
        else:
            continue
        seed, number = cases[done]
        result.outcomes[seed]["crash or hang"] += 1
        result.findings.append(f"{target} {seed} {number}: crash, or no answer within {seconds:g} s")
        done += 1
    return result


def _lines(target: str, cases: list[tuple[str, int]], seconds: float) -> Iterator[dict[str, Any] | None]:
    """What a process says of each case; None where it ends or hangs."""
    command = [sys.executable, "-m", "tests.fuzz.isolated", target]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(_ROOT), *filter(None, sys.path)])}
    with tempfile.TemporaryFile("w+") as listed:
        json.dump(cases, listed)
        listed.seek(0)
        process = subprocess.Popen(
            command, env=environment, stdin=listed, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, bufsize=0
        )
    assert process.stdout is not None
    waiting, held = selectors.DefaultSelector(), b""
    waiting.register(process.stdout, selectors.EVENT_READ)
    try:
        for number in range(-1, len(cases)):
            while b"\n" not in held:
                ready = waiting.select(60 if number < 0 else seconds)  # The first line says that it began.
                if not ready or not (data := os.read(process.stdout.fileno(), 65536)):
                    if number < 0:
                        raise RuntimeError(f"{' '.join(command)} does not begin")
                    yield None
                    return
                held += data
            line, held = held.split(b"\n", 1)
            if number >= 0:
                yield json.loads(line)
    finally:
        process.kill()
        process.wait()
        process.stdout.close()


def _found(target: str) -> Target:
    return TARGETS[target] if target in TARGETS else pkgutil.resolve_name(target)


def _main(target: str) -> None:
    """Reads each case and says what became of it, a line each."""
    chosen, unraised = _found(target), []
    sys.unraisablehook = lambda error: unraised.append(f"{error.err_msg} {error.exc_value!r}")
    seeds = chosen.seeds()
    with tempfile.TemporaryDirectory(dir="/dev/shm" if os.path.isdir("/dev/shm") else None) as folder:
        path = Path(folder, f"input{chosen.suffix}")
        originals = {}
        for name, data in seeds.items():
            path.write_bytes(data)
            outcome, originals[name] = chosen.read(path)
            assert outcome == "read", (name, outcome)
        pages = int(Path("/proc/self/statm").read_text().split()[0])
        limit = pages * resource.getpagesize() + MEMORY_BYTES
        resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        print(flush=True)
        for seed, number in json.load(sys.stdin):
            data = mutated(seeds, seed, number)
            path.write_bytes(data)
            start, finding = time.monotonic(), ""
            try:
                outcome, found = chosen.read(path)
                read = outcome == "read"
                if target == "audio" and read:
                    outcome = judged(seed, seeds[seed], originals[seed], data, found)
                if outcome == "missed":
                    finding = "read with other samples, without a flag, where it can be seen"
            except Exception as error:
                outcome, read, finding = "finding", False, "".join(traceback.format_exception(error)[-3:])
            if unraised:
                outcome, finding = "finding", unraised.pop()
            growth = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) * 1024
            seconds = time.monotonic() - start
            said = {"outcome": outcome, "read": read, "finding": finding, "seconds": seconds, "growth": growth}
            print(json.dumps(said), flush=True)


def judged(seed: str, original: bytes, whole: Any, damaged: bytes, clip: Any) -> str:
    """What a damaged sound file that was read is.

    "same samples"; "flagged"; "unseen": its damage is in bytes that the container holds once and without a checksum, or
    took the checksums with it (an MP3 file without its tag); "missed" otherwise.
    """
    if "inconsistent" in clip.flags:
        return "flagged"
    if np.array_equal(clip.waveform, whole.waveform):
        return "same samples"
    if seed == "mp3":
        tag = original.index(b"Xing")
        return (
            "missed"
            if damaged[tag : tag + 4] in (b"Xing", b"Info") and any(damaged[tag + 154 : tag + 156])
            else "unseen"
        )
    if len(damaged) != len(original):
        return "missed"
    changed = {at for at, (old, new) in enumerate(zip(original, damaged, strict=True)) if old != new}
    return "unseen" if changed <= held_once(seed, original) else "missed"


if __name__ == "__main__":
    _main(sys.argv[1])
