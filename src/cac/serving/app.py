"""The server's addresses: `POST /score`, `GET /health`, `GET /ready`, `GET /metrics`.

Left out: authentication and TLS, which a proxy in front of it gives.
"""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import asdict

from fastapi import FastAPI, Request, Response
from fastapi.responses import JSONResponse
from pydantic import BaseModel, ConfigDict
from starlette.requests import ClientDisconnect

from cac.registry.pinned import PinnedModel
from cac.serving.metrics import CONTENT_TYPE
from cac.serving.refused import RefusedError
from cac.serving.service import ScoringService
from cac.serving.settings import ServeSettings

_BUSY = 503
_GONE = 499  # nobody reads it: the client has closed the connection


class TimedBox(BaseModel):
    """Where the anomaly is at a time in seconds: x1, y1, x2, y2 in [0, 1]."""

    time: float
    box: tuple[float, float, float, float]


class Answer(BaseModel):
    """What `POST /score` answers; docs/reference/model.md says what each means."""

    model_config = ConfigDict(protected_namespaces=())

    score: float
    verdict: str
    windows: list[tuple[float, float]]
    family: str | None
    leaf: str | None
    boxes: list[TimedBox]
    evidence: str
    parsed: bool
    prompt: str | None
    model: str
    model_version: str


def make_app(pinned: PinnedModel, settings: ServeSettings) -> FastAPI:
    """Return the application that scores with this model; it judges from start-up to shutdown."""

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        app.state.service = ScoringService(pinned, settings)
        yield
        app.state.service.close()

    app = FastAPI(title="CaC scores", lifespan=lifespan, docs_url=None, redoc_url=None)
    app.add_exception_handler(RefusedError, _refuse)
    app.post("/score", response_model=Answer)(score)
    app.get("/health")(health)
    app.get("/ready")(ready)
    app.get("/metrics")(metrics)
    return app


async def score(request: Request) -> object:
    """Score the video that the request carries."""
    try:
        return await request.app.state.service.score(request)
    except ClientDisconnect:
        request.app.state.service.metrics.errors.labels("disconnected").inc()
        return Response(status_code=_GONE)


async def health() -> dict[str, str]:
    """Say that the process lives."""
    return {"status": "alive"}


async def ready(request: Request) -> JSONResponse:
    """Say whether requests are answered, and by which version."""
    service = request.app.state.service
    state = {"status": "ready" if service.ready else "not ready", **asdict(service.version)}
    return JSONResponse(state, status_code=200 if service.ready else _BUSY)


async def metrics(request: Request) -> Response:
    """Give what Prometheus reads."""
    return Response(request.app.state.service.metrics.exposition(), media_type=CONTENT_TYPE)


async def _refuse(request: Request, refusal: Exception) -> JSONResponse:
    if not isinstance(refusal, RefusedError):
        raise refusal
    headers = {"Retry-After": "1"} if refusal.status == _BUSY else None
    content = {"error": refusal.kind, "message": refusal.message}
    return JSONResponse(content, status_code=refusal.status, headers=headers)
