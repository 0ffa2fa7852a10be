"""One request from its head to its rows: who may ask, what may be held, decoding, the batcher, and what is answered."""

import asyncio
import hmac
import ipaddress
import os
from collections.abc import AsyncGenerator, Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from urgentmos_jax.audio.loading import SAMPLE_RATE_HZ
from urgentmos_jax.scoring.model import Model
from urgentmos_jax.scoring.row_formats import JsonLines, Row
from urgentmos_jax.serving.batcher import Batcher, Job, Options
from urgentmos_jax.serving.bodies import Asked, read_json, read_multipart, read_query
from urgentmos_jax.serving.limits import Limits, Refused, busy, too_large
from urgentmos_jax.serving.monitoring import Monitor
from urgentmos_jax.serving.recordings import TooLong
from urgentmos_jax.version import __version__

if TYPE_CHECKING:
    from starlette.requests import Request

_WARM_SAMPLES = SAMPLE_RATE_HZ // 2


class Service:
    """Rows for requests, from one model.

    Args:
        model: Computes.
        limits: Of a request and of all.
        root: Folder below which a request may name paths; None: it may not.
        token: That requests must bear; None: none, and then they must be addressed to loopback.

    Attributes:
        monitor: Counts.
        open_requests: That are not answered yet; `Admission` counts them.
    """

    def __init__(
        self, model: Model, *, limits: Limits | None = None, root: Path | None = None, token: str | None = None
    ):
        self.model, self.limits, self.root, self.token = model, limits or Limits(), root, token
        self.monitor = Monitor()
        self.batcher = Batcher(model, self.limits, self._note)
        self.open_requests = 0
        self._held_bytes = 0
        self._pool = ThreadPoolExecutor(max(2, os.cpu_count() or 2), thread_name_prefix="serve")

    def start(self) -> None:
        """Computes something, so that what cannot work fails now, and takes requests from then on."""
        noise = np.random.default_rng(0).normal(0, 0.1, _WARM_SAMPLES).astype(np.float32)
        self.model.score([noise], sample_rate=SAMPLE_RATE_HZ)
        self.batcher.start()

    def stop(self) -> None:
        """Computes what waits."""
        self.batcher.stop()
        self._pool.shutdown()

    def health(self) -> dict[str, Any]:
        """What `GET /health` says.

        Raises:
            Refused: 503, nothing is computed any more.
        """
        if not self.batcher.computes:
            raise busy("nothing is computed: the service is being started or stopped")
        return {
            "status": "ok",
            "model": self.model.name,
            "metrics": list(self.model.metrics),
            "comparative_metrics": list(self.model.comparative_metrics),
            "version": __version__,
        }

    def metrics_text(self) -> str:
        """What `GET /metrics` says."""
        waiting, seconds = self.batcher.waiting
        gauges = {"open_requests": self.open_requests, "waiting_requests": waiting, "waiting_audio_seconds": seconds}
        return self.monitor.text({f"urgentmos_{name}": value for name, value in gauges.items()})

    def check_allowed(self, request: "Request") -> None:
        """Refuses who has not the token; and without one, whoever takes this for another host.

        A page of another site that a browser here has open could otherwise ask under a name of its own that leads to
        loopback.

        Raises:
            Refused: 401, or 400.
        """
        if self.token is None:
            if not is_loopback(_host(request.headers.get("host", ""))):
                raise Refused(400, "bad_request", "without a token this service answers to localhost alone")
            return
        given = request.headers.get("authorization", "").encode("latin-1")
        if not hmac.compare_digest(given, f"Bearer {self.token}".encode()):
            challenge = {"WWW-Authenticate": "Bearer"}
            raise Refused(401, "unauthorized", "give the header Authorization: Bearer TOKEN", challenge)

    async def answer(self, request: "Request", kind: str) -> str:
        """The JSON text `{"rows": [...]}` of a request.

        Args:
            request: Its head; its body is read here.
            kind: "score" or "compare".

        Raises:
            Refused: It gets no rows; the status says why.
            ClientDisconnect: Nobody waits for the answer.
        """
        self.check_allowed(request)
        options = read_query(request.query_params.multi_items(), kind, self.model)
        loop = asyncio.get_running_loop()
        held = _Held(self, request)
        try:
            read = await self._arrived(request, kind, held)
            job = await loop.run_in_executor(self._pool, self._load, read, options)
        finally:
            held.release()
        rows = await self._rows(request, job)
        for row in rows:
            self.monitor.add("urgentmos_rows_total", path=f"/{kind}", result=(row["error"] or {}).get("code", "done"))
        return await loop.run_in_executor(self._pool, _json_text, rows)

    async def _arrived(self, request: "Request", kind: str, held: "_Held") -> Callable[[], Asked]:
        seconds = self.limits.timeout_seconds
        try:
            async with asyncio.timeout(seconds):
                return await self._read(request, kind, held)
        except TimeoutError:
            raise Refused(408, "timeout", f"the request took over {seconds:g} s to arrive") from None

    async def _read(self, request: "Request", kind: str, held: "_Held") -> Callable[[], Asked]:
        """What gives the recordings, once all of the body is there; JSON takes time, and is read elsewhere."""
        content_type = request.headers.get("content-type", "").partition(";")[0].strip().lower()
        if request.headers.get("content-encoding", "identity").lower() != "identity":
            raise Refused(415, "unsupported", "a body with Content-Encoding is not read; send it as it is")
        if content_type == "multipart/form-data":
            asked = await read_multipart(request.headers, held.parts(), kind, self.model, self.limits)
            return lambda: asked
        if content_type == "application/json":
            body = b"".join([part async for part in held.parts()])
            return lambda: read_json(body, kind, self.model, self.limits, self.root)
        wanted = "multipart/form-data with fields named files, or application/json"
        raise Refused(415, "unsupported", f"Content-Type is {content_type or 'missing'}, expected {wanted}")

    def _load(self, read: Callable[[], Asked], options: Options) -> Job:
        """Decodes all recordings of a request."""
        asked, seconds = read(), 0.0
        most = self.limits.max_seconds
        for recording in asked.recordings:
            try:
                seconds += recording.load(most - seconds)
            except TooLong:
                raise too_large(f"over {most:g} s of audio in a request; send less of it at a time") from None
        return Job(asked.recordings, options, seconds, asked.uids)

    async def _rows(self, request: "Request", job: Job) -> list[Row]:
        """Rows of a job; one whose client is gone, or that waits too long, is dropped."""
        self.batcher.submit(job)
        rows = asyncio.wrap_future(job.rows)
        gone = asyncio.ensure_future(_disconnected(request))
        try:
            waited: set[asyncio.Future] = {rows, gone}
            await asyncio.wait(waited, timeout=self.limits.timeout_seconds, return_when=asyncio.FIRST_COMPLETED)
            if rows.done():
                return rows.result()
            if gone.done():
                from starlette.requests import ClientDisconnect

                raise ClientDisconnect
            raise busy(f"not computed within {self.limits.timeout_seconds:g} s; try again later, or send less")
        finally:
            gone.cancel()
            rows.cancel()
            self.batcher.drop(job)

    def _note(self, requests: int, recordings: int, audio_seconds: float, seconds: float) -> None:
        self.monitor.observe("urgentmos_batch_requests", requests)
        self.monitor.observe("urgentmos_batch_recordings", recordings)
        self.monitor.add("urgentmos_audio_seconds_total", audio_seconds)
        self.monitor.add("urgentmos_compute_seconds_total", seconds)

    def hold(self, count: int) -> None:
        """Counts bytes of bodies, which are given back by a negative count.

        Raises:
            Refused: 503, there are too many.
        """
        if count > 0 and self._held_bytes + count > self.limits.max_held_bytes:
            raise busy("the bodies of other requests fill the memory; try again later")
        self._held_bytes += count


