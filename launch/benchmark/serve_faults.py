"""The service among bad clients, in a process of its own on loopback: it stays up, small, and answers the others."""

import contextlib
import http.client
import json
import random
import socket
import threading
import time
from collections import Counter
from collections.abc import Callable
from typing import Any

from launch.benchmark.clips import generated
from launch.benchmark.measuring import tell
from launch.benchmark.memory import small_model
from launch.benchmark.serve import Server, body_of, item_of, run_all, wav
from launch.benchmark.settings import Settings

CLIENTS = 64
BAD_REQUESTS = 10_000
# Clients that send them, beside the others.
_FUZZERS = 16
_JSON = "application/json"
_FORM = "multipart/form-data; boundary=bound"
# What a body that nobody can read may be told; 500 would be a fault of the service.
_REFUSALS = {400, 408, 413, 415, 422}
_SCORES_AGREE = 1e-5
_TELL = 1000
# A busy machine may take long.
_PATIENCE_SECONDS = 300


def measure(settings: Settings, *, clients: int = CLIENTS, bad_requests: int = BAD_REQUESTS) -> dict[str, Any]:
    """Clients at once, half of them cut off in the middle and some slow, until the bad requests are answered.

    Args:
        settings: Without a model, a tiny one with random weights is taken.
        clients: Of three kinds: half hang up in the head, in the body, or while their recording waits; an eighth send
            their body over two seconds; the others wait for each answer and ask again.
        bad_requests: Forms and JSON bodies with fixed damage; each eighth has a damaged head too.

    Returns:
        Requests by kind and their answers; memory before, after each tenth of the bad requests, and at the end.

    Raises:
        SystemExit: A request that was accepted had no answer or another score, the service failed, or it did not end.
    """
    model = settings.model or small_model(settings.scratch / "model")
    files = [wav(clip) for clip in generated(8, seconds=1.0)]
    storm = _Storm([body_of(file) for file in files], _seeds(files[:2]), bad_requests)
    with Server(model, settings) as server:
        storm.begin(server)
        cut, slow = clients // 2, clients // 8
        kinds: list[Callable[[], None]] = [storm.cut] * cut + [storm.slow] * slow
        kinds += [storm.good] * (clients - cut - slow)
        start = time.perf_counter()
        run_all([*kinds, *[storm.bad] * _FUZZERS], storm.faults)
        seconds = time.perf_counter() - start
        storm.check_scores()
        memory, open_requests = server.memory_mb(), _open_requests(server.port)
        status, log = server.end(), server.log()
    if open_requests or "Traceback" in log or status != 143:
        raise SystemExit(f"{open_requests} requests are still open, it ended with {status}, and said\n{log}")
    return {
        "model": str(settings.model or "tiny, random weights"),
        "clients": clients,
        "seconds": seconds,
        **{name.replace(" ", "_"): count for name, count in sorted(storm.counts.items())},
        "memory_mb_before": storm.memory[0],
        "memory_mb_by_tenths": [round(one, 1) for one in storm.memory[1:]],
        "memory_mb_after": memory,
    }


