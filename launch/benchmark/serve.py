"""The service under load on loopback, in a process of its own: requests a second, p99, batched against one by one."""

import base64
import http.client
import io
import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import soundfile

from launch.benchmark.clips import generated
from launch.benchmark.memory import small_model
from launch.benchmark.settings import Settings
from urgentmos_jax.audio.loading import SAMPLE_RATE_HZ

CLIENTS = 16
REQUESTS_A_SECOND = 200
SECONDS = 60
_WARM_UP_REQUESTS = 400
_RUN = "import sys; from urgentmos_jax.cli import main; sys.exit(main(sys.argv[1:]))"


def measure(
    settings: Settings, *, seconds: float = SECONDS, rate: float = REQUESTS_A_SECOND, clients: int = CLIENTS
) -> dict[str, Any]:
    """Clips of 1 s, one a request: at a given rate for a time, then as many as clients that wait for each answer get.

    Args:
        settings: Without a model, a tiny one with random weights is taken; its rounds are those of the second part.
        seconds: Of the first part; a round of the second takes a sixth of it.
        rate: Requests a second, at most as many as `4 * clients` connections carry.
        clients: Of the second part, with batches across requests and one by one.

    Returns:
        Requests a second and their p50 and p99 in milliseconds; how much faster batches are.
    """
    model = settings.model or small_model(settings.scratch / "model")
    bodies = [_body(clip) for clip in generated(8, seconds=1.0)]
    found: dict[str, Any] = {"model": str(settings.model or "tiny, random weights"), "clients": clients}
    with _Server(model, settings) as server:
        _load(server.port, bodies, clients, _WARM_UP_REQUESTS)
        found |= _at_a_rate(server.port, bodies, 4 * clients, rate, seconds)
        rates: dict[str, list[float]] = {"batched": [], "one_by_one": []}
        for _ in range(settings.rounds):
            for name, count in (("batched", clients), ("one_by_one", 1)):
                times, wall = _load(server.port, bodies, count, None, seconds / 6)
                rates[name].append(len(times) / wall)
                found[f"{name}_p99_ms"] = 1e3 * float(np.percentile(times, 99))
    for name, values in rates.items():
        found[f"{name}_requests_a_second"] = float(np.median(values))
    ratios = np.divide(rates["batched"], rates["one_by_one"])
    return found | {"batched_over_one_by_one": float(np.median(ratios))}


def _body(clip: np.ndarray) -> bytes:
    file = io.BytesIO()
    soundfile.write(file, clip, SAMPLE_RATE_HZ, format="WAV")
    return json.dumps({"files": [{"base64": base64.b64encode(file.getvalue()).decode()}]}).encode()


class _Server:
    """`urgentmos serve` on a free port; entered, it takes requests."""

    def __init__(self, model: Path, settings: Settings):
        command = [sys.executable, "-c", _RUN, "serve", "--model", str(model), "--port", "0", "--queue", "256"]
        if settings.batch_seconds:
            command += ["--batch-seconds", str(settings.batch_seconds)]
        # A token of the user's would be asked for here, too.
        environment = {name: value for name, value in os.environ.items() if name != "URGENTMOS_TOKEN"}
        self._process = subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, text=True)
        self.port = 0

    def __enter__(self) -> "_Server":
        assert self._process.stderr is not None
        lines = []
        for line in self._process.stderr:
            lines.append(line)
            if "http://" in line:
                self.port = int(line.rsplit(":", 1)[1])
                return self
        raise SystemExit("".join(lines))

    def __exit__(self, *error: object) -> None:
        self._process.terminate()
        self._process.communicate(timeout=60)


def _load(
    port: int, bodies: list[bytes], clients: int, requests: int | None, seconds: float = 600.0
) -> tuple[list[float], float]:
    """Seconds of each request, and of all, of clients that ask again as soon as they are answered."""
    numbers: Iterator[int] = iter(range(requests if requests is not None else 1 << 30))
    lock, times, faults = threading.Lock(), [], []
    start = time.perf_counter()

    def client() -> None:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=120)
        try:
            while time.perf_counter() - start < seconds:
                with lock:
                    number = next(numbers, None)
                if number is None:
                    return
                taken = _ask(connection, bodies[number % len(bodies)])
                with lock:
                    times.append(taken)
        except Exception as error:
            faults.append(error)
        finally:
            connection.close()

    _run_all([threading.Thread(target=client) for _ in range(clients)], faults)
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

    _run_all([threading.Thread(target=client) for _ in range(connections)], faults)
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


def _run_all(threads: list[threading.Thread], faults: list[Exception]) -> None:
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if faults:
        raise faults[0]
