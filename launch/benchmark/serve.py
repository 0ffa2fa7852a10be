"""The service under load on loopback, in a process of its own: requests a second, p99, batched against one by one."""

import base64
import http.client
import io
import itertools
import json
import os
import re
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import soundfile

from launch.benchmark.clips import generated
from launch.benchmark.measuring import tell
from launch.benchmark.memory import small_model
from launch.benchmark.settings import Settings
from urgentmos_jax.audio.loading import SAMPLE_RATE_HZ

CLIENTS = 16
REQUESTS_A_SECOND = 200
SECONDS = 60
_WARM_UP_SECONDS = 6.0
_START_SECONDS = 300.0
_RUN = "import sys; from urgentmos_jax.cli import main; sys.exit(main(sys.argv[1:]))"
# Of a batch no longer than one clip, for which nobody waits.
_ONE_BY_ONE = ("--delay-ms", "0", "--batch-seconds", "0.5")


def measure(
    settings: Settings, *, seconds: float = SECONDS, rate: float = REQUESTS_A_SECOND, clients: int = CLIENTS
) -> dict[str, Any]:
    """Clips of 1 s, one a request: at a given rate for a time, then as many as clients that wait for each answer get.

    Args:
        settings: Without a model, a tiny one with random weights is taken; its rounds are those of the second part.
        seconds: Of the first part; a round of the second takes a sixth of it for each service.
        rate: Requests a second, at most as many as `4 * clients` connections carry; before it half of them, for half
            the time.
        clients: Of the second part, of a service with batches across requests and of one that computes one by one.

    Returns:
        Requests a second and their p50 and p99 in milliseconds; how much faster batches are.
    """
    model = settings.model or small_model(settings.scratch / "model")
    bodies = [body_of(wav(clip)) for clip in generated(8, seconds=1.0)]
    found: dict[str, Any] = {"model": str(settings.model or "tiny, random weights"), "clients": clients}
    flags = ("--batch-seconds", str(settings.batch_seconds)) if settings.batch_seconds else ()
    with Server(model, settings, *flags) as server, Server(model, settings, *_ONE_BY_ONE) as alone:
        warm_up = min(_WARM_UP_SECONDS, seconds)
        for number in (1, clients, 4 * clients):  # Each size of a batch compiles.
            _load(server.port, bodies, number, warm_up)
        _load(alone.port, bodies, 1, warm_up)
        half = _at_a_rate(server.port, bodies, 4 * clients, rate / 2, seconds / 2)
        found |= {f"{name}_at_half_the_rate": half[name] for name in ("requests", "p50_ms", "p99_ms")}
        found |= _at_a_rate(server.port, bodies, 4 * clients, rate, seconds)
        found["memory_mb"] = server.memory_mb()
        settings.partial(found)
        rates: dict[str, list[float]] = {"batched": [], "one_by_one": []}
        for number in range(1, settings.rounds + 1):
            for name, one in (("batched", server), ("one_by_one", alone)):
                times, wall = _load(one.port, bodies, clients, seconds / 6)
                rates[name].append(len(times) / wall)
                p50, p99 = np.percentile(times, [50, 99])
                found |= {f"{name}_p50_ms": 1e3 * float(p50), f"{name}_p99_ms": 1e3 * float(p99)}
                tell(f"round {number} of {settings.rounds}: {name} {rates[name][-1]:.1f} requests a second")
            if settings.time_is_over():
                break
    for name, values in rates.items():
        found[f"{name}_requests_a_second"] = float(np.median(values))
    ratios = np.divide(rates["batched"], rates["one_by_one"])
    return found | {"batched_over_one_by_one": float(np.median(ratios))}


def wav(clip: np.ndarray) -> bytes:
    """A file of a clip."""
    file = io.BytesIO()
    soundfile.write(file, clip, SAMPLE_RATE_HZ, format="WAV")
    return file.getvalue()


def item_of(file: bytes) -> dict[str, str]:
    """A recording in a JSON body."""
    return {"base64": base64.b64encode(file).decode()}


def body_of(file: bytes) -> bytes:
    """A JSON body that asks for the scores of a recording."""
    return json.dumps({"files": [item_of(file)]}).encode()


