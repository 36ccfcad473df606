"""Access checks in front of the server: the API key, and the host name where there is none."""

import re
import secrets

from fastapi.responses import JSONResponse
from starlette.datastructures import Headers
from starlette.types import ASGIApp, Receive, Scope, Send

from components.inference.address import is_loopback, key_or_none
from components.inference.openai_errors import error_response

HOST_HEADER = re.compile(r"(?P<bracket>\[)?(?P<name>(?(bracket)[^\]]*|[^:\]]*))(?(bracket)\])(:[0-9]{1,5})?")


OPEN_PATHS = ("/", "/health")
"""Paths that need no key: the page to chat on, which asks for the key, and what tells that the server is alive."""


class Guard:
    """ASGI middleware that refuses a request before its body is read.

    With a key, every path but OPEN_PATHS needs `Authorization: Bearer KEY`. Without a key the server is on loopback,
    and the Host header must name loopback, so that a web page in the user's browser cannot reach the server by DNS
    rebinding.
    """

    def __init__(self, app: ASGIApp, api_key: str | None):
        self.app, self.api_key = app, key_or_none(api_key)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        refusal = self._refusal(scope["path"], Headers(scope=scope)) if scope["type"] == "http" else None
        await (refusal or self.app)(scope, receive, send)

    def _refusal(self, path: str, headers: Headers) -> JSONResponse | None:
        if self.api_key is None:
            host = HOST_HEADER.fullmatch(headers.get("host", ""))
            if not (host and is_loopback(host["name"])):
                return error_response(403, "this server answers under loopback names only, such as 127.0.0.1")
        elif path not in OPEN_PATHS:
            scheme, _, key = headers.get("authorization", "").partition(" ")
            is_right = secrets.compare_digest(key.strip().encode("latin-1"), self.api_key.encode())
            if scheme.lower() != "bearer" or not is_right:
                return error_response(401, "wrong or missing API key", code="invalid_api_key")
        return None
