"""Measurements of a server in Prometheus' format, and its access log."""

import logging
import time
from collections.abc import Callable
from typing import Any

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from starlette.types import ASGIApp, Message, Receive, Scope, Send

access = logging.getLogger("martlet.access")
SECONDS = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0)
STATE = "martlet"
"""Key of the ASGI scope under which a request's `model` and `usage` are noted."""
WATCHED = ("/v1/chat/completions", "/v1/completions", "/v1/embeddings", "/classify", "/rerank", "/v1/rerank")


class Metrics:
    """The measurements of one server.

    Args:
        load: returns how many requests are computed, and how many wait.
    """

    def __init__(self, load: Callable[[], tuple[int, int]]):
        self.registry = CollectorRegistry()
        self.requests = self._of(Counter, "martlet_requests", "Requests by path and status", ("path", "status"))
        self.tokens = self._of(Counter, "martlet_tokens", "Tokens: prompt, of which cached, generated", ("kind",))
        self.seconds = self._of(Histogram, "martlet_request_seconds", "Seconds of a request", ("path",), SECONDS)
        self.first = self._of(Histogram, "martlet_first_token_seconds", "Seconds to the first token", (), SECONDS)
        for i, name in enumerate(("running", "waiting")):
            gauge = Gauge(f"martlet_requests_{name}", f"Requests that are {name}", registry=self.registry)
            gauge.set_function(lambda i=i: load()[i])

    def _of(self, kind: type, name: str, text: str, labels: tuple[str, ...], buckets: tuple[float, ...] = ()) -> Any:
        more = {"buckets": buckets} if buckets else {}
        return kind(name, text, labels, registry=self.registry, **more)

    def page(self) -> bytes:
        """Return the measurements in Prometheus' text format."""
        return generate_latest(self.registry)


class Observed:
    """ASGI middleware that measures requests and writes a line for each to the access log, without prompts."""

    def __init__(self, app: ASGIApp, metrics: Metrics, verbose: bool):
        self.app, self.metrics, self.verbose = app, metrics, verbose

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return await self.app(scope, receive, send)
        begun, status, first_s = time.perf_counter(), 499, None
        noted = scope[STATE] = {"begun": begun}

        async def watched_send(message: Message) -> None:
            nonlocal status, first_s
            if message["type"] == "http.response.start":
                status = message["status"]
            elif first_s is None:
                first_s = time.perf_counter() - begun
            await send(message)

        try:
            await self.app(scope, receive, watched_send)
        except Exception:  # answered outside of this
            status = 500
            raise
        finally:
            self._note(scope, status, time.perf_counter() - begun, first_s, noted)

    def _note(self, scope: Scope, status: int, seconds: float, first_s: float | None, noted: dict[str, Any]) -> None:
        path = scope["path"] if scope["path"] in WATCHED else "other"
        self.metrics.requests.labels(path, str(status)).inc()
        usage = noted.get("usage") or {}
        if path != "other":
            self.metrics.seconds.labels(path).observe(seconds)
            first_s = noted.get("first_token_s", first_s)
            if noted.get("stream") and first_s is not None:
                self.metrics.first.observe(first_s)
            self.metrics.tokens.labels("prompt").inc(usage.get("prompt_tokens", 0))
            self.metrics.tokens.labels("generated").inc(usage.get("completion_tokens", 0))
            details = usage.get("prompt_tokens_details") or {}
            self.metrics.tokens.labels("cached").inc(details.get("cached_tokens", 0))
        if not self.verbose:
            return
        client = scope["client"][0] if scope.get("client") else "-"
        tokens = f" {usage['prompt_tokens']}+{usage.get('completion_tokens', 0)} tokens" if usage else ""
        model = f" {noted['model']}" if "model" in noted else ""
        access.info("%s %s %s %d %.3f s%s%s", client, scope["method"], scope["path"], status, seconds, model, tokens)