class Server:
    """`urgentmos serve` on a free port; entered, it takes requests."""

    def __init__(self, model: Path, settings: Settings, *flags: str):
        command = [sys.executable, "-c", _RUN, "serve", "--model", str(model), "--port", "0", "--queue", "256", *flags]
        # A token of the user's would be asked for here, too.
        environment = {name: value for name, value in os.environ.items() if name != "URGENTMOS_TOKEN"}
        self._log = Path(tempfile.mkstemp(suffix=".log", dir=settings.scratch)[1])
        with self._log.open("w") as log:
            self._process = subprocess.Popen(command, env=environment, stderr=log)
        self.port = 0

    def __enter__(self) -> "Server":
        end = time.monotonic() + _START_SECONDS
        while not (found := re.search(r"http://127\.0\.0\.1:(\d+)", self.log())):
            if self._process.poll() is not None or time.monotonic() > end:
                self._process.kill()
                raise SystemExit(self.log())
            time.sleep(0.1)
        self.port = int(found[1])
        return self

    def __exit__(self, *error: object) -> None:
        self.end()

    def end(self) -> int:
        """Its status once it has ended by SIGTERM."""
        self._process.terminate()
        return self._process.wait(timeout=120)

    def log(self) -> str:
        """All that it wrote."""
        return self._log.read_text(encoding="utf-8", errors="replace")

    def memory_mb(self) -> float:
        """Its resident memory now; NaN where the system does not say."""
        try:
            pages = int(Path(f"/proc/{self._process.pid}/statm").read_text().split()[1])
        except OSError:
            return float("nan")
        return pages * os.sysconf("SC_PAGE_SIZE") / 1e6


def _load(port: int, bodies: list[bytes], clients: int, seconds: float) -> tuple[list[float], float]:
    """Seconds of each request, and of all, of clients that ask again as soon as they are answered."""
    numbers = itertools.count()
    lock, times, faults = threading.Lock(), [], []
    start = time.perf_counter()

    def client() -> None:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=120)
        try:
            while time.perf_counter() - start < seconds:
                with lock:
                    number = next(numbers)
                taken = _ask(connection, bodies[number % len(bodies)])
                with lock:
                    times.append(taken)
        except Exception as error:
            faults.append(error)
        finally:
            connection.close()

    run_all([client] * clients, faults)
    return times, time.perf_counter() - start


def _at_a_rate(port: int, bodies: list[bytes], connections: int, rate: float, seconds: float) -> dict[str, Any]:
    """Requests that are due at even times, whether the earlier ones are answered or not; late ones count from then."""
    count = round(rate * seconds)
    numbers = iter(range(count))
    lock, times, faults = threading.Lock(), [], []
    start = time.perf_counter() + 0.1

    def client() -> None:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=120)
        try:
            while True:
                with lock:
                    number = next(numbers, None)
                # What the service cannot keep up with is not asked for without end.
                if number is None or time.perf_counter() - start > 2 * seconds:
                    return
                due = start + number / rate
                time.sleep(max(0.0, due - time.perf_counter()))
                _ask(connection, bodies[number % len(bodies)])
                with lock:
                    times.append(time.perf_counter() - due)
        except Exception as error:
            faults.append(error)
        finally:
            connection.close()

    run_all([client] * connections, faults)
    wall = time.perf_counter() - start
    p50, p99 = np.percentile(times, [50, 99])
    return {
        "asked_requests_a_second": rate,
        "requests_a_second": len(times) / wall,
        "requests": len(times),
        "p50_ms": 1e3 * float(p50),
        "p99_ms": 1e3 * float(p99),
    }


def _ask(connection: http.client.HTTPConnection, body: bytes) -> float:
    start = time.perf_counter()
    connection.request("POST", "/score", body, {"Content-Type": "application/json"})
    answer = connection.getresponse()
    content = json.loads(answer.read())
    if answer.status != 200 or content["rows"][0]["error"]:
        raise RuntimeError(f"a request was not answered: {answer.status} {content}")
    return time.perf_counter() - start


def run_all(clients: Sequence[Callable[[], None]], faults: list[Exception]) -> None:
    """Runs clients in threads to their end, then raises the first of their faults."""
    threads = [threading.Thread(target=client) for client in clients]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if faults:
        raise faults[0]
