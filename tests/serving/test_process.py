"""`urgentmos serve` as a process: many clients, some of whom hang up or send nothing, and SIGTERM while it is busy."""

import contextlib
import http.client
import json
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.helpers.corpus import ROOT
from tests.helpers.serving import in_json, recording

SAMPLES = 8000
CLIENTS, ROUNDS = 16, 6
# The process grows while it compiles and its threads start; then no more than this, in MB.
MAX_GROWTH_MB = 40


class Process:
    """The command, once it takes requests."""

    def __init__(self, model_folder: Path, *flags: str, token: str = ""):
        code = "import sys; from urgentmos_jax.cli import main; sys.exit(main(sys.argv[1:]))"
        command = [sys.executable, "-c", code, "serve", "--model", str(model_folder), "--port", "0", *flags]
        environment = {**os.environ, "JAX_NUM_CPU_DEVICES": "1", "URGENTMOS_TOKEN": token}
        self.process = subprocess.Popen(command, cwd=ROOT, env=environment, stderr=subprocess.PIPE, text=True)
        self.lines: list[str] = []
        self._ready = threading.Event()
        self._reader = threading.Thread(target=self._read)
        self._reader.start()
        assert self._ready.wait(300), self.lines
        self.port = int(re.search(r"http://127\.0\.0\.1:(\d+)", self.lines[-1])[1])

    def _read(self) -> None:
        for line in self.process.stderr:
            self.lines.append(line)
            if "http://" in line:
                self._ready.set()
        self._ready.set()

    def end(self, number: int = signal.SIGTERM) -> int:
        self.process.send_signal(number)
        status = self.process.wait(120)
        self._reader.join()
        self.process.stderr.close()
        return status

    def megabytes(self) -> float:
        text = Path(f"/proc/{self.process.pid}/status").read_text()
        return int(re.search(r"VmRSS:\s+(\d+)", text)[1]) / 1024


def post(port: int, path: str, body: dict, timeout: float = 120) -> tuple[int, dict]:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=timeout)
    with contextlib.closing(connection):
        connection.request("POST", path, json.dumps(body), {"Content-Type": "application/json"})
        answer = connection.getresponse()
        return answer.status, json.loads(answer.read())


@contextlib.contextmanager
def running(*arguments, **options):
    process = Process(*arguments, **options)
    try:
        yield process
    finally:
        if process.process.poll() is None:
            process.end(signal.SIGKILL)


def half_a_request(port: int, number: int) -> None:
    """Hangs up: in the head, in the body, or while its recording waits."""
    body = json.dumps({"files": [in_json(recording(number, SAMPLES))]}).encode()
    head = (
        f"POST /score HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n"
    )
    whole = head.encode() + b"\r\n" + body
    with socket.create_connection(("127.0.0.1", port)) as client:
        client.sendall(whole[: (40, len(whole) // 2, len(whole))[number % 3]])
        time.sleep(0.01 * (number % 5))


def readme_code() -> dict:
    """The names that the code of the README defines."""
    text = (ROOT / "urgentmos_jax" / "serving" / "README.md").read_text()
    blocks = re.findall(r"(?:^    .*\n|^\n(?=    ))+", text, re.MULTILINE)
    names: dict = {}
    for block in blocks:
        if "import " in block:
            exec("\n".join(line.removeprefix("    ") for line in block.strip("\n").splitlines()), names)
    return names


@pytest.mark.slow
def test_many_clients_and_the_end(model_folder):
    with running(model_folder, "--queue", "64") as server:
        bodies = [{"files": [in_json(recording(number, SAMPLES))]} for number in range(CLIENTS)]
        alone = [post(server.port, "/score", body)[1]["rows"][0]["scores"] for body in bodies]

        def ask(number: int) -> tuple[int, list[dict]]:
            status, content = post(server.port, "/score", bodies[number % CLIENTS])
            return status, content.get("rows", [])

        def storm() -> None:
            with ThreadPoolExecutor(2 * CLIENTS) as pool:
                cut = [pool.submit(half_a_request, server.port, number) for number in range(CLIENTS)]
                for number, (status, rows) in enumerate(pool.map(ask, range(CLIENTS))):
                    assert status == 200 and len(rows) == 1
                    for name, value in alone[number].items():
                        assert abs(rows[0]["scores"][name] - value) <= 1e-5
                for one in cut:
                    one.result()

        for _ in range(ROUNDS // 2):
            storm()
        before = server.megabytes()
        # Heads and bodies that do not come, and bytes that are no request, meanwhile.
        idle = [socket.create_connection(("127.0.0.1", server.port)) for _ in range(20)]
        for number, one in enumerate(idle):
            one.sendall(b"POST /score HTTP/1.1\r\nHost: localhost\r\nContent-Length: 99\r\n\r\n"[: 12 * number])
        idle[-1].sendall(bytes(range(256)))
        for _ in range(ROUNDS):
            storm()
        assert server.megabytes() - before < MAX_GROWTH_MB
        for one in idle:
            one.close()
        names = readme_code()
        address = f"http://127.0.0.1:{server.port}"
        assert names["rows"]("/score", bodies[0], address)[0]["scores"] == alone[0]
        names["rows"].__defaults__ = (address, *names["rows"].__defaults__[1:])
        assert names["reward"]([[0.1, -0.1] * 4000, [0.0]], metric="utmos", worst=-1.0)[1] == -1.0
        with pytest.raises(RuntimeError, match="no_such"):
            names["rows"]("/score?metrics=no_such", bodies[0], address)

        connection = http.client.HTTPConnection("127.0.0.1", server.port)
        connection.request("GET", "/metrics")
        text = connection.getresponse().read().decode()
        connection.close()
        assert "urgentmos_open_requests 0" in text and "urgentmos_waiting_audio_seconds 0" in text

        with ThreadPoolExecutor(CLIENTS) as pool:  # Accepted, then SIGTERM: all are answered.
            answers = [pool.submit(ask, number) for number in range(CLIENTS)]
            wait_until(lambda: open_requests(server.port) > 0 or any(answer.done() for answer in answers))
            status = server.end()
            found = []
            for answer in answers:
                try:
                    found.append(answer.result()[0])
                except OSError:
                    found.append(None)  # It came too late.
        assert status == 128 + signal.SIGTERM
        assert set(found) <= {200, None} and 200 in found
        log = "".join(server.lines)
        assert "interrupted" in log and "Traceback" not in log
        with pytest.raises(OSError):
            post(server.port, "/score", bodies[0])


def open_requests(port: int) -> int:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    with contextlib.closing(connection):
        connection.request("GET", "/metrics")
        text = connection.getresponse().read().decode()
    return int(re.search(r"urgentmos_open_requests (\d+)", text)[1])


def wait_until(true) -> None:
    end = time.monotonic() + 60
    while not true():
        assert time.monotonic() < end
