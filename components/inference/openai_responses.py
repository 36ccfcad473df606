"""Responses of OpenAI's API: whole completions, and server-sent events while an answer is generated."""

import asyncio
import contextlib
import logging
import time
import uuid
from collections import deque
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from concurrent.futures import Future
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import orjson

from components.inference.answer_parser import AnswerParser, Delta, message_of
from components.inference.api import Answer, Completion, GenerationConfig, LocalEngine, RequestError, TokenLogprob
from components.inference.openai_errors import error_body

log = logging.getLogger(__name__)

Job = tuple[list[int], GenerationConfig]
"""Token ids of a prompt, and its settings. A prompt with n choices is n jobs in a row."""
LOWEST_LOGPROB = -9999.0
"""What stands for the logarithm of 0, which JSON does not have; OpenAI's value."""


class ResponseFormat:
    """The JSON of one endpoint, with the id and the time of one response."""

    id_prefix: str
    whole: str
    chunk: str

    def __init__(self, model: str, engine: LocalEngine):
        self.model, self.engine = model, engine
        self.id, self.created = f"{self.id_prefix}-{uuid.uuid4().hex}", int(time.time())

    def head(self, kind: str) -> dict[str, Any]:
        return {"id": self.id, "object": kind, "created": self.created, "model": self.model}

    def choice(self, index: int, completion: Completion) -> dict[str, Any]:
        """Return a whole choice."""
        raise NotImplementedError

    def start(self, index: int) -> list[dict[str, Any]]:
        """Return the choices of the first chunk of a streamed answer."""
        raise NotImplementedError

    def pieces(self, index: int, text: str, logprobs: list[TokenLogprob]) -> list[dict[str, Any]]:
        """Return the choices for a piece of a streamed answer, a chunk each; none while it is held back."""
        raise NotImplementedError

    def end(self, index: int, completion: Completion, logprobs: list[TokenLogprob]) -> list[dict[str, Any]]:
        """Return the last choices of a streamed answer."""
        raise NotImplementedError


class ChatFormat(ResponseFormat):
    """Chat completions; `parser` makes what splits an answer into reasoning, content and calls."""

    id_prefix, whole, chunk = "chatcmpl", "chat.completion", "chat.completion.chunk"

    def __init__(self, model: str, engine: LocalEngine, parser: Callable[[], AnswerParser] = AnswerParser):
        super().__init__(model, engine)
        self.parser = parser
        self.parsers: dict[int, AnswerParser] = {}

    def choice(self, index: int, completion: Completion) -> dict[str, Any]:
        parser = self.parser()
        message = message_of([*parser.feed(completion.text), *parser.close()])
        return {
            "index": index,
            "message": message,
            "logprobs": self._logprobs(completion.logprobs),
            "finish_reason": _reason(completion, parser),
        }

    def start(self, index: int) -> list[dict[str, Any]]:
        self.parsers[index] = self.parser()
        return [self._piece(index, {"role": "assistant", "content": ""})]

    def pieces(self, index: int, text: str, logprobs: list[TokenLogprob]) -> list[dict[str, Any]]:
        deltas = self.parsers[index].feed(text)
        return [self._piece(index, delta, logprobs if i == 0 else []) for i, delta in enumerate(deltas)]

    def end(self, index: int, completion: Completion, logprobs: list[TokenLogprob]) -> list[dict[str, Any]]:
        parser = self.parsers[index]
        rest = [self._piece(index, delta) for delta in parser.close()]
        last = self._piece(index, {}, logprobs)
        return [*rest, {**last, "finish_reason": _reason(completion, parser)}]

    def _piece(self, index: int, delta: Delta, logprobs: list[TokenLogprob] | None = None) -> dict[str, Any]:
        return {"index": index, "delta": delta, "logprobs": self._logprobs(logprobs), "finish_reason": None}

    def _logprobs(self, logprobs: list[TokenLogprob] | None) -> dict[str, Any] | None:
        if not logprobs:
            return None
        entries = [
            {**self._token(entry.token_id, entry.logprob), "top_logprobs": [self._token(*pair) for pair in entry.top]}
            for entry in logprobs
        ]
        return {"content": entries, "refusal": None}

    def _token(self, token_id: int, logprob: float) -> dict[str, Any]:
        text = self.engine.decode([token_id])
        code = None if "\ufffd" in text else list(text.encode())
        return {"token": text, "logprob": max(logprob, LOWEST_LOGPROB), "bytes": code}


