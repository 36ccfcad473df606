"""What every server here has: access checks, limits of bodies, errors in OpenAI's shape, measurements, /health."""

from collections.abc import Callable, Generator
from contextlib import contextmanager
from pathlib import Path

from fastapi import FastAPI, Response
from pydantic import ValidationError
from starlette.exceptions import HTTPException

from components.config.groups.serve import Serve
from components.errors import ConfigError
from components.inference.api import RequestError
from components.inference.guard import Guard
from components.inference.intake import BodyLimits
from components.inference.metrics import Metrics, Observed
from components.inference.openai_errors import bad_request, http_error, server_error

PAGE = Path(__file__).with_name("chat_page.html")
PAGE_HEADERS = {
    "Content-Security-Policy": "default-src 'none'; script-src 'unsafe-inline'; style-src 'unsafe-inline'; "
    "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
}
"""The page loads nothing from elsewhere, and shows answers as text."""


class Room:
    """The places of requests that wait; a request that is being prepared has one, too.

    Args:
        load: returns how many requests are computed, and how many wait.
    """

    def __init__(self, places: int, load: Callable[[], tuple[int, int]]):
        self.places, self.load, self._entering = places, load, 0

    def require(self) -> None:
        """Raise HTTPException 429 if no place is free."""
        if self.load()[1] + self._entering >= self.places:
            raise HTTPException(429, "too many requests wait; try again later", {"Retry-After": "1"})

    @contextmanager
    def entering(self) -> Generator[None]:
        """Hold a place until the request is prepared; raises as `require`."""
        self.require()
        self._entering += 1
        try:
            yield
        finally:
            self._entering -= 1


def base_app(api_key: str | None, settings: Serve, room: Room, body_limit: int, with_page: bool = False) -> FastAPI:
    """Return an application with /health, /ready and /metrics, and a page to chat on at / if `with_page`.

    With an `api_key`, every path but /health needs the key; without, the host name must be a loopback name.

    Args:
        room: the places of requests that wait.
        body_limit: bytes of the largest body that is read.
    """
    metrics = Metrics(room.load)
    app = FastAPI(title="martlet", docs_url=None, redoc_url=None)  # the docs pages load scripts from the internet
    app.add_middleware(BodyLimits, body_limit=body_limit)
    app.add_middleware(Guard, api_key=api_key)
    app.add_middleware(Observed, metrics=metrics, verbose=settings.verbose)
    app.add_exception_handler(Exception, server_error)
    for kind in (ConfigError, RequestError, ValidationError):
        app.add_exception_handler(kind, bad_request)
    app.add_exception_handler(HTTPException, http_error)

    @app.get("/health")
    async def health() -> dict[str, str]:
        return {"status": "ok"}

    @app.get("/ready")
    async def ready() -> dict[str, str]:
        room.require()
        return {"status": "ready"}

    @app.get("/metrics")
    async def measurements() -> Response:
        return Response(metrics.page(), media_type="text/plain; version=0.0.4")

    if with_page:

        @app.get("/")
        async def page() -> Response:
            return Response(PAGE.read_bytes(), media_type="text/html", headers=PAGE_HEADERS)

    return app
