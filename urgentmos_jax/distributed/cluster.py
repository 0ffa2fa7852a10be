"""Parts on a Ray cluster: Ray Data with a pool of workers, one an accelerator or a group of cores."""

import contextlib
import logging
import os
import re
import signal
import socket
import threading
import warnings
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from urgentmos_jax.distributed.worker import Job, Worker, packed
from urgentmos_jax.lazy import missing
from urgentmos_jax.manifests.inputs import Listed

if TYPE_CHECKING:
    import ray as ray_type

GROUP_CORES = 4
# A second part waits at each worker.
_IN_FLIGHT = 2
_CONNECT_SECONDS = 10


class PartError(RuntimeError):
    """A worker cannot write its part; the message says where and why."""


def import_ray() -> "ray_type":
    """Ray, with its data.

    Raises:
        ModuleNotFoundError: It is not installed.
    """
    # Set before the import: nothing is sent to its makers, and what its processes note goes to their log files.
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    os.environ.setdefault("RAY_BACKEND_LOG_LEVEL", "fatal")
    try:
        import ray
        import ray.data
    except ModuleNotFoundError as error:
        raise missing(error, "ray") from None
    return ray


@contextlib.contextmanager
def connected(address: str | None) -> Iterator[None]:
    """A cluster: the one at an address (`auto`: that of this machine), or one of this machine's own for the meantime.

    Raises:
        ModuleNotFoundError: Ray is not installed.
        ConnectionError: There is no cluster at the address, or it did not start.
    """
    ray = import_ray()
    local: dict[str, Any] = {} if address else {"include_dashboard": False}
    if found := re.fullmatch(r"(?:ray://)?([^:]+):(\d+)", address or ""):
        try:  # Ray would try for minutes.
            socket.create_connection((found[1], int(found[2])), _CONNECT_SECONDS).close()
        except OSError as error:
            raise ConnectionError(f"there is no cluster: {error.strerror or error}") from None
    before = signal.getsignal(signal.SIGTERM)
    with warnings.catch_warnings():
        # Its processes are programs of their own: a fork that starts one does no harm to JAX.
        warnings.filterwarnings("ignore", "os.fork", RuntimeWarning)
        try:
            ray.init(address=address, log_to_driver=False, logging_level=logging.ERROR, **local)
        except Exception as error:  # Of several kinds, `Exception` itself among them.
            raise ConnectionError(f"Ray did not start, or cannot be reached: {error}") from None
    if threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGTERM, before)  # Ray's own handler ends the process.
    try:
        yield
    finally:
        ray.shutdown()


def pool_of(nodes: Sequence[Mapping[str, float]]) -> tuple[int, dict[str, Any]]:
    """How many workers machines have place for, and what Ray gives to each.

    Args:
        nodes: {resource: amount} of each.

    Returns:
        Number of workers: one a GPU or TPU where there are any, else one for each four cores of a machine.
    """
    for name, wanted in (("GPU", {"num_gpus": 1, "num_cpus": 1}), ("TPU", {"resources": {"TPU": 1}, "num_cpus": 1})):
        if count := sum(int(node.get(name, 0)) for node in nodes):
            return count, wanted
    cores = min([GROUP_CORES, *(int(node["CPU"]) for node in nodes if node.get("CPU", 0) >= 1)])
    return sum(int(node.get("CPU", 0)) // cores for node in nodes), {"num_cpus": cores}


def run_parts(job: Job, parts: Mapping[int, Sequence[tuple[str, Listed]]]) -> Iterator[dict[str, Any]]:
    """Makes parts on the cluster, in any order.

    A worker that is lost costs the part that it was at, which another worker makes anew.

    Args:
        job: For the workers.
        parts: {number: (uid, recording) of each input}.

    Yields:
        What `Worker` says of each part, once its file is there.

    Raises:
        ConnectionError: There is nothing to compute with, or a worker cannot load the model.
        PartError: A worker cannot write its part.
    """
    ray = import_ray()
    logging.getLogger("ray.data").setLevel(logging.ERROR)
    context = ray.data.DataContext.get_current()
    context.enable_progress_bars = False
    size, wanted = pool_of([node["Resources"] for node in ray.nodes() if node["Alive"]])
    if not size:
        raise ConnectionError("no machine of the cluster has a core or an accelerator")
    if "num_gpus" not in wanted and "resources" not in wanted:
        job = replace(job, cores=wanted["num_cpus"])
    rows = [{"number": number, "inputs": packed(inputs)} for number, inputs in parts.items()]
    pool = ray.data.ActorPoolStrategy(size=min(size, len(rows)), max_tasks_in_flight_per_actor=_IN_FLIGHT)
    data = ray.data.from_items(rows, override_num_blocks=len(rows))
    for told in data.map(Worker, fn_constructor_args=(job,), compute=pool, **wanted).iter_rows():
        if "not_loaded" in told:
            raise ConnectionError(f"a worker cannot load the model: {told['not_loaded']}")
        if "not_written" in told:
            raise PartError(f"a worker cannot write its part, all machines must see the folder ({told['not_written']})")
        yield told
