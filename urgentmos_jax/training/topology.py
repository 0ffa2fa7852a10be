"""Several hosts, one process each, that run the same program (`jax.distributed`); with one host all this is nothing."""

import contextlib
import json
import signal
import sys
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import jax
import numpy as np
from jax.experimental import multihost_utils

__all__ = [
    "HostLost",
    "Interruption",
    "connect",
    "count",
    "differing_values",
    "gather",
    "gather_json",
    "is_first",
    "lost",
    "of_first",
    "read_everywhere",
    "same_everywhere",
    "wait_for_all",
]

# A host that has not been heard of for so long is lost, and the others end.
HEARTBEAT_SECONDS = 30


class HostLost(RuntimeError):
    """Another host of the run has ended or cannot be reached."""


def connect(coordinator: str | None = None, hosts: int | None = None, host: int | None = None) -> None:
    """Joins the hosts of a run; before anything else uses a device.

    Args:
        coordinator: `address:port` on host 0; None = from the platform (TPU pods, Slurm, Open MPI, Kubernetes).
        hosts: Their number; None = from the platform.
        host: Number of this one; None = from the platform.

    Raises:
        ValueError: the platform does not say what was left out.
        HostLost: the coordinator cannot be reached within 300 s.
    """
    try:
        jax.distributed.initialize(coordinator, hosts, host, heartbeat_timeout_seconds=HEARTBEAT_SECONDS)
    except ValueError as error:
        raise ValueError(
            f"--distributed: {error}; this is no platform that says so by itself, so give --coordinator=ADDRESS:PORT, "
            f"--hosts and --host"
        ) from None
    except RuntimeError as error:
        raise HostLost(f"--distributed: the hosts did not meet ({_first_line(error)})") from error
    # Now, while all are here: hosts give each other 30 s for the first exchange, and reading manifests may take longer.
    wait_for_all("connected")


def lost(error: Exception) -> HostLost | None:
    """The error as ours, where it says that another host is gone."""
    text, signs = str(error).lower(), ("gloo", "nccl", "heartbeat", "coordination", "connection")
    if count() == 1 or not any(sign in text for sign in signs):
        return None
    return HostLost(
        f"another host has ended or cannot be reached ({_first_line(error)}); look at its log, then start all hosts "
        f"again by the same command: the run goes on from its last checkpoint"
    )


def count() -> int:
    """Number of hosts."""
    return jax.process_count()


def is_first() -> bool:
    """Whether this host writes what is written once: logs, checksums, the config."""
    return jax.process_index() == 0


def wait_for_all(name: str) -> None:
    """Waits until every host is here."""
    if count() > 1:
        multihost_utils.sync_global_devices(name)


def gather(array: np.ndarray) -> np.ndarray:
    """[hosts, ...]: the array of every host, on every host, to the bit."""
    if count() == 1:
        return array[None]
    found = multihost_utils.process_allgather(np.ascontiguousarray(array).view(np.uint8))
    return np.ascontiguousarray(found).view(array.dtype)


def gather_json(value: Any) -> list[Any]:
    """A JSON value of every host, on every host."""
    if count() == 1:
        return [value]
    own = np.frombuffer(json.dumps(value).encode(), np.uint8)
    sizes = gather(np.array([len(own)], np.int64))[:, 0]
    padded = np.zeros(sizes.max(), np.uint8)
    padded[: len(own)] = own
    texts = gather(padded)
    return [json.loads(bytes(text[:size])) for text, size in zip(texts, sizes, strict=True)]


def of_first(make: Callable[[], Any]) -> Any:
    """A JSON value that host 0 finds, on every host."""
    return gather_json(make() if is_first() else None)[0]


def same_everywhere(value: Any, differ: Callable[[Any, Any], Sequence[str]], what: str) -> None:
    """Compares a JSON value between the hosts.

    Args:
        value: Of this host.
        differ: Says in what two values differ, nothing if not at all.
        what: For the message.

    Raises:
        ValueError: on every host, naming the hosts that differ from host 0, and how.
    """
    values = gather_json(value)
    faults = [
        f"host {place} from host 0 ({'; '.join(found[:5])})"
        for place, other in enumerate(values)
        if (found := differ(values[0], other))
    ]
    if faults:
        raise ValueError(f"{what} of {', '.join(faults)} differ; start all hosts by the same command on the same files")


def read_everywhere(make: Callable[[], Any]) -> Any:
    """Lets host 0 make something that all of them read, files in a shared folder say, before the others."""
    if not is_first():
        wait_for_all("made")
    made = make()
    if is_first():
        wait_for_all("made")
    return made


class Interruption:
    """SIGTERM or Ctrl-C: asks for a checkpoint and an end after the update under way.

    On several hosts a SIGTERM to one of them, as preemption sends it, ends all of them at the same update.
    """

    def __init__(self):
        self.signal: int | None = None

    @contextlib.contextmanager
    def caught(self) -> Iterator[None]:
        """Catches signals inside; a second one ends the process as ever."""
        if count() > 1 or threading.current_thread() is not threading.main_thread():
            yield
            return
        before = {number: signal.signal(number, self._note) for number in (signal.SIGTERM, signal.SIGINT)}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    def _note(self, number: int, frame: Any) -> None:
        del frame
        self.signal = number
        signal.signal(number, signal.default_int_handler if number == signal.SIGINT else signal.SIG_DFL)
        print(f"\n{signal.Signals(number).name}: saving a checkpoint, then ending", file=sys.stderr)

    def after(self, update: int) -> bool:
        """Whether the run ends after this update; to be asked after each one."""
        if count() > 1 and multihost_utils.reached_preemption_sync_point(update):
            self.signal = signal.SIGTERM
        return self.signal is not None


def differing_values(one: Mapping[str, Any], other: Mapping[str, Any]) -> list[str]:
    """`key: value, value` of what differs in two flat mappings."""
    return [
        f"{key}: {one.get(key)!r}, {other.get(key)!r}"
        for key in sorted(one.keys() | other.keys())
        if one.get(key) != other.get(key)
    ]


def _first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0]
