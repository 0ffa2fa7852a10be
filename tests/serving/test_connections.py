"""Clients that are slow, that hang up, or that send what is refused; and the end of the service while it is busy."""

import contextlib
import json
import socket
import threading
import time
from collections.abc import Iterator

import pytest

from tests.helpers.serving import Levels, in_json, listening, recording
from urgentmos_jax.serving import server

BODY = json.dumps({"files": [in_json(recording(1))]}).encode()


def head(length: int, *more: str) -> bytes:
    lines = ("POST /score HTTP/1.1", "Host: localhost", "Content-Type: application/json", f"Content-Length: {length}")
    return "\r\n".join([*lines, *more, "", ""]).encode()


@contextlib.contextmanager
def connected(address: str) -> Iterator[socket.socket]:
    with socket.create_connection(("127.0.0.1", int(address.rpartition(":")[2])), timeout=60) as client:
        yield client


def answer_of(client: socket.socket) -> bytes:
    """All that comes until the service hangs up."""
    parts = []
    while part := client.recv(1 << 16):
        parts.append(part)
    return b"".join(parts)


def test_a_body_that_does_not_come_is_not_waited_for():
    with listening(Levels(), timeout_seconds=1) as address, connected(address) as client:
        client.sendall(head(len(BODY), "Connection: close") + BODY[:100])
        assert answer_of(client).startswith(b"HTTP/1.1 408 ")


def test_a_head_that_does_not_come_is_not_waited_for(monkeypatch):
    monkeypatch.setattr(server, "_HEAD_SECONDS", 0.5)
    with listening(Levels()) as address, connected(address) as silent, connected(address) as slow:
        slow.sendall(b"POST /score HTTP/1.1\r\nHo")
        assert answer_of(silent) == answer_of(slow) == b""
        with connected(address) as client:  # A second request on a connection has its time, too.
            client.sendall(head(len(BODY)) + BODY)
            assert b" 200 OK" in client.recv(1 << 16)
            client.sendall(b"GET /he")
            assert b"HTTP" not in answer_of(client)


def test_who_sends_too_much_hears_why():
    large = bytes(3 << 20)
    with listening(Levels(), max_bytes=1 << 21) as address:
        with connected(address) as client:
            client.sendall(head(len(large), "Connection: close") + large)
            assert answer_of(client).startswith(b"HTTP/1.1 413 ")
        with connected(address) as client:  # Asked to go on before it sends, it is not.
            client.sendall(head(len(large), "Expect: 100-continue", "Connection: close"))
            assert answer_of(client).startswith(b"HTTP/1.1 413 ")


def test_who_hangs_up_gives_up_its_place():
    model = Levels()
    with listening(model, delay_seconds=0) as address:
        model.free.clear()
        with connected(address) as first:
            first.sendall(head(len(BODY), "Connection: close") + BODY)
            assert model.busy.wait(20)
            for sent in (20, len(head(len(BODY))) + 50, None):
                with connected(address) as other:
                    other.sendall((head(len(BODY)) + BODY)[:sent])
                    time.sleep(0.3)
            time.sleep(0.3)
            model.free.set()
            assert answer_of(first).startswith(b"HTTP/1.1 200 ")
        with connected(address) as last:
            last.sendall(head(len(BODY), "Connection: close") + BODY)
            assert answer_of(last).startswith(b"HTTP/1.1 200 ")
    assert len(model.batches) == 2


def test_the_end_answers_all_that_is_accepted():
    count = 5
    model = Levels(batch_seconds=0.25)
    with contextlib.ExitStack() as clients:
        with listening(model, delay_seconds=0) as address:
            model.free.clear()
            all_of = [clients.enter_context(connected(address)) for _ in range(count)]
            for client in all_of:
                client.sendall(head(len(BODY), "Connection: close") + BODY)
            assert model.busy.wait(20)
            time.sleep(0.5)
            threading.Timer(0.5, model.free.set).start()
        answers = [answer_of(client) for client in all_of]
    assert all(answer.startswith(b"HTTP/1.1 200 ") for answer in answers)
    assert all(json.loads(answer.partition(b"\r\n\r\n")[2])["rows"][0]["error"] is None for answer in answers)
    assert len(model.batches) >= count // 2
    with pytest.raises(OSError), connected(address):
        pass
