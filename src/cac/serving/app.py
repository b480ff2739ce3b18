"""The server's endpoints: `POST /score`, `GET /health`, `GET /ready`, `GET /metrics`.

Out of scope: authentication and TLS; put a proxy in front of the server for these.
"""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import asdict

from fastapi import FastAPI, Request, Response
from fastapi.responses import JSONResponse
from starlette.requests import ClientDisconnect

from cac.registry.pinned import PinnedModel
from cac.schema.score_row import ScoreRow
from cac.serving.metrics import CONTENT_TYPE
from cac.serving.request_errors import RequestError
from cac.serving.service import ScoringService
from cac.serving.settings import ServeSettings

_BUSY = 503
_GONE = 499  # never read: the client has closed the connection


class ScoreResponse(ScoreRow):
    """The response of `POST /score`: a row of scores, and the prompt as it was given."""

    prompt: str | None


def make_app(pinned: PinnedModel, settings: ServeSettings) -> FastAPI:
    """Return the application that scores videos with this model."""

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        app.state.service = ScoringService(pinned, settings)
        yield
        app.state.service.close()

    app = FastAPI(title="CaC scores", lifespan=lifespan, docs_url=None, redoc_url=None)
    app.add_exception_handler(RequestError, _reject)
    app.post("/score", response_model=ScoreResponse)(score)
    app.get("/health")(health)
    app.get("/ready")(ready)
    app.get("/metrics")(metrics)
    return app


async def score(request: Request) -> object:
    """Score the video of a request."""
    try:
        return await request.app.state.service.score(request)
    except ClientDisconnect:
        request.app.state.service.metrics.errors.labels("disconnected").inc()
        return Response(status_code=_GONE)


async def health() -> dict[str, str]:
    """Report that the process is alive."""
    return {"status": "alive"}


async def ready(request: Request) -> JSONResponse:
    """Report whether requests are answered, and by which version."""
    service = request.app.state.service
    state = {"status": "ready" if service.ready else "not ready", **asdict(service.version)}
    return JSONResponse(state, status_code=200 if service.ready else _BUSY)


async def metrics(request: Request) -> Response:
    """Return the Prometheus metrics."""
    return Response(request.app.state.service.metrics.exposition(), media_type=CONTENT_TYPE)


async def _reject(request: Request, error: Exception) -> JSONResponse:
    if not isinstance(error, RequestError):
        raise error
    headers = {"Retry-After": "1"} if error.status == _BUSY else None
    content = {"error": error.kind, "message": error.message}
    return JSONResponse(content, status_code=error.status, headers=headers)
