"""The OpenAI API over an engine: models, chat completions, completions, and vLLM's /tokenize and /health."""

import asyncio
import contextlib
import json
import logging
import time
import uuid
from collections.abc import AsyncGenerator, AsyncIterator
from concurrent.futures import Future
from functools import partial
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import StreamingResponse
from starlette.exceptions import HTTPException
from starlette.middleware.body_limit import RequestBodyLimitMiddleware

from components.errors import ConfigError
from components.inference.engine import Completion, Engine, GenerationConfig, RequestError
from components.inference.guard import MAX_BODY_BYTES, Guard
from components.inference.openai_errors import bad_request, error_body, http_error, server_error
from components.inference.openai_types import ChatRequest, CompletionRequest, Generation, TokenizeRequest

log = logging.getLogger(__name__)

Job = tuple[list[int], GenerationConfig]


def create_app(engine: Engine, names: list[str], api_key: str | None = None) -> FastAPI:
    """The application that serves `engine` as each of `names`. With an `api_key`, all but /health ask for it."""
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
        return {"object": "list", "data": [model(name) for name in names]}

    @app.get("/v1/models/{name:path}")
    async def model_by_name(name: str) -> dict[str, Any]:
        return model(served(name))

    @app.post("/v1/chat/completions")
    async def chat_completions(body: ChatRequest, request: Request) -> Any:
        name = served(body.model)
        messages = [message.for_template() for message in body.messages]
        return await answer(Chat(name), body, [engine.encode_chat(messages, **body.template_kwargs())], request)

    @app.post("/v1/completions")
    async def completions(body: CompletionRequest, request: Request) -> Any:
        name = served(body.model)
        several = isinstance(body.prompt, list) and body.prompt and isinstance(body.prompt[0], str | list)
        prompts: Any = body.prompt if several else [body.prompt]
        ids = [engine.encode(prompt) if isinstance(prompt, str) else prompt for prompt in prompts]
        return await answer(Text(name), body, ids, request)

    @app.post("/tokenize")
    async def tokenize(body: TokenizeRequest) -> dict[str, Any]:
        served(body.model)
        if body.messages is None:
            tokens = engine.encode(body.prompt or "")
        else:
            settings = body.chat_template_kwargs.model_dump(exclude_none=True)
            messages = [message.for_template() for message in body.messages]
            tokens = engine.encode_chat(
                messages, tools=body.tools, add_generation_prompt=body.add_generation_prompt, **settings
            )
        return {"tokens": tokens, "count": len(tokens), "max_model_len": engine.max_model_len}

    def model(name: str) -> dict[str, Any]:
        facts = {"created": started, "owned_by": "martlet", "max_model_len": engine.max_model_len}
        return {"id": name, "object": "model", **facts}

    def served(name: str | None) -> str:
        if name is not None and name not in names:
            raise HTTPException(404, f"the model '{name}' does not exist; this server has: {', '.join(names)}")
        return name or names[0]

    async def answer(form: Form, body: Generation, prompts: list[list[int]], request: Request) -> Any:
        choices = range(body.n or 1)
        jobs = [(ids, engine.resolve(ids, body.generation(choice))) for ids in prompts for choice in choices]
        if body.stream:
            usage = bool(body.stream_options and body.stream_options.include_usage)
            events = _events(engine, form, jobs, len(choices), usage)
            return StreamingResponse(events, media_type="text/event-stream", headers={"Cache-Control": "no-cache"})
        completions = await _collect(engine, jobs, request)
        return {**form.head(form.whole), "choices": [form.choice(i, c) for i, c in enumerate(completions)],
                "usage": _usage(completions, len(choices))}  # fmt: skip

    return app


class Form:
    """How one endpoint dresses its answers."""

    prefix: str
    whole: str
    chunk: str

    def __init__(self, model: str):
        self.model, self.id, self.created = model, f"{self.prefix}-{uuid.uuid4().hex}", int(time.time())

    def head(self, kind: str) -> dict[str, Any]:
        return {"id": self.id, "object": kind, "created": self.created, "model": self.model}

    def choice(self, index: int, completion: Completion) -> dict[str, Any]:
        raise NotImplementedError

    def piece(self, index: int, text: str | None, finish_reason: str | None = None) -> dict[str, Any]:
        raise NotImplementedError


