"""Access checks in front of the server: the API key, the host name, the size of a body."""

import secrets

from fastapi.responses import JSONResponse
from starlette.datastructures import Headers
from starlette.types import ASGIApp, Receive, Scope, Send

from components.inference.openai_errors import error_response

MAX_BODY_BYTES = 16 * 2**20
LOOPBACK_NAMES = ("localhost", "127.0.0.1", "[::1]")


class Guard:
    """ASGI middleware that refuses a request before its body is read.

    With a key, every path but /health needs `Authorization: Bearer KEY`. Without a key the server is on loopback, and
    the Host header must name loopback, so that a web page in the user's browser cannot reach the server by DNS
    rebinding.
    """

    def __init__(self, app: ASGIApp, api_key: str | None):
        self.app, self.api_key = app, api_key

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        refusal = self._refusal(scope["path"], Headers(scope=scope)) if scope["type"] == "http" else None
        await (refusal or self.app)(scope, receive, send)

    def _refusal(self, path: str, headers: Headers) -> JSONResponse | None:
        if self.api_key is None:
            host = headers.get("host", "")
            if host.removesuffix(f":{host.rpartition(':')[2]}") not in LOOPBACK_NAMES:
                return error_response(403, f"this server answers under loopback names only, not as '{host}'")
        elif path != "/health":
            scheme, _, key = headers.get("authorization", "").partition(" ")
            if scheme.lower() != "bearer" or not secrets.compare_digest(key.encode(), self.api_key.encode()):
                return error_response(401, "wrong or missing API key", code="invalid_api_key")
        if int(headers.get("content-length") or 0) > MAX_BODY_BYTES:
            return error_response(413, f"the body is larger than {MAX_BODY_BYTES >> 20} MiB")
        return None
