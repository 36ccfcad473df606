"""OpenAI's API over engines in this process: models, chat completions, completions, and vLLM's /tokenize, /health."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Mapping
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from anyio import CapacityLimiter, to_thread
from fastapi import FastAPI, Request
from fastapi.responses import StreamingResponse
from starlette.exceptions import HTTPException

from components.config.groups.serve import Serve
from components.errors import MartletError
from components.inference.api import LocalEngine, RequestError
from components.inference.app import Room, base_app
from components.inference.intake import (
    FETCHING_THREADS,
    PREPARING_THREADS,
    max_body_bytes,
    read_body,
    while_connected,
)
from components.inference.media_intake import MediaIntake
from components.inference.metrics import STATE
from components.inference.openai_errors import MAX_SHOWN_CHARACTERS
from components.inference.openai_responses import Work, events, whole_response
from components.inference.openai_types import LoadLoraAdapter, UnloadLoraAdapter
from components.inference.openai_work import chat_work, served_name, text_work, token_counts, token_text
from components.inference.served import Served

if TYPE_CHECKING:
    from components.inference.updates import Updates

T = TypeVar("T")


def create_app(
    engines: Mapping[str, LocalEngine] | Served,
    api_key: str | None = None,
    settings: Serve | None = None,
    updates: "Updates | None" = None,
    with_page: bool = False,
) -> FastAPI:
    """Return the application that serves engines by their names.

    Clients may ask for `updates` where `allow_runtime_lora_updating` is set. `with_page` adds a page to chat on at /.
    For the `api_key` see `base_app`.
    """
    served = engines if isinstance(engines, Served) else Served(engines)
    settings = settings or Serve()
    timeout_s = settings.request_timeout
    room = Room(settings.max_waiting_requests, partial(load, served))
    largest = max(max_body_bytes(engine.max_model_len) for engine in served.engines)
    body_limit, media = (settings.max_request_mb or 0) << 20 or largest, MediaIntake(settings)
    app = base_app(api_key, settings, room, body_limit, with_page)
    fetching = FETCHING_THREADS if settings.allowed_media_domains else 0  # which wait for other servers
    started, threads = int(time.time()), CapacityLimiter(PREPARING_THREADS + fetching)

    @app.get("/v1/models")
    async def models() -> dict[str, Any]:
        return {"object": "list", "data": [description(name) for name in served.names]}

    @app.get("/v1/models/{name:path}")
    async def model_by_name(name: str) -> dict[str, Any]:
        return description(served_name(served, name))

    @app.post("/v1/chat/completions")
    async def chat_completions(request: Request) -> Any:
        return await answer(request, partial(chat_work, media=media))

    @app.post("/v1/completions")
    async def completions(request: Request) -> Any:
        return await answer(request, text_work)

    @app.post("/tokenize")
    async def tokenize(request: Request) -> dict[str, Any]:
        return await prepared(request, partial(token_counts, media=media))

    @app.post("/detokenize")
    async def detokenize(request: Request) -> dict[str, Any]:
        return await prepared(request, token_text)

    if updates and settings.allow_runtime_lora_updating:

        @app.post("/v1/load_lora_adapter")
        async def load_lora_adapter(request: Request) -> dict[str, str]:
            adapter = LoadLoraAdapter.model_validate_json(await read_body(request))
            try:
                await to_thread.run_sync(updates.load_adapter, adapter.lora_name, Path(adapter.lora_path))
            except (MartletError, OSError) as error:
                raise RequestError(str(error)[:MAX_SHOWN_CHARACTERS]) from error
            return {"status": f"'{adapter.lora_name}' is served"}

        @app.post("/v1/unload_lora_adapter")
        async def unload_lora_adapter(request: Request) -> dict[str, str]:
            adapter = UnloadLoraAdapter.model_validate_json(await read_body(request))
            updates.unload_adapter(adapter.lora_name)
            return {"status": f"'{adapter.lora_name}' is served no longer"}

    async def prepared(request: Request, prepare: Callable[[Served, bytes], T]) -> T:
        """Return `prepare(served, body)`, computed in a thread: the event loop only moves bytes."""
        body = await read_body(request)
        return await while_connected(request, to_thread.run_sync(prepare, served, body, limiter=threads))

    async def answer(request: Request, prepare: Callable[[Served, bytes], Work]) -> Any:
        with room.entering():
            body = await read_body(request)
            while True:  # an engine may be exchanged while its work is prepared
                work = await while_connected(request, to_thread.run_sync(prepare, served, body, limiter=threads))
                if served.enter(work.engine):
                    break
        request.scope[STATE].update(model=work.form.model, usage=work.usage, stream=work.stream)
        if work.stream:
            headers = {"Cache-Control": "no-cache"}
            noted = request.scope[STATE]
            return StreamingResponse(counted_events(work, noted), media_type="text/event-stream", headers=headers)
        try:
            async with asyncio.timeout(timeout_s):
                return await while_connected(request, whole_response(work))
        except TimeoutError:
            raise HTTPException(504, f"the answer took longer than {timeout_s:g} s") from None
        finally:
            served.leave(work.engine)

    async def counted_events(work: Work, noted: dict[str, Any]) -> AsyncIterator[bytes]:
        heads = len(work.jobs) * len(work.form.start(0))  # events before the first token
        try:
            async for event in events(work, timeout_s):
                if heads == 0:
                    noted["first_token_s"] = time.perf_counter() - noted["begun"]
                heads -= 1
                yield event
        finally:
            served.leave(work.engine)

    def description(name: str) -> dict[str, Any]:
        properties = {"created": started, "owned_by": "martlet", "max_model_len": served.engine(name).max_model_len}
        return {"id": name, "object": "model", **properties}

    return app


def load(served: Served) -> tuple[int, int]:
    """Return how many requests all engines compute, and how many wait."""
    loads = {engine.load() for engine in served.engines}
    return sum(running for running, _ in loads), sum(waiting for _, waiting in loads)
