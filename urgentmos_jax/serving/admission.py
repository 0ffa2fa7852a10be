"""How many requests are open at a time, and for how long; an ASGI middleware that needs no package."""

import asyncio
import json
import logging
import time
from collections.abc import Awaitable, Callable, MutableMapping
from typing import TYPE_CHECKING, Any

from urgentmos_jax.serving.limits import Refused, busy

if TYPE_CHECKING:
    from urgentmos_jax.serving.service import Service

logger = logging.getLogger(__name__)

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]

_COUNTED = ("/score", "/compare")
# Of a body that is refused so much is still read, so that a client that is sending hears why: for so long, and of so
# many times the bytes that a request may have.
_DISCARD_SECONDS = 2.0
_DISCARD_BODIES = 4
# To arrive, to be computed, and for its answer to be taken, each within the time-out; and for decoding.
_TIMEOUTS = 4


class Admission:
    """Lets in as many requests as the queue has places, from their head to the end of their answer.

    Args:
        app: Answers those that are let in.
        service: Has the limits, counts and is told.
    """

    def __init__(self, app: Callable[[Message, Receive, Send], Awaitable[None]], *, service: "Service"):
        self._app, self._service = app, service

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["path"] not in _COUNTED:
            await self._app(scope, receive, send)
            return
        service, start = self._service, time.perf_counter()
        exchange = _Exchange(scope, receive, send, _DISCARD_BODIES * service.limits.max_bytes)
        if service.open_requests >= service.limits.queue:
            await exchange.refuse(busy(f"{service.open_requests} requests are open; try again later"))
        else:
            service.open_requests += 1
            try:
                async with asyncio.timeout(_TIMEOUTS * service.limits.timeout_seconds):
                    await self._app(scope, exchange.receive, exchange.send)
            except TimeoutError:
                if exchange.status is None:
                    await exchange.refuse(busy("the request took too long; try again later"))
                else:
                    logger.warning("a client did not take its answer in time")
            finally:
                service.open_requests -= 1
        path, seconds = scope["path"], time.perf_counter() - start
        service.monitor.add("urgentmos_requests_total", path=path, status=str(exchange.status or 499))
        service.monitor.observe("urgentmos_request_seconds", seconds, path=path)


class _Exchange:
    """A request and its answer; the body of one that is refused is read to its end before the answer."""

    def __init__(self, scope: Message, receive: Receive, send: Send, most: int):
        self._receive, self._send, self._most = receive, send, most
        self.status: int | None = None
        self._more = True
        # The client sends its body once it is told to.
        self._waits = any(name == b"expect" for name, _ in scope["headers"])

    async def receive(self) -> Message:
        self._waits = False
        message = await self._receive()
        self._more = message["type"] == "http.request" and message.get("more_body", False)
        return message

    async def send(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.status = message["status"]
            if message["status"] >= 400 and not self._waits:
                await self._discard()
        await self._send(message)

    async def refuse(self, error: Refused) -> None:
        body = json.dumps(error.content).encode()
        headers = {"content-type": "application/json", "content-length": str(len(body)), **error.headers}
        raw = [(name.lower().encode(), value.encode()) for name, value in headers.items()]
        await self.send({"type": "http.response.start", "status": error.status, "headers": raw})
        await self.send({"type": "http.response.body", "body": body})

    async def _discard(self) -> None:
        count = 0
        try:
            async with asyncio.timeout(_DISCARD_SECONDS):
                while self._more and count <= self._most:
                    count += len((await self.receive()).get("body", b""))
        except TimeoutError:
            pass
