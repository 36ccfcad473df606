"""The front: our own server before a program that serves a model. It checks and counts requests and forwards them byte
for byte; when the program dies, each open request gets one error, and further ones are told to come again."""

import asyncio
import re
from collections.abc import AsyncIterator
from typing import Any

import httpx
import orjson
from anyio import to_thread
from fastapi import FastAPI, Request, Response
from fastapi.responses import StreamingResponse
from starlette.exceptions import HTTPException
from starlette.routing import Route
from starlette.types import Receive, Scope, Send

from components.config.groups.serve import Serve
from components.inference.app import base_app
from components.inference.intake import MAX_BODY_BYTES, read_body, while_connected
from components.inference.media_intake import MediaIntake
from components.inference.metrics import STATE, WATCHED
from components.inference.openai_errors import error_event
from components.inference.place import Place, Upstream, absent

CONNECT_TIMEOUT_S = 10
BROKEN = "the engine broke off before the answer was complete; ask again"
OWN_HEADERS = {
    *(b"host", b"authorization", b"accept-encoding", b"content-length", b"date", b"server"),
    *(b"connection", b"keep-alive", b"transfer-encoding", b"te", b"trailer", b"upgrade", b"proxy-authorization"),
}
"""Headers of one connection, which are not forwarded to the next."""
_USAGE = re.compile(rb'"usage": ?\{')


def create_front(place: Place, api_key: str | None, settings: Serve, with_page: bool = False) -> FastAPI:
    """Return the application that forwards to the program in a place."""
    # No connection is kept: a program may close an idle one in the moment in which it is used again.
    limits = httpx.Limits(max_connections=None, max_keepalive_connections=0)
    timeout = httpx.Timeout(None, connect=CONNECT_TIMEOUT_S)
    http = httpx.AsyncClient(limits=limits, timeout=timeout, trust_env=False)
    body_limit = (settings.max_request_mb or 0) << 20 or MAX_BODY_BYTES
    app = base_app(api_key, settings, place, body_limit, with_page)
    forwarding = Forwarding(place, http, settings)
    app.router.routes += [
        Route("/v1/{path:path}", forwarding, methods=["GET", "POST", "DELETE"]),
        Route("/tokenize", forwarding, methods=["POST"]),
        Route("/detokenize", forwarding, methods=["POST"]),
    ]
    return app


class Forwarding:
    """ASGI application that forwards a request to the program in a place."""

    def __init__(self, place: Place, http: httpx.AsyncClient, settings: Serve):
        self.place, self.http, self.settings, self.media = place, http, settings, MediaIntake(settings)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        request, is_post = Request(scope, receive), scope["method"] == "POST"
        body = await to_thread.run_sync(self.media.forwarded, await read_body(request)) if is_post else b""
        if is_post and scope["path"].startswith("/v1/"):
            self.place.require()
        timeout_s = self.settings.request_timeout
        deadline = timeout_s and asyncio.get_running_loop().time() + timeout_s
        with self.place.entered() as upstream:
            response = None
            try:
                async with asyncio.timeout_at(deadline):
                    response = await while_connected(request, self._sent(request, body, upstream))
                    answer = await self._answer(request, response, deadline)
                await answer(scope, receive, send)
            except (httpx.ConnectError, httpx.ConnectTimeout):
                raise absent() from None
            except httpx.TransportError:
                raise HTTPException(502, BROKEN) from None
            except TimeoutError:
                raise HTTPException(504, self._too_late()) from None
            finally:
                if response:
                    await response.aclose()

    async def _sent(self, request: Request, body: bytes, upstream: Upstream) -> httpx.Response:
        """Send a request on, and return the response as soon as its headers are there."""
        target = request.scope["raw_path"] + (b"?" + query if (query := request.scope["query_string"]) else b"")
        headers = [
            *_forwarded(request.headers.raw),
            (b"authorization", f"Bearer {upstream.key}".encode()),
            (b"accept-encoding", b"identity"),
        ]
        url = httpx.URL(upstream.root).copy_with(raw_path=target)
        message = self.http.build_request(request.method, url, headers=headers, content=body)
        return await self.http.send(message, stream=True)

    async def _answer(self, request: Request, response: httpx.Response, deadline: float | None) -> Response:
        """Return the answer to the client: a stream as it comes, anything else when it is complete."""
        noted = request.scope[STATE] if request.url.path in WATCHED and response.is_success else None
        if response.headers.get("content-type", "").startswith("text/event-stream"):
            if noted is not None:
                noted["stream"] = True
            answer = StreamingResponse(self._events(response, noted, deadline), response.status_code)
        else:
            content = await while_connected(request, response.aread())
            if noted is not None:
                _note(noted, content)
            answer = Response(content, response.status_code)
        answer.raw_headers += _forwarded(response.headers.raw)
        return answer

    async def _events(
        self, response: httpx.Response, noted: dict[str, Any] | None, deadline: float | None
    ) -> AsyncIterator[bytes]:
        """Yield whole server-sent events as they arrive; one more with the error where they break off."""
        pieces, rest = response.aiter_bytes(), b""
        try:
            while True:
                async with asyncio.timeout_at(deadline):
                    piece = await anext(pieces, None)
                if piece is None:
                    break
                events, mark, rest = (rest + piece).rpartition(b"\n\n")
                if noted is not None and ("model" not in noted or _USAGE.search(events)):
                    _note_events(noted, events)
                yield events + mark
            yield rest
        except TimeoutError:
            yield error_event(504, self._too_late())
        except httpx.TransportError:
            yield error_event(502, BROKEN)

    def _too_late(self) -> str:
        return f"the answer took longer than {self.settings.request_timeout:g} s"


def _forwarded(headers: list[tuple[bytes, bytes]]) -> list[tuple[bytes, bytes]]:
    """Return the headers that go on, with names in lower case, as ASGI has them."""
    return [(name.lower(), value) for name, value in headers if name.lower() not in OWN_HEADERS]


def _note_events(noted: dict[str, Any], events: bytes) -> None:
    for line in events.split(b"\n"):
        if line.startswith(b"data: {"):
            _note(noted, line.removeprefix(b"data: "))


def _note(noted: dict[str, Any], content: bytes) -> None:
    """Note the model and the numbers of tokens of an answer, where it names them."""
    answer = orjson.loads(content)
    if "model" in answer:
        noted["model"] = answer["model"]
    if usage := answer.get("usage"):
        counts = {name: usage.get(name) or 0 for name in ("prompt_tokens", "completion_tokens")}
        cached = (usage.get("prompt_tokens_details") or {}).get("cached_tokens") or 0
        noted["usage"] = {**counts, "prompt_tokens_details": {"cached_tokens": cached}}