class Chat(Form):
    prefix, whole, chunk = "chatcmpl", "chat.completion", "chat.completion.chunk"

    def choice(self, index: int, completion: Completion) -> dict[str, Any]:
        message = {"role": "assistant", "content": completion.text}
        return {"index": index, "message": message, "logprobs": None, "finish_reason": completion.finish_reason}

    def piece(self, index: int, text: str | None, finish_reason: str | None = None) -> dict[str, Any]:
        delta = {} if text is None else {"content": text} if text else {"role": "assistant", "content": ""}
        return {"index": index, "delta": delta, "logprobs": None, "finish_reason": finish_reason}


class Text(Form):
    prefix, whole, chunk = "cmpl", "text_completion", "text_completion"

    def choice(self, index: int, completion: Completion) -> dict[str, Any]:
        return self.piece(index, completion.text, completion.finish_reason)

    def piece(self, index: int, text: str | None, finish_reason: str | None = None) -> dict[str, Any]:
        return {"index": index, "text": text or "", "logprobs": None, "finish_reason": finish_reason}


def _usage(completions: list[Completion], choices: int) -> dict[str, int]:
    """Token counts; a prompt with several choices counts once."""
    prompt = sum(completion.prompt_tokens for completion in completions[::choices])
    generated = sum(len(completion.token_ids) for completion in completions)
    return {"prompt_tokens": prompt, "completion_tokens": generated, "total_tokens": prompt + generated}


async def _collect(engine: Engine, jobs: list[Job], request: Request) -> list[Completion]:
    """All completions, in the order of `jobs`. A client that goes away frees its rows."""
    answers = asyncio.gather(*(asyncio.wrap_future(engine.submit(*job)) for job in jobs))
    gone = asyncio.create_task(_disconnected(request))
    try:
        await asyncio.wait({answers, gone}, return_when=asyncio.FIRST_COMPLETED)
        if not answers.done():
            raise HTTPException(499, "the client closed the connection")
        return await answers
    finally:
        gone.cancel()
        answers.cancel()


async def _disconnected(request: Request) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass


async def _events(engine: Engine, form: Form, jobs: list[Job], choices: int, usage: bool) -> AsyncIterator[str]:
    """Server-sent events: pieces as they come, a finish reason per choice, the usage if asked for, [DONE]."""
    if isinstance(form, Chat):
        yield _event({**form.head(form.chunk), "choices": [form.piece(i, "") for i in range(len(jobs))]})
    done: dict[int, Completion] = {}
    pieces = _pieces(engine, jobs)
    try:
        async for index, item in pieces:
            if isinstance(item, str):
                choice = form.piece(index, item)
            else:
                done[index] = item.result()
                choice = form.piece(index, None, done[index].finish_reason)
            yield _event({**form.head(form.chunk), "choices": [choice]})
        if usage:
            counts = _usage([done[index] for index in range(len(jobs))], choices)
            yield _event({**form.head(form.chunk), "choices": [], "usage": counts})
        yield "data: [DONE]\n\n"
    except Exception:  # the status line is out: an error event is what is left
        log.exception("a streamed answer could not be finished")
        yield _event(error_body(500, "the answer could not be finished; the server's log says why"))
    finally:
        await pieces.aclose()


async def _pieces(engine: Engine, jobs: list[Job]) -> AsyncGenerator[tuple[int, str | Future], None]:
    """Yield (index, text) as text comes and (index, finished future) at a job's end; what is ready is joined."""
    loop = asyncio.get_running_loop()
    queue: asyncio.Queue[tuple[int, str | Future]] = asyncio.Queue()

    def put(index: int, item: str | Future) -> None:
        with contextlib.suppress(RuntimeError):  # the loop is closed: nobody listens any more
            loop.call_soon_threadsafe(queue.put_nowait, (index, item))

    futures: list[Future] = []
    try:
        for index, job in enumerate(jobs):
            futures.append(engine.submit(*job, partial(put, index)))
            futures[-1].add_done_callback(partial(put, index))
        open_ = len(jobs)
        while open_:
            ready = [await queue.get()]
            while not queue.empty():
                ready.append(queue.get_nowait())
            for index in range(len(jobs)):
                items = [item for i, item in ready if i == index]
                if text := "".join(item for item in items if isinstance(item, str)):
                    yield index, text
                for item in items:
                    if isinstance(item, Future):
                        open_ -= 1
                        yield index, item
    finally:
        for future in futures:
            future.cancel()


def _event(value: dict[str, Any]) -> str:
    return f"data: {json.dumps(value, ensure_ascii=False, separators=(',', ':'))}\n\n"
