"""Responses of OpenAI's API: whole completions, and server-sent events while an answer is generated."""

import asyncio
import contextlib
import json
import logging
import time
import uuid
from collections.abc import AsyncGenerator, AsyncIterator
from concurrent.futures import Future
from dataclasses import dataclass
from functools import partial
from typing import Any

from components.inference.api import Completion, GenerationConfig, LocalEngine
from components.inference.openai_errors import error_body

log = logging.getLogger(__name__)

Job = tuple[list[int], GenerationConfig]
"""Token ids of a prompt, and its settings. A prompt with n choices is n jobs in a row."""


class ResponseFormat:
    """The JSON of one endpoint, with the id and the time of one response."""

    id_prefix: str
    whole: str
    chunk: str

    def __init__(self, model: str):
        self.model, self.id, self.created = model, f"{self.id_prefix}-{uuid.uuid4().hex}", int(time.time())

    def head(self, kind: str) -> dict[str, Any]:
        return {"id": self.id, "object": kind, "created": self.created, "model": self.model}

    def choice(self, index: int, completion: Completion) -> dict[str, Any]:
        """Return a whole choice."""
        raise NotImplementedError

    def piece(self, index: int, text: str | None, finish_reason: str | None = None) -> dict[str, Any]:
        """Return a piece of a streamed choice: "" for its start, None for its end."""
        raise NotImplementedError


class ChatFormat(ResponseFormat):
    id_prefix, whole, chunk = "chatcmpl", "chat.completion", "chat.completion.chunk"

    def choice(self, index: int, completion: Completion) -> dict[str, Any]:
        message = {"role": "assistant", "content": completion.text}
        return {"index": index, "message": message, "logprobs": None, "finish_reason": completion.finish_reason}

    def piece(self, index: int, text: str | None, finish_reason: str | None = None) -> dict[str, Any]:
        delta = {} if text is None else {"content": text} if text else {"role": "assistant", "content": ""}
        return {"index": index, "delta": delta, "logprobs": None, "finish_reason": finish_reason}


class TextFormat(ResponseFormat):
    id_prefix, whole, chunk = "cmpl", "text_completion", "text_completion"

    def choice(self, index: int, completion: Completion) -> dict[str, Any]:
        return self.piece(index, completion.text, completion.finish_reason)

    def piece(self, index: int, text: str | None, finish_reason: str | None = None) -> dict[str, Any]:
        return {"index": index, "text": text or "", "logprobs": None, "finish_reason": finish_reason}


@dataclass(frozen=True, eq=False)
class Work:
    """What one request asks of the engine."""

    form: ResponseFormat
    jobs: list[Job]
    choices_per_prompt: int
    stream: bool
    with_usage: bool


def _usage(completions: list[Completion], choices_per_prompt: int) -> dict[str, int]:
    """Return the token counts; a prompt with several choices counts once."""
    prompt = sum(completion.prompt_tokens for completion in completions[::choices_per_prompt])
    generated = sum(len(completion.token_ids) for completion in completions)
    return {"prompt_tokens": prompt, "completion_tokens": generated, "total_tokens": prompt + generated}


async def whole_response(engine: LocalEngine, work: Work) -> dict[str, Any]:
    """Return the response with all choices in the order of the jobs. Cancelling it frees their places."""
    futures = [engine.submit(*job, source=work) for job in work.jobs]
    try:
        completions = await asyncio.gather(*map(asyncio.wrap_future, futures))
    finally:
        for future in futures:
            future.cancel()
    choices = [work.form.choice(index, completion) for index, completion in enumerate(completions)]
    usage = _usage(completions, work.choices_per_prompt)
    return {**work.form.head(work.form.whole), "choices": choices, "usage": usage}


async def events(engine: LocalEngine, work: Work) -> AsyncIterator[str]:
    """Yield server-sent events: pieces of text, a finish reason per choice, the usage if requested, [DONE]."""
    form, jobs = work.form, work.jobs
    if isinstance(form, ChatFormat):
        yield _event({**form.head(form.chunk), "choices": [form.piece(i, "") for i in range(len(jobs))]})
    completions: dict[int, Completion] = {}
    pieces = _pieces(engine, work)
    try:
        async for index, piece in pieces:
            if isinstance(piece, str):
                choice = form.piece(index, piece)
            else:
                completions[index] = piece.result()
                choice = form.piece(index, None, completions[index].finish_reason)
            yield _event({**form.head(form.chunk), "choices": [choice]})
        if work.with_usage:
            usage = _usage([completions[index] for index in range(len(jobs))], work.choices_per_prompt)
            yield _event({**form.head(form.chunk), "choices": [], "usage": usage})
        yield "data: [DONE]\n\n"
    except Exception:  # the status line is sent already, so the error is an event
        log.exception("a streamed answer could not be finished")
        yield _event(error_body(500, "the answer could not be finished; the server's log says why"))
    finally:
        await pieces.aclose()


async def _pieces(engine: LocalEngine, work: Work) -> AsyncGenerator[tuple[int, str | Future], None]:
    """Yield (job number, text) as text arrives, joined per job, and (job number, finished future) at a job's end."""
    loop = asyncio.get_running_loop()
    queue: asyncio.Queue[tuple[int, str | Future]] = asyncio.Queue()

    def put(index: int, piece: str | Future) -> None:
        with contextlib.suppress(RuntimeError):  # the loop is closed, so nobody reads the queue
            loop.call_soon_threadsafe(queue.put_nowait, (index, piece))

    futures: list[Future] = []
    try:
        for index, job in enumerate(work.jobs):
            futures.append(engine.submit(*job, partial(put, index), work))
            futures[-1].add_done_callback(partial(put, index))
        unfinished = len(work.jobs)
        while unfinished:
            arrived = [await queue.get()]
            while not queue.empty():
                arrived.append(queue.get_nowait())
            for index in range(len(work.jobs)):
                pieces = [piece for i, piece in arrived if i == index]
                if text := "".join(piece for piece in pieces if isinstance(piece, str)):
                    yield index, text
                for piece in pieces:
                    if isinstance(piece, Future):
                        unfinished -= 1
                        yield index, piece
    finally:
        for future in futures:
            future.cancel()


def _event(value: dict[str, Any]) -> str:
    return f"data: {json.dumps(value, ensure_ascii=False, separators=(',', ':'))}\n\n"