class TextFormat(ResponseFormat):
    id_prefix, whole, chunk = "cmpl", "text_completion", "text_completion"

    def __init__(self, model: str, engine: LocalEngine):
        super().__init__(model, engine)
        self.offsets: dict[int, int] = {}

    def choice(self, index: int, completion: Completion) -> dict[str, Any]:
        return self._choice(index, completion.text, completion.logprobs, completion.finish_reason)

    def start(self, index: int) -> list[dict[str, Any]]:  # noqa: ARG002
        return []

    def pieces(self, index: int, text: str, logprobs: list[TokenLogprob]) -> list[dict[str, Any]]:
        return [self._choice(index, text, logprobs)]

    def end(self, index: int, completion: Completion, logprobs: list[TokenLogprob]) -> list[dict[str, Any]]:
        return [self._choice(index, "", logprobs, completion.finish_reason)]

    def _choice(
        self, index: int, text: str, logprobs: list[TokenLogprob], finish_reason: str | None = None
    ) -> dict[str, Any]:
        return {
            "index": index,
            "text": text,
            "logprobs": self._logprobs(index, logprobs) if logprobs else None,
            "finish_reason": finish_reason,
        }

    def _logprobs(self, index: int, logprobs: list[TokenLogprob]) -> dict[str, Any]:
        tokens = [self.engine.decode([entry.token_id]) for entry in logprobs]
        offsets = []
        for token in tokens:
            offsets.append(self.offsets.setdefault(index, 0))
            self.offsets[index] += len(token)
        top = [{self.engine.decode([i]): max(value, LOWEST_LOGPROB) for i, value in entry.top} for entry in logprobs]
        return {
            "tokens": tokens,
            "token_logprobs": [max(entry.logprob, LOWEST_LOGPROB) for entry in logprobs],
            "top_logprobs": top,
            "text_offset": offsets,
        }


def _reason(completion: Completion, parser: AnswerParser) -> str:
    return "tool_calls" if parser.call_count and completion.finish_reason == "stop" else completion.finish_reason


@dataclass(frozen=True, eq=False)
class Work:
    """What one request asks of an engine. `usage` is filled in when the answer is complete."""

    engine: LocalEngine
    form: ResponseFormat
    jobs: list[Job]
    choices_per_prompt: int
    stream: bool
    with_usage: bool
    usage: dict[str, Any] = field(default_factory=dict)

    def count(self, completions: list[Completion]) -> dict[str, Any]:
        """Return the token counts; a prompt with several choices counts once."""
        prompts = completions[:: self.choices_per_prompt]
        prompt, cached = (sum(getattr(c, name) for c in prompts) for name in ("prompt_tokens", "cached_tokens"))
        generated = sum(len(completion.token_ids) for completion in completions)
        self.usage.update(prompt_tokens=prompt, completion_tokens=generated, total_tokens=prompt + generated)
        self.usage["prompt_tokens_details"] = {"cached_tokens": cached}
        return self.usage


async def whole_response(work: Work) -> dict[str, Any]:
    """Return the response with all choices in the order of the jobs. Cancelling it frees their places."""
    futures = [work.engine.submit(*job, source=work) for job in work.jobs]
    try:
        completions = await asyncio.gather(*map(asyncio.wrap_future, futures))
    finally:
        for future in futures:
            future.cancel()
    choices = [work.form.choice(index, completion) for index, completion in enumerate(completions)]
    return {**work.form.head(work.form.whole), "choices": choices, "usage": work.count(completions)}


