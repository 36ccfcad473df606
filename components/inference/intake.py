"""Intake of requests: what one request may ask for, checked before work; bodies read within limits; work off the loop.

The event loop only moves bytes: parsing, rendering and tokenising run in a few threads, so that `/health` and other
clients are answered while a huge request is refused or prepared. What a client that has gone away still waits for is
cancelled.
"""

import asyncio
from collections.abc import Awaitable
from typing import TypeVar

from fastapi import Request
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from components.inference.api import LocalEngine, RequestError

BASE_BODY_BYTES, MAX_BODY_BYTES = 512 * 2**10, 16 * 2**20
CHARACTERS_PER_TOKEN = 16
"""Characters that a prompt may have for each token of the context, checked before it is tokenised: text has about 4."""
MAX_MESSAGES = 4096
MAX_CHOICES = 64
MAX_COMPLETIONS = 128
"""Prompts times choices of one request."""
MAX_STOP_CHARACTERS = 4096
"""Characters of all stop words of one request together."""
MAX_OPEN_BYTES, MAX_OPEN_BODIES = 64 * 2**20, 4
"""Bytes of the bodies of all requests that are not answered yet: so many, or so many of the largest bodies."""
PREPARING_THREADS, FETCHING_THREADS = 2, 8
BODY_TIMEOUT_S = 60
CLIENT_CLOSED_REQUEST = 499  # nginx's status code

T = TypeVar("T")


def max_body_bytes(max_model_len: int) -> int:
    """Return the size of the largest body that is read, from the length of the context in tokens."""
    return min(BASE_BODY_BYTES + CHARACTERS_PER_TOKEN * max_model_len, MAX_BODY_BYTES)


def require_fitting(characters: int, engine: LocalEngine) -> None:
    """Refuse a prompt whose length shows, before it is rendered and tokenised, that it exceeds the context.

    Raises:
        RequestError: it has more than CHARACTERS_PER_TOKEN characters for each token of the context.
    """
    if characters > CHARACTERS_PER_TOKEN * engine.max_model_len:
        raise RequestError(
            f"the prompt has {characters:,} characters and the model's context is {engine.max_model_len} tokens;"
            " shorten the prompt",
            code="context_length_exceeded",
        )


def character_count(*values: object) -> int:
    """Return the number of characters in all strings of nested lists and mappings, keys included."""
    count, remaining = 0, list(values)
    while remaining:
        match remaining.pop():
            case str(text):
                count += len(text)
            case dict(mapping):
                remaining += [*mapping.keys(), *mapping.values()]
            case list(items):
                remaining += items
            case _:
                pass
    return count


async def while_connected(request: Request, work: Awaitable[T]) -> T:
    """Return the result of `work`; cancel the work when the client closes the connection.

    The body of `request` has been read. Work that a thread has begun goes on to its end.

    Raises:
        HTTPException: the client is gone.
    """
    working, disconnect = asyncio.ensure_future(work), asyncio.create_task(_disconnect(request))
    try:
        await asyncio.wait({working, disconnect}, return_when=asyncio.FIRST_COMPLETED)
        if not working.done():
            raise HTTPException(CLIENT_CLOSED_REQUEST, "the client closed the connection")
        return await working
    finally:
        disconnect.cancel()
        working.cancel()


async def _disconnect(request: Request) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass


async def read_body(request: Request) -> bytes:
    """Return the body of a request that says that it is JSON.

    Raises:
        HTTPException: the body is of another type, or arrives too slowly; the client is gone.
    """
    if request.headers.get("content-type", "").partition(";")[0].strip().lower() != "application/json":
        # A web page may send any other type to another origin without asking that origin first.
        raise HTTPException(415, "send the body with the header Content-Type: application/json")
    try:
        async with asyncio.timeout(BODY_TIMEOUT_S):
            return b"".join([chunk async for chunk in request.stream()])
    except TimeoutError:
        raise HTTPException(408, f"the body did not arrive within {BODY_TIMEOUT_S} s") from None
    except ClientDisconnect:
        raise HTTPException(CLIENT_CLOSED_REQUEST, "the client closed the connection") from None


class BodyLimits:
    """ASGI middleware that limits the body of a request, and of all open requests together."""

    def __init__(self, app: ASGIApp, body_limit: int):
        self.app, self.body_limit, self.open_bytes = app, body_limit, 0
        self.most_bytes = MAX_OPEN_BYTES if body_limit <= MAX_BODY_BYTES else MAX_OPEN_BODIES * body_limit

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return await self.app(scope, receive, send)
        size = 0

        async def limited_receive() -> Message:
            nonlocal size
            message = await receive()
            arrived = len(message.get("body", b""))
            size, self.open_bytes = size + arrived, self.open_bytes + arrived
            if size > self.body_limit:
                raise HTTPException(413, f"the body is larger than {self.body_limit >> 10:,} KiB")
            if self.open_bytes > self.most_bytes:
                raise HTTPException(503, "too many requests are open; try again later", {"Retry-After": "1"})
            return message

        try:
            await self.app(scope, limited_receive, send)
        finally:
            self.open_bytes -= size
