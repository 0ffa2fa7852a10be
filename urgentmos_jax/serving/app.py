"""The paths of the service, as an ASGI application of Starlette's."""

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator
from typing import TYPE_CHECKING, Any

from urgentmos_jax.serving.admission import Admission
from urgentmos_jax.serving.limits import Refused
from urgentmos_jax.serving.page import page
from urgentmos_jax.serving.service import Service

if TYPE_CHECKING:
    from starlette.applications import Starlette
    from starlette.requests import Request
    from starlette.responses import Response

logger = logging.getLogger(__name__)

_PATHS = "POST /score, POST /compare, GET /health, GET /metrics, GET /"
_CODES = {404: "not_found", 405: "method_not_allowed"}


def create_app(service: Service) -> "Starlette":
    """The application.

    Args:
        service: Is started and stopped with it.

    Raises:
        ImportError: Starlette or python-multipart is not installed.
    """
    try:
        import python_multipart  # noqa: F401  # Starlette asks for it when the first form comes.
        from starlette.applications import Starlette
        from starlette.exceptions import HTTPException
        from starlette.middleware import Middleware
        from starlette.requests import ClientDisconnect
        from starlette.responses import HTMLResponse, JSONResponse, PlainTextResponse, Response
        from starlette.routing import Route
    except ImportError as error:
        raise ImportError('the service needs Starlette: pip install "urgentmos_jax[serve]"') from error

    def refusal(error: Refused) -> JSONResponse:
        return JSONResponse(error.content, error.status, headers=error.headers)

    async def rows(request: "Request") -> "Response":
        try:
            text = await service.answer(request, request.scope["path"].removeprefix("/"))
        except ClientDisconnect:
            return Response(status_code=499)  # As nginx calls it; nobody reads it.
        except Refused as error:
            return refusal(error)
        except Exception:
            logger.exception("a request failed")
            return refusal(Refused(500, "internal", "the service failed at this request; its log says more"))
        return Response(text, media_type="application/json")

    async def health(request: "Request") -> "Response":
        try:
            return JSONResponse(service.health())
        except Refused as error:
            return refusal(error)

    async def metrics(request: "Request") -> "Response":
        try:
            service.check_allowed(request)
        except Refused as error:
            return refusal(error)
        return PlainTextResponse(service.metrics_text(), media_type="text/plain; version=0.0.4")

    async def first_page(request: "Request") -> "Response":
        html, policy = page()
        return HTMLResponse(html, headers={"Content-Security-Policy": policy, "X-Content-Type-Options": "nosniff"})

    async def not_known(request: "Request", error: Exception) -> "Response":
        assert isinstance(error, HTTPException)
        code = _CODES.get(error.status_code, "bad_request")
        headers = dict(error.headers or {})
        return refusal(Refused(error.status_code, code, f"{error.detail}; there are {_PATHS}", headers))

    @contextlib.asynccontextmanager
    async def lifespan(app: Any) -> AsyncIterator[None]:
        loop = asyncio.get_running_loop()
        await loop.run_in_executor(None, service.start)
        yield
        await loop.run_in_executor(None, service.stop)

    return Starlette(
        routes=[
            Route("/", first_page),
            Route("/health", health),
            Route("/metrics", metrics),
            Route("/score", rows, methods=["POST"]),
            Route("/compare", rows, methods=["POST"]),
        ],
        middleware=[Middleware(Admission, service=service)],
        exception_handlers={HTTPException: not_known},
        lifespan=lifespan,
    )
