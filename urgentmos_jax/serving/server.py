"""The service on a socket: uvicorn, with time-outs for clients that send nothing, and an end that loses nothing."""

import asyncio
import logging
import os
import socket
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from urgentmos_jax.serving.app import create_app
from urgentmos_jax.serving.service import Service, is_loopback

if TYPE_CHECKING:
    import uvicorn

TOKEN = "URGENTMOS_TOKEN"

_HEAD_SECONDS = 15.0
_IDLE_SECONDS = 15
# Connections beside those of requests in the queue, that are idle or hear that it is full.
_MORE_CONNECTIONS = 1000


def bind(host: str, port: int, token: str | None) -> socket.socket:
    """A socket at an address; nobody can connect yet.

    Args:
        host: Name or address.
        port: 0 is any that is free.
        token: That requests must bear.

    Raises:
        ValueError: The address is not of loopback, and there is no token; or the port is none.
        OSError: It cannot be had.
    """
    if not 0 <= port < 1 << 16:  # The system would take its last 16 bits.
        raise ValueError("a port is a number from 0 to 65535")
    family, kind, protocol, _, address = socket.getaddrinfo(
        host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
    )[0]
    if not token and not is_loopback(str(address[0])):
        raise ValueError(
            f"{host} can be reached from other machines: set the environment variable {TOKEN} to a word that clients "
            "must give, or take 127.0.0.1"
        )
    bound = socket.socket(family, kind, protocol)
    try:
        if os.name == "posix":
            bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        bound.bind(address)
    except OSError:
        bound.close()
        raise
    return bound


def address_of(bound: socket.socket) -> str:
    """The address of a socket as browsers want it."""
    host, port = bound.getsockname()[:2]
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


def run_server(service: Service, bound: socket.socket, *, ready: Callable[[], None] | None = None) -> None:
    """Serves until SIGTERM or SIGINT; then what is accepted is answered, and the signal is raised again.

    Args:
        service: Gives the rows.
        bound: Of `bind`; it is closed at the end.
        ready: Called once requests are taken.

    Raises:
        ImportError: uvicorn, Starlette or python-multipart is not installed.
    """
    with bound:
        make_server(service, ready).run(sockets=[bound])


def make_server(service: Service, ready: Callable[[], None] | None = None) -> "uvicorn.Server":
    """uvicorn's server of a service; see `run_server`."""
    app = create_app(service)
    try:
        import uvicorn
    except ImportError as error:
        raise ImportError('the service needs uvicorn: pip install "urgentmos_jax[serve]"') from error

    class Server(uvicorn.Server):
        async def startup(self, sockets: list[socket.socket] | None = None) -> None:
            await super().startup(sockets)
            if ready and self.started:
                ready()

    # It warns of every form that is broken; the client hears of that.
    logging.getLogger("python_multipart").setLevel(logging.ERROR)
    limits = service.limits
    config = uvicorn.Config(
        app,
        http=_connection_class(),
        ws="none",
        lifespan="on",
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=False,
        timeout_keep_alive=_IDLE_SECONDS,
        timeout_graceful_shutdown=round(4 * limits.timeout_seconds + 10),
        limit_concurrency=limits.queue + _MORE_CONNECTIONS,
    )
    return Server(config)


def _connection_class() -> Any:
    """uvicorn's connection, closed where the head of a request does not come: uvicorn waits for it for ever."""
    import h11
    from uvicorn.protocols.http.h11_impl import H11Protocol

    class Connection(H11Protocol):
        _watch: asyncio.TimerHandle | None = None

        def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
            super().connection_made(transport)
            self._set_watch()

        def data_received(self, data: bytes) -> None:
            super().data_received(data)
            self._set_watch()

        def connection_lost(self, exc: Exception | None) -> None:
            self._end_watch()
            super().connection_lost(exc)

        def _set_watch(self) -> None:
            if self.conn.their_state is not h11.IDLE:
                self._end_watch()
            elif self._watch is None:
                self._watch = self.loop.call_later(_HEAD_SECONDS, self._give_up)

        def _end_watch(self) -> None:
            if self._watch is not None:
                self._watch.cancel()
                self._watch = None

        def _give_up(self) -> None:
            self._watch = None
            if self.conn.their_state is h11.IDLE:
                self.timeout_keep_alive_handler()

    return Connection
