"""What the benchmarks share: turns in rounds, the machine's matrix product rate, memory, processes."""

import contextlib
import datetime
import os
import platform
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import jax
import numpy as np

from launch.benchmark.settings import Settings

_COMMAND = """
import resource, sys, time
from launch.benchmark.peak import peak_memory_mb
from urgentmos_jax.cli import main
started = time.perf_counter()
code = main(sys.argv[1:])
used = resource.getrusage(resource.RUSAGE_SELF)
print(time.perf_counter() - started, used.ru_utime + used.ru_stime, peak_memory_mb(), file=sys.stderr)
sys.exit(code)
"""

MATMUL_SHAPE = (2048, 768, 3072)
MATMUL_FLOPS = 10 * 2.0 * np.prod(MATMUL_SHAPE)


def in_rounds(
    turns: Mapping[str, Callable[[], Any]], settings: Settings
) -> Iterator[tuple[dict[str, float], dict[str, Any]]]:
    """Seconds and results of everyone's turn, round by round, so that a machine whose speed drifts is fair to all.

    Each turn is told on standard error as it ends, medians so far are given to `settings.partial`. Where the time is
    over no other round begins; there is always one.
    """
    every: dict[str, list[float]] = {name: [] for name in turns}
    for number in range(1, settings.rounds + 1):
        taken = {}
        for name, turn in turns.items():
            taken[name] = timed(turn)
            every[name].append(taken[name][0])
            tell(f"round {number} of {settings.rounds}: {name} {taken[name][0]:.3g} s")
        medians = {name: statistics.median(seconds) for name, seconds in every.items()}
        settings.partial({"rounds": number, "median_seconds": medians})
        yield tuple({name: pair[i] for name, pair in taken.items()} for i in (0, 1))
        if settings.time_is_over() and number < settings.rounds:
            tell(f"the time is over after round {number} of {settings.rounds}")
            return


def tell(text: str) -> None:
    """What is going on, for people."""
    print(text, file=sys.stderr, flush=True)


def timed(turn: Callable[[], Any]) -> tuple[float, Any]:
    """Seconds a turn takes, and what it returns."""
    start = time.perf_counter()
    result = turn()
    return time.perf_counter() - start, result


def matmul_turn(dtype: Any = np.float32, *, precision: str = "highest") -> Callable[[], Any]:
    """Ten products of the size of a feed-forward layer."""
    rng = np.random.default_rng(0)
    rows, inner, columns = MATMUL_SHAPE
    a, b = (jax.numpy.asarray(rng.standard_normal(shape), dtype) for shape in ((rows, inner), (inner, columns)))
    product = jax.jit(lambda a, b: jax.numpy.matmul(a, b, precision=precision))
    jax.block_until_ready(product(a, b))
    return lambda: jax.block_until_ready([product(a, b) for _ in range(10)])


@contextlib.contextmanager
def compiling() -> Iterator[list[float]]:
    """Seconds that jax traces, lowers and compiles inside the block, as a list that grows.

    Told by jax: the difference of a first and a later call drowns in the noise of a machine with other work.
    """
    spent: list[float] = []

    def listen(event: str, seconds: float, **_: Any) -> None:
        if event.startswith("/jax/core/compile/"):
            spent.append(seconds)

    jax.monitoring.register_event_duration_secs_listener(listen)
    try:
        yield spent
    finally:
        jax.monitoring.unregister_event_duration_listener(listen)


def process_seconds(code: str, environment: dict[str, str]) -> float:
    """Seconds of a fresh Python process."""
    command = [sys.executable, "-c", code]
    run = {"check": True, "env": {**os.environ, **environment}, "stdout": subprocess.DEVNULL}
    return timed(lambda: subprocess.run(command, **run))[0]


def command_figures(*arguments: str) -> list[float]:
    """Seconds, seconds of CPU and peak memory in MB of the command `urgentmos` in a fresh process.

    Raises:
        SystemExit: It failed; with what it said.
    """
    command = [sys.executable, "-c", _COMMAND, *arguments]
    done = subprocess.run(command, check=False, capture_output=True, text=True)
    if done.returncode:
        raise SystemExit(done.stderr)
    return [float(one) for one in done.stderr.splitlines()[-1].split()]


def machine() -> dict[str, Any]:
    """Date, device and versions."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        processor = next(line.split(":")[1].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        processor = platform.processor()
    device = jax.devices()[0]
    return {
        "date": datetime.date.today().isoformat(),
        "device": device.device_kind if device.platform != "cpu" else f"{processor}, {os.cpu_count()} cores",
        "jax": jax.__version__,
    }