class _Storm:
    """Clients of all kinds, and what they are told."""

    def __init__(self, bodies: list[bytes], seeds: list[tuple[str, str, bytes]], bad_requests: int):
        self._bodies, self._seeds, self._bad_requests = bodies, seeds, bad_requests
        self._numbers = iter(range(bad_requests))
        self._lock = threading.Lock()
        self._answered = 0
        self.counts: Counter[str] = Counter()
        self.memory: list[float] = []
        self.faults: list[Exception] = []

    def begin(self, server: Server) -> None:
        """Scores each clip alone, and has the service compile what the clients will need."""
        self._server, self._port = server, server.port
        self._wanted = [self._scores(body) for body in self._bodies]
        end = time.perf_counter() + 10

        def warm_up() -> None:
            while time.perf_counter() < end:
                self._scores(self._bodies[0])

        run_all([warm_up] * CLIENTS, self.faults)
        self.counts.clear()
        self.memory.append(server.memory_mb())

    def check_scores(self) -> None:
        """The scores are still those of the beginning."""
        for body, wanted in zip(self._bodies, self._wanted, strict=True):
            self._check(self._scores(body), wanted)

    def good(self) -> None:
        """Asks as long as there are bad requests."""
        with self._noting(), contextlib.closing(_connected(self._port)) as connection:
            number = 0
            while self._goes_on():
                number += 1
                self._check(self._scores(self._bodies[number % 8], connection), self._wanted[number % 8])
                self._count("good requests answered")

    def slow(self) -> None:
        """Sends a body in twenty parts."""
        with self._noting():
            while self._goes_on():
                with self._socket() as client:
                    head, body = self._head(0)
                    client.sendall(head)
                    for start in range(0, len(body), len(body) // 20):
                        client.sendall(body[start : start + len(body) // 20])
                        time.sleep(0.1)
                    answer = http.client.HTTPResponse(client)
                    answer.begin()
                    content = json.loads(answer.read())
                if answer.status == 503:
                    self._count("slow requests told to come again")
                    continue
                self._check(content["rows"][0]["scores"], self._wanted[0])
                self._count("slow requests answered")

    def cut(self) -> None:
        """Hangs up: in the head, in the body, or while its recording waits."""
        with self._noting():
            rng = random.Random(threading.get_ident())
            while self._goes_on():
                head, body = self._head(1)
                whole = head + body
                with self._socket() as client:
                    client.sendall(whole[: rng.choice([rng.randrange(len(head)), rng.randrange(len(whole)), None])])
                    time.sleep(rng.uniform(0, 1))
                self._count("requests cut off")

    def bad(self) -> None:
        """Sends one damaged request after the other."""
        with self._noting():
            while True:
                with self._lock:
                    number = next(self._numbers, None)
                if number is None:
                    return
                rng = random.Random(number)
                path, kind, body = self._seeds[number % len(self._seeds)]
                body = _damaged(body, rng)
                if number % 8 == 7:
                    self._send_raw(_damaged(_head_of(path, kind, body), rng) + body)
                else:
                    self._send(path, kind, body)
                with self._lock:
                    self._answered += 1
                    if self._answered % max(1, self._bad_requests // 10) == 0:
                        self.memory.append(self._server.memory_mb())
                    if self._answered % _TELL == 0:
                        tell(f"{self._answered} bad requests, {self.memory[-1]:.0f} MB")

    def _send(self, path: str, kind: str, body: bytes) -> None:
        with contextlib.closing(_connected(self._port)) as connection:
            status, content = self._answer(connection, path, kind, body, "bad")
        if status not in (200, *_REFUSALS) or content.keys() != {"rows" if status == 200 else "error"}:
            raise RuntimeError(f"a bad request was answered with {status} {content}")
        self._count("bad requests read" if status == 200 else f"bad requests refused {status}")

    def _answer(
        self, connection: http.client.HTTPConnection, path: str, kind: str, body: bytes, what: str
    ) -> tuple[int, dict[str, Any]]:
        """Status and content, once the queue has room."""
        while True:
            connection.request("POST", path, body, {"Content-Type": kind})
            answer = connection.getresponse()
            content = json.loads(answer.read())
            if answer.status != 503:
                return answer.status, content
            self._count(f"{what} requests told to come again")
            time.sleep(0.05)

    def _send_raw(self, data: bytes) -> None:
        """What is not HTTP may be answered, or the connection closed."""
        with self._socket() as client, contextlib.suppress(ConnectionError):
            client.sendall(data)
            client.shutdown(socket.SHUT_WR)
            client.recv(1 << 16)
        self._count("bad heads")

    def _scores(self, body: bytes, connection: http.client.HTTPConnection | None = None) -> dict[str, float]:
        with contextlib.nullcontext(connection) if connection else contextlib.closing(_connected(self._port)) as one:
            status, content = self._answer(one, "/score", _JSON, body, "good")
        if status != 200 or content["rows"][0]["error"]:
            raise RuntimeError(f"a good request was answered with {status} {content}")
        scores: dict[str, float] = content["rows"][0]["scores"]
        return scores

    def _check(self, scores: dict[str, float], wanted: dict[str, float]) -> None:
        if scores.keys() != wanted.keys() or any(abs(scores[name] - wanted[name]) > _SCORES_AGREE for name in wanted):
            raise RuntimeError(f"a clip has the scores {scores}, alone it has {wanted}")

    def _goes_on(self) -> bool:
        with self._lock:
            return self._answered < self._bad_requests and not self.faults

    def _count(self, name: str) -> None:
        with self._lock:
            self.counts[name] += 1

    @contextlib.contextmanager
    def _noting(self) -> Any:
        try:
            yield
        except Exception as error:
            self.faults.append(error)

    def _head(self, number: int) -> tuple[bytes, bytes]:
        body = self._bodies[number]
        return _head_of("/score", _JSON, body), body

    def _socket(self) -> socket.socket:
        return socket.create_connection(("127.0.0.1", self._port), timeout=_PATIENCE_SECONDS)


def _connected(port: int) -> http.client.HTTPConnection:
    return http.client.HTTPConnection("127.0.0.1", port, timeout=_PATIENCE_SECONDS)


def _head_of(path: str, kind: str, body: bytes) -> bytes:
    lines = (f"POST {path} HTTP/1.1", "Host: localhost", f"Content-Type: {kind}", f"Content-Length: {len(body)}")
    return "\r\n".join((*lines, "", "")).encode()


def _seeds(files: list[bytes]) -> list[tuple[str, str, bytes]]:
    """(path, Content-Type, body) of good requests, short ones, that damage starts from."""
    files = [file[:4044] for file in files]  # Their headers then promise more than there is.
    parts = [
        f'--bound\r\nContent-Disposition: form-data; name="files"; filename="{number}.wav"\r\n'.encode()
        + b"Content-Type: audio/wav\r\n\r\n" + file + b"\r\n"
        for number, file in enumerate(files)
    ]  # fmt: skip
    form = b"".join(parts) + b"--bound--\r\n"
    items = [item_of(file) for file in files]
    scored, compared = json.dumps({"files": items}).encode(), json.dumps({"pairs": [items]}).encode()
    return [
        ("/score", _FORM, form),
        ("/compare?order=ab", _FORM, form),
        ("/score?frames=true", _JSON, scored),
        ("/compare", _JSON, compared),
        ("/score", _JSON, b"[" * 3000),
        ("/score", "text/plain", scored),
    ]


def _damaged(data: bytes, rng: random.Random) -> bytes:
    """Data with bits flipped, a part cut out, repeated or written over, or its end gone."""
    for _ in range(rng.choice([1, 1, 3])):
        start = rng.randrange(len(data) + 1)
        end = min(len(data), start + rng.choice([1, 4, 100, 2000]))
        kind = rng.randrange(5)
        if kind == 0:
            piece = bytes(one ^ 1 << rng.randrange(8) for one in data[start:end])
        elif kind == 1:
            piece = b""
        elif kind == 2:
            piece = 3 * data[start:end]
        elif kind == 3:
            piece = rng.choice([rng.randbytes(end - start), bytes(end - start), b'"}]', b"--bound\r\n", b"1e999"])
        else:
            piece, end = b"", len(data)
        data = data[:start] + piece + data[end:]
    return data


def _open_requests(port: int) -> int:
    """What the service says, once it has had a second to notice who is gone."""
    time.sleep(1)
    with contextlib.closing(_connected(port)) as connection:
        connection.request("GET", "/metrics")
        text = connection.getresponse().read().decode()
    return int(text.partition("\nurgentmos_open_requests ")[2].partition("\n")[0])
