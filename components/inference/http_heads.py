"""HTTP connections with limits for what arrives: size and time of a head, before any key, and bodies at the end."""

import asyncio
from typing import Any

from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol

from components.inference.openai_errors import error_response

MAX_HEAD_BYTES = 64 * 2**10
TOO_LARGE = f"the head of the request is larger than {MAX_HEAD_BYTES >> 10} KiB"
HEAD_TIMEOUT_S = 30
"""From the connection, or on a kept one from the first byte, to the end of a head."""
LAST_BODY_S = 1
"""How long the bodies of open requests may still arrive when the server ends."""
CLOSE = {"Connection": "close"}


class LimitedHeads(HttpToolsProtocol):
    """One connection. What exceeds a limit is answered, and the connection closed."""

    def __init__(self, *args: Any, **settings: Any):
        super().__init__(*args, **settings)
        self.head_bytes, self.head_timer = 0, None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._await_head()

    def connection_lost(self, exc: Exception | None) -> None:
        self._stop_timer()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        self.head_bytes += len(data)  # the callbacks below, which the parser calls, set it to 0
        super().data_received(data)
        if self.head_bytes > MAX_HEAD_BYTES:
            self._refuse(431, TOO_LARGE)
        elif self.head_timer is None and self._is_idle():
            self._await_head()

    def on_headers_complete(self) -> None:
        self._stop_timer()
        self.head_bytes = 0
        if len(self.url) + sum(len(name) + len(value) + 4 for name, value in self.headers) > MAX_HEAD_BYTES:
            # Answered in its turn, after the requests before it; the path is not read, which fails beyond 64 KiB.
            self.url, self.app = b"/", error_response(431, TOO_LARGE, headers=CLOSE)
        super().on_headers_complete()

    def on_body(self, body: bytes) -> None:
        self.head_bytes = 0
        super().on_body(body)

    def on_message_complete(self) -> None:
        self.head_bytes = 0  # what follows in the same piece of data is not counted, but the whole head is, above
        super().on_message_complete()

    def shutdown(self) -> None:
        super().shutdown()
        self.loop.call_later(LAST_BODY_S, self._give_up_body)

    def _unsupported_upgrade_warning(self) -> None:
        pass  # a request that asks for another protocol is answered in this one

    def _give_up_body(self) -> None:
        if not self._is_idle() and self.cycle.more_body:
            self._refuse(408, "the server ends, and the body of the request has not arrived")

    def _is_idle(self) -> bool:
        return self.cycle is None or self.cycle.response_complete  # pyright: ignore[reportUnnecessaryComparison]

    def _await_head(self) -> None:
        message = f"the head of the request did not arrive within {HEAD_TIMEOUT_S} s"
        self.head_timer = self.loop.call_later(HEAD_TIMEOUT_S, self._refuse, 408, message)

    def _stop_timer(self) -> None:
        if self.head_timer:
            self.head_timer.cancel()
            self.head_timer = None

    def _refuse(self, status: int, message: str) -> None:
        """Close the connection, with an error unless an answer is on its way."""
        if self.transport.is_closing():
            return
        if self._is_idle() or not (self.cycle.response_started or self.pipeline):
            answer = error_response(status, message, headers=CLOSE)
            lines = [b"%s: %s\r\n" % header for header in answer.raw_headers]
            self.transport.write(b"".join([STATUS_LINE[status], *lines, b"\r\n", bytes(answer.body)]))
        self.transport.close()
