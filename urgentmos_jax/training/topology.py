"""Several hosts, one process each, that run the same program (`jax.distributed`); with one host all this is nothing."""

import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar

import jax
import numpy as np
from jax.experimental import multihost_utils

Made = TypeVar("Made")

# A host that has not been heard of for so long is lost, and the others end.
HEARTBEAT_SECONDS = 30


class HostLost(RuntimeError):
    """Another host of the run has ended or cannot be reached."""


def connect(coordinator: str | None = None, hosts: int | None = None, host: int | None = None) -> None:
    """Joins the hosts of a run; before anything else uses a device.

    What is None comes from the platform (TPU pods, Slurm, Open MPI, Kubernetes): `address:port` of the coordinator on
    host 0, the number of hosts, and the number of this one.

    Raises:
        ValueError: the platform does not say what was left out.
        HostLost: the coordinator cannot be reached within 300 s.
    """
    try:
        jax.distributed.initialize(coordinator, hosts, host, heartbeat_timeout_seconds=HEARTBEAT_SECONDS)
    except ValueError as error:
        advice = "this platform does not tell, so give --coordinator=ADDRESS:PORT, --hosts and --host"
        raise ValueError(f"--distributed: {error}; {advice}") from None
    except RuntimeError as error:
        raise HostLost(f"--distributed: the hosts did not meet ({_first_line(error)})") from error
    # Now, while all are here: hosts give each other 30 s for the first exchange, and reading manifests may take longer.
    wait_for_all("connected")


def as_host_lost(error: Exception) -> HostLost | None:
    """A `HostLost` where the error says that another host is gone, else None."""
    text, signs = str(error).lower(), ("gloo", "nccl", "heartbeat", "coordination", "connection")
    if host_count() == 1 or not any(sign in text for sign in signs):
        return None
    return HostLost(
        f"another host has ended or cannot be reached ({_first_line(error)}); look at its log, then start all hosts "
        f"again by the same command: the run resumes from its last checkpoint"
    )


def host_count() -> int:
    """Number of hosts."""
    return jax.process_count()


def is_first() -> bool:
    """Whether this host writes what is written once: logs, checksums, the config."""
    return jax.process_index() == 0


def wait_for_all(name: str) -> None:
    """Waits until every host is here."""
    if host_count() > 1:
        multihost_utils.sync_global_devices(name)


def gather(array: np.ndarray) -> np.ndarray:
    """[hosts, ...]: the array of every host, on every host, to the bit."""
    if host_count() == 1:
        return array[None]
    found = multihost_utils.process_allgather(np.ascontiguousarray(array).view(np.uint8))
    return np.ascontiguousarray(found).view(array.dtype)


def gather_json(value: Any) -> list[Any]:
    """A JSON value of every host, on every host."""
    if host_count() == 1:
        return [value]
    own = np.frombuffer(json.dumps(value).encode(), np.uint8)
    sizes = gather(np.array([len(own)], np.int64))[:, 0]
    padded = np.zeros(sizes.max(), np.uint8)
    padded[: len(own)] = own
    texts = gather(padded)
    return [json.loads(bytes(text[:size])) for text, size in zip(texts, sizes, strict=True)]


def broadcast_from_first(make: Callable[[], Any]) -> Any:
    """A JSON value that only host 0 finds, on every host."""
    return gather_json(make() if is_first() else None)[0]


def require_same(value: Any, differ: Callable[[Any, Any], Sequence[str]], what: str) -> None:
    """Compares a JSON value between the hosts; `differ` says in what two differ, nothing if not at all.

    Raises:
        ValueError: on every host, naming the hosts that differ from host 0, and how.
    """
    values = gather_json(value)
    faults = [
        f"host {host} from host 0 ({'; '.join(found[:5])})"
        for host, other in enumerate(values)
        if (found := differ(values[0], other))
    ]
    if faults:
        raise ValueError(f"{what} of {', '.join(faults)} differ; start all hosts by the same command on the same files")


def first_host_first(make: Callable[[], Made]) -> Made:
    """Calls a function on host 0 and then on the others, which find the files that it has made in a shared folder."""
    if not is_first():
        wait_for_all("made")
    made = make()
    if is_first():
        wait_for_all("made")
    return made


def differing_values(one: Mapping[str, Any], other: Mapping[str, Any]) -> list[str]:
    """`key: value, value` of what differs in two flat mappings."""
    return [
        f"{key}: {one.get(key)!r}, {other.get(key)!r}"
        for key in sorted(one.keys() | other.keys())
        if one.get(key) != other.get(key)
    ]


def _first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0]
