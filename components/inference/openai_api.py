"""OpenAI's API over an engine in this process: models, chat completions, completions, and vLLM's /tokenize, /health."""

import time
from collections.abc import Sequence
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import StreamingResponse
from starlette.exceptions import HTTPException
from starlette.middleware.body_limit import RequestBodyLimitMiddleware

from components.errors import ConfigError
from components.inference.api import LocalEngine, RequestError
from components.inference.guard import MAX_BODY_BYTES, Guard
from components.inference.openai_errors import bad_request, http_error, server_error
from components.inference.openai_responses import ChatFormat, ResponseFormat, TextFormat, events, whole_response
from components.inference.openai_types import ChatRequest, CompletionRequest, Generation, TokenizeRequest


def create_app(engine: LocalEngine, names: Sequence[str], api_key: str | None = None) -> FastAPI:
    """Return the application that serves `engine` as each of `names`.

    With an `api_key`, every path but /health needs the key; without, the host name must be a loopback name.
    """
    app = FastAPI(title="martlet", docs_url=None, redoc_url=None)  # the docs pages load scripts from the internet
    app.add_middleware(RequestBodyLimitMiddleware, max_body_size=MAX_BODY_BYTES)
    app.add_middleware(Guard, api_key=api_key)
    app.add_exception_handler(Exception, server_error)
    for kind in (ConfigError, RequestError, RequestValidationError):
        app.add_exception_handler(kind, bad_request)
    app.add_exception_handler(HTTPException, http_error)
    started = int(time.time())

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
    async def chat_completions(body: ChatRequest, request: Request) -> Any:
        form = ChatFormat(served_name(body.model))
        messages = [message.for_template() for message in body.messages]
        return await answer(form, body, [engine.encode_chat(messages, **body.template_kwargs())], request)

    @app.post("/v1/completions")
    async def completions(body: CompletionRequest, request: Request) -> Any:
        form = TextFormat(served_name(body.model))
        is_batch = isinstance(body.prompt, list) and body.prompt and isinstance(body.prompt[0], str | list)
        prompts: Any = body.prompt if is_batch else [body.prompt]
        ids = [engine.encode(prompt) if isinstance(prompt, str) else prompt for prompt in prompts]
        return await answer(form, body, ids, request)

    @app.post("/tokenize")
    async def tokenize(body: TokenizeRequest) -> dict[str, Any]:
        served_name(body.model)
        if body.messages is None:
            tokens = engine.encode(body.prompt or "")
        else:
            settings = body.chat_template_kwargs.model_dump(exclude_none=True)
            messages = [message.for_template() for message in body.messages]
            tokens = engine.encode_chat(
                messages, tools=body.tools, add_generation_prompt=body.add_generation_prompt, **settings
            )
        return {"tokens": tokens, "count": len(tokens), "max_model_len": engine.max_model_len}

    def description(name: str) -> dict[str, Any]:
        properties = {"created": started, "owned_by": "martlet", "max_model_len": engine.max_model_len}
        return {"id": name, "object": "model", **properties}

    def served_name(name: str | None) -> str:
        if name is not None and name not in names:
            raise HTTPException(404, f"the model '{name}' does not exist; this server has: {', '.join(names)}")
        return name or names[0]

    async def answer(form: ResponseFormat, body: Generation, prompts: list[list[int]], request: Request) -> Any:
        choices = body.n or 1
        jobs = [(ids, engine.resolve(ids, body.generation(choice))) for ids in prompts for choice in range(choices)]
        if not body.stream:
            return await whole_response(engine, form, jobs, choices, request)
        with_usage = bool(body.stream_options and body.stream_options.include_usage)
        return StreamingResponse(
            events(engine, form, jobs, choices, with_usage),
            media_type="text/event-stream",
            headers={"Cache-Control": "no-cache"},
        )

    return app
