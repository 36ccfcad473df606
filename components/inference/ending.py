"""The end of a server: an answer that it cuts off ends with an error in OpenAI's shape, not in a traceback."""

import asyncio
import contextlib

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from components.inference.openai_errors import error_event, error_response

CUT = "the server ends; ask again"


class Ending:
    """ASGI application around another: a request that the server cancels, which it does only at its end, is answered.

    A stream of events gets one more with the error; a request without an answer yet gets status 503.
    """

    def __init__(self, app: ASGIApp):
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        start: Message | None = None

        async def watched_send(message: Message) -> None:
            nonlocal start
            start = start or message
            await send(message)

        try:
            await self.app(scope, receive, watched_send)
        except asyncio.CancelledError:
            with contextlib.suppress(asyncio.CancelledError):  # again, when a client does not read
                if start is None:
                    await error_response(503, CUT)(scope, receive, send)
                elif Headers(raw=start["headers"]).get("content-type", "").startswith("text/event-stream"):
                    await send({"type": "http.response.body", "body": error_event(503, CUT)})
