"""OpenAI's API over an engine in this process: models, chat completions, completions, and vLLM's /tokenize, /health."""

import time
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

from anyio import CapacityLimiter, to_thread
from fastapi import FastAPI, Request
from fastapi.responses import StreamingResponse
from pydantic import ValidationError
from starlette.exceptions import HTTPException

from components.errors import ConfigError
from components.inference.api import LocalEngine, RequestError
from components.inference.guard import Guard
from components.inference.intake import (
    MAX_COMPLETIONS,
    PREPARING_THREADS,
    BodyLimits,
    character_count,
    max_body_bytes,
    read_body,
    require_fitting,
    while_connected,
)
from components.inference.openai_errors import MAX_SHOWN_CHARACTERS, bad_request, http_error, server_error
from components.inference.openai_responses import ChatFormat, ResponseFormat, TextFormat, Work, events, whole_response
from components.inference.openai_types import ChatMessage, ChatRequest, CompletionRequest, Generation, TokenizeRequest

T = TypeVar("T")
TEMPLATE_FAULTS = (RecursionError, AttributeError, LookupError, ArithmeticError, TypeError)
"""What the code of a chat template raises on values that it does not expect."""


def create_app(engine: LocalEngine, names: Sequence[str], api_key: str | None = None) -> FastAPI:
    """Return the application that serves `engine` as each of `names`.

    With an `api_key`, every path but /health needs the key; without, the host name must be a loopback name.
    """
    app = FastAPI(title="martlet", docs_url=None, redoc_url=None)  # the docs pages load scripts from the internet
    app.add_middleware(BodyLimits, body_limit=max_body_bytes(engine.max_model_len))
    app.add_middleware(Guard, api_key=api_key)
    app.add_exception_handler(Exception, server_error)
    for kind in (ConfigError, RequestError, ValidationError):
        app.add_exception_handler(kind, bad_request)
    app.add_exception_handler(HTTPException, http_error)
    started, threads = int(time.time()), CapacityLimiter(PREPARING_THREADS)

    @app.get("/health")
    async def health() -> dict[str, str]:
        return {"status": "ok"}

    @app.get("/v1/models")
    async def models() -> dict[str, Any]:
        return {"object": "list", "data": [description(name) for name in names]}

    @app.get("/v1/models/{name:path}")
    async def model_by_name(name: str) -> dict[str, Any]:
        return description(served_name(name))

    @app.post("/v1/chat/completions")
    async def chat_completions(request: Request) -> Any:
        return await answer(request, chat_work)

    @app.post("/v1/completions")
    async def completions(request: Request) -> Any:
        return await answer(request, text_work)

    @app.post("/tokenize")
    async def tokenize(request: Request) -> dict[str, Any]:
        return await prepared(request, token_counts)

    def chat_work(body: bytes) -> Work:
        payload = ChatRequest.model_validate_json(body)
        form = ChatFormat(served_name(payload.model))
        return work(form, payload, [chat_ids(payload.messages, payload.tools, payload.chat_template_kwargs)])

    def text_work(body: bytes) -> Work:
        payload = CompletionRequest.model_validate_json(body)
        form = TextFormat(served_name(payload.model))
        is_batch = isinstance(payload.prompt, list) and payload.prompt and isinstance(payload.prompt[0], str | list)
        prompts: Any = payload.prompt if is_batch else [payload.prompt]
        return work(form, payload, [text_ids(prompt) if isinstance(prompt, str) else prompt for prompt in prompts])

    def token_counts(body: bytes) -> dict[str, Any]:
        payload = TokenizeRequest.model_validate_json(body)
        served_name(payload.model)
        if payload.messages is None:
            tokens = text_ids(payload.prompt or "")
        else:
            variables, add_generation_prompt = payload.chat_template_kwargs, payload.add_generation_prompt
            tokens = chat_ids(payload.messages, payload.tools, variables, add_generation_prompt)
        return {"tokens": tokens, "count": len(tokens), "max_model_len": engine.max_model_len}

    def chat_ids(
        messages: list[ChatMessage],
        tools: list[dict[str, Any]] | None,
        variables: dict[str, Any],
        add_generation_prompt: bool = True,
    ) -> list[int]:
        try:
            conversation = [message.for_template() for message in messages]
            require_fitting(character_count(conversation, tools, variables), engine)
            return engine.encode_chat(conversation, tools, add_generation_prompt, **variables)
        except TEMPLATE_FAULTS as error:
            raise RequestError(f"the model's chat template fails on these messages: {error}") from error

    def text_ids(text: str) -> list[int]:
        require_fitting(len(text), engine)
        return engine.encode(text)

    def work(form: ResponseFormat, payload: Generation, prompts: list[list[int]]) -> Work:
        choices = payload.n or 1
        if len(prompts) * choices > MAX_COMPLETIONS:
            raise RequestError(
                f"{len(prompts)} prompts with {choices} answers each: one request may have {MAX_COMPLETIONS} answers"
            )
        jobs = [(ids, engine.resolve(ids, payload.generation(choice))) for ids in prompts for choice in range(choices)]
        with_usage = bool(payload.stream_options and payload.stream_options.include_usage)
        return Work(form, jobs, choices, bool(payload.stream), with_usage)

    async def prepared(request: Request, prepare: Callable[[bytes], T]) -> T:
        """Return `prepare(body)`, computed in a thread: the event loop only moves bytes."""
        body = await read_body(request)
        return await while_connected(request, to_thread.run_sync(prepare, body, limiter=threads))

    async def answer(request: Request, prepare: Callable[[bytes], Work]) -> Any:
        work = await prepared(request, prepare)
        if not work.stream:
            return await while_connected(request, whole_response(engine, work))
        headers = {"Cache-Control": "no-cache"}
        return StreamingResponse(events(engine, work), media_type="text/event-stream", headers=headers)

    def description(name: str) -> dict[str, Any]:
        properties = {"created": started, "owned_by": "martlet", "max_model_len": engine.max_model_len}
        return {"id": name, "object": "model", **properties}

    def served_name(name: str | None) -> str:
        if name is not None and name not in names:
            raise HTTPException(
                404, f"the model '{name[:MAX_SHOWN_CHARACTERS]}' does not exist; this server has: {', '.join(names)}"
            )
        return name or names[0]

    return app
