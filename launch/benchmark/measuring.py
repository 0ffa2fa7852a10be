"""What the benchmarks share: turns in rounds, the machine's matrix product rate, memory, processes."""

import contextlib
import datetime
import os
import platform
import resource
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import jax
import numpy as np

MATMUL_SHAPE = (2048, 768, 3072)
MATMUL_FLOPS = 10 * 2.0 * np.prod(MATMUL_SHAPE)


def in_rounds(turns: Mapping[str, Callable[[], Any]], rounds: int) -> Iterator[tuple[dict[str, float], dict[str, Any]]]:
    """Seconds and results of everyone's turn, round by round, so that a machine whose speed drifts is fair to all."""
    for _ in range(rounds):
        taken = {name: timed(turn) for name, turn in turns.items()}
        yield tuple({name: pair[i] for name, pair in taken.items()} for i in (0, 1))


def timed(turn: Callable[[], Any]) -> tuple[float, Any]:
    """Seconds a turn takes, and what it returns."""
    start = time.perf_counter()
    result = turn()
    return time.perf_counter() - start, result


def matmul_turn() -> Callable[[], Any]:
    """Ten float32 products of the size of a feed-forward layer."""
    rng = np.random.default_rng(0)
    rows, inner, columns = MATMUL_SHAPE
    a, b = (
        jax.device_put(rng.standard_normal(shape).astype(np.float32)) for shape in ((rows, inner), (inner, columns))
    )
    product = jax.jit(lambda a, b: jax.numpy.matmul(a, b, precision="highest"))
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


def peak_memory_mb() -> float:
    """Largest resident size of this process so far."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


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