async def events(work: Work, timeout_s: float | None = None) -> AsyncIterator[bytes]:
    """Yield server-sent events: pieces of text, a finish reason per choice, the usage if requested, [DONE].

    An answer that takes longer than `timeout_s` ends with an error, as one that fails.
    """
    form = work.form
    completions: dict[int, Completion] = {}
    pieces = _pieces(work)
    head = form.head(form.chunk)
    try:
        for index in range(len(work.jobs)):
            for choice in form.start(index):
                yield _event({**head, "choices": [choice]})
        async with asyncio.timeout(timeout_s):
            async for index, text, logprobs, future in pieces:
                choices = form.pieces(index, text, logprobs) if text else []
                if future:
                    completions[index] = future.result()
                    choices += form.end(index, completions[index], [] if text else logprobs)
                for choice in choices:
                    yield _event({**head, "choices": [choice]})
        usage = work.count([completions[index] for index in range(len(work.jobs))])
        if work.with_usage:
            yield _event({**head, "choices": [], "usage": usage})
        yield b"data: [DONE]\n\n"
    except asyncio.CancelledError:
        raise
    except TimeoutError:
        yield _event(error_body(504, f"the answer took longer than {timeout_s:g} s"))
    except RequestError as error:
        yield _event(error_body(400, str(error), code=error.code))
    except Exception:
        log.exception("an answer could not be finished")
        yield _event(error_body(500, "the answer could not be finished; the server's log says why"))
    finally:
        await pieces.aclose()


class _Mailbox:
    """Carries what the engine's thread has to say to the event loop, with one wake-up for all that has arrived."""

    def __init__(self) -> None:
        self.loop, self.arrived, self.is_due = asyncio.get_running_loop(), deque[tuple[Any, Any]](), False

    def put(self, queue: "asyncio.Queue[Any]", item: Any) -> None:
        self.arrived.append((queue, item))
        if not self.is_due:
            self.is_due = True
            with contextlib.suppress(RuntimeError):  # the loop is closed, so nobody reads the queue
                self.loop.call_soon_threadsafe(self._deliver)

    def _deliver(self) -> None:
        self.is_due = False
        while self.arrived:
            queue, item = self.arrived.popleft()
            queue.put_nowait(item)


_mailboxes: dict[int, _Mailbox] = {}


def _mailbox() -> _Mailbox:
    """Return the mailbox of the running event loop."""
    loop = asyncio.get_running_loop()
    box = _mailboxes.get(id(loop))
    if box is None or box.loop is not loop:
        box = _mailboxes[id(loop)] = _Mailbox()
    return box


Piece = tuple[int, str, list[TokenLogprob], Future | None]
"""Job number, the text that has arrived since the last piece, log probabilities, and at the end the finished future."""


async def _pieces(work: Work) -> AsyncGenerator[Piece, None]:
    """Yield the pieces of all jobs as they arrive. A client that reads slowly gets fewer and longer ones."""
    box, queue = _mailbox(), asyncio.Queue[tuple[int, str | Future]]()

    def put(index: int, piece: str | Future) -> None:
        box.put(queue, (index, piece))

    futures: list[Answer] = []
    sent = [0] * len(work.jobs)
    try:
        for index, job in enumerate(work.jobs):
            futures.append(work.engine.submit(*job, partial(put, index), work))
            futures[-1].add_done_callback(partial(put, index))
        unfinished = len(work.jobs)
        while unfinished:
            texts: dict[int, list[str]] = {}
            finished: dict[int, Future] = {}
            arrived = [await queue.get()]
            while not queue.empty():
                arrived.append(queue.get_nowait())
            for index, piece in arrived:
                if isinstance(piece, str):
                    texts.setdefault(index, []).append(piece)
                else:
                    texts.setdefault(index, [])
                    finished[index] = piece
            unfinished -= len(finished)
            for index, parts in texts.items():
                logprobs = futures[index].logprobs[sent[index] :]
                sent[index] += len(logprobs)
                yield index, "".join(parts), logprobs, finished.get(index)
    finally:
        for future in futures:
            future.cancel()


def _event(value: dict[str, Any]) -> bytes:
    return b"data: " + orjson.dumps(value) + b"\n\n"