class _Held:
    """The body of a request as it comes, within the limits of bytes."""

    def __init__(self, service: Service, request: "Request"):
        self._service, self._request, self._count = service, request, 0

    async def parts(self) -> AsyncGenerator[bytes, None]:
        most = self._service.limits.max_bytes
        text = f"the body has more than {most / 2**20:g} MiB; send fewer recordings, or FLAC, Ogg, MP3"
        claimed = self._request.headers.get("content-length", "")
        if claimed.isdecimal() and int(claimed) > most:
            raise too_large(text)
        async for part in self._request.stream():
            if self._count + len(part) > most:
                raise too_large(text)
            self._service.hold(len(part))
            self._count += len(part)
            yield part

    def release(self) -> None:
        self._service.hold(-self._count)
        self._count = 0


def is_loopback(host: str) -> bool:
    """Whether a host is this one, seen from itself."""
    try:
        return host.lower() == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _host(header: str) -> str:
    """The name or address of a header Host, without its port."""
    if not header.startswith("["):
        return header.partition(":")[0]
    name, closed, _ = header[1:].partition("]")
    return name if closed else ""


async def _disconnected(request: "Request") -> None:
    """Ends when the client has hung up."""
    while (await request.receive())["type"] != "http.disconnect":
        pass


def _json_text(rows: list[Row]) -> str:
    form = JsonLines()
    return '{"rows": [' + ", ".join(form.line(row).rstrip("\n") for row in rows) + "]}"
