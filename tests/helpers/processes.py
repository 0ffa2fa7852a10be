"""Processes that tests kill, or that are hosts of one run: forked from a server that has imported what they need."""

import json
import multiprocessing
import os
import signal
import socket
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax

CONTEXT = multiprocessing.get_context("forkserver")
CONTEXT.set_forkserver_preload(["tests.helpers.processes", "configs.compact", "urgentmos_jax.training.trainer"])


def start(log: Path, function: Callable[..., None], *args: Any) -> Any:
    """Starts `function(*args)` in a process whose output goes to a file."""
    cache = jax.config.jax_compilation_cache_dir
    process = CONTEXT.Process(target=_child, args=(str(log), cache, function, args))
    process.start()
    return process


def run(log: Path, function: Callable[..., None], *args: Any, seconds: float = 400) -> int:
    """The exit status of `function(*args)`; minus the signal where one ended it."""
    process = start(log, function, *args)
    process.join(seconds)
    assert process.exitcode is not None, f"still running after {seconds} s\n{log.read_text()[-3000:]}"
    return process.exitcode


def _child(log: str, cache: str | None, function: Callable[..., None], args: tuple) -> None:
    file = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    os.dup2(file, 1)
    os.dup2(file, 2)
    sys.stdout, sys.stderr = open(1, "w", buffering=1, closefd=False), open(2, "w", buffering=1, closefd=False)  # noqa: SIM115
    jax.config.update("jax_num_cpu_devices", 1)
    jax.config.update("jax_default_matmul_precision", "highest")
    jax.config.update("jax_compilation_cache_dir", cache)
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0)
    function(*args)


def free_port() -> int:
    """A port of loopback that nobody listens at."""
    with socket.socket() as found:
        found.bind(("localhost", 0))
        return found.getsockname()[1]


def wait_until(true: Callable[[], Any], seconds: float = 60) -> Any:
    """Waits for a condition, and returns what it gave."""
    end = time.monotonic() + seconds
    while not (found := true()):
        assert time.monotonic() < end, f"did not come to be in {seconds} s"
        time.sleep(0.002)
    return found


def train(
    workdir: str,
    data: str,
    changes: dict[str, Any],
    kill_at: int = 0,
    signal_number: int = 0,
    pause: float = 0.0,
    **host: Any,
) -> None:
    """A run as `launch.train` makes it, of `tiny_config`.

    Args:
        workdir, data: Folders.
        changes: Values by dotted key of the config.
        kill_at: Update in which the process sends itself a signal.
        signal_number: Of that signal.
        pause: Seconds after each update.
        host: `coordinator`, `hosts`, `host` of a run on several hosts; `strict`.
    """
    from tests.helpers.corpus import tiny_config
    from urgentmos_jax.training import logs, topology
    from urgentmos_jax.training.interruption import Interrupted
    from urgentmos_jax.training.trainer import STOPPED, Trainer

    strict = host.pop("strict", False)
    if host:
        topology.connect(**host)
    logs.show_log()
    values = tiny_config(Path(data))
    values.update_from_flattened_dict(changes)
    add = logs.RunLog.add

    def disturbed(self: Any, update: int, *rest: Any) -> None:
        add(self, update, *rest)
        time.sleep(pause)
        if update == kill_at:
            os.kill(os.getpid(), signal_number)

    logs.RunLog.add = disturbed
    try:
        Trainer(values, workdir, strict=strict).run()
    except Interrupted as end:
        print(end)
        sys.exit(128 + end.signal)
    except (ValueError, *STOPPED) as error:
        print(f"stopped: {type(error).__name__}: {error}")
        sys.exit(1)


def kill(process: Any, number: int = signal.SIGKILL) -> None:
    """Sends a signal."""
    os.kill(process.pid, number)


def figures(workdir: Path, kind: str = "train") -> dict[int, dict[str, Any]]:
    """Lines of `metrics.jsonl` by update."""
    lines = map(json.loads, (Path(workdir) / "metrics.jsonl").read_text().splitlines())
    return {line["step"]: line for line in lines if line["kind"] == kind}
