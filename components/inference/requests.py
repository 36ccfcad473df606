"""Requests of the built-in engine, and the queue in front of the batch."""

import threading
import time
from collections import Counter
from collections.abc import Callable, Container
from concurrent.futures import InvalidStateError
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, Literal

from components.errors import MartletError
from components.inference.api import Answer, Completion, GenerationConfig, TokenLogprob
from components.inference.detokenize import TextStream
from components.inference.sampling import Sampler

WAITING_S = 0.2
"""How long a request of a client without a place waits before another gives its place up."""


@dataclass(eq=False)
class Request:
    """One request: the model, the prompt, the tokens generated so far, the future of the completion, and who asked."""

    model: Any
    prompt: list[int]
    generation: GenerationConfig
    stream: TextStream
    sampler: Sampler | None
    eos: frozenset[int]
    future: Answer
    source: object
    slot: int = 0  # of the cache, in a SlotWorker
    placed_at: float = 0.0
    cached_tokens: int = 0  # of the prompt, when the request got its first place
    distribution: Any = None  # log probabilities [vocabulary] of the next token, where they are asked for
    queued_at: float = field(default_factory=time.perf_counter)
    generated: list[int] = field(default_factory=list)
    finished: bool = False

    def __len__(self) -> int:
        return len(self.prompt) + len(self.generated)

    @property
    def remaining_tokens(self) -> int:
        return (self.generation.max_new_tokens or 0) - len(self.generated)

    def tokens_from(self, start: int, count: int) -> list[int]:
        """Return up to `count` tokens of prompt and answer, from position `start` on."""
        size = len(self.prompt)
        if start >= size:
            return self.generated[start - size : start - size + count]
        return [*self.prompt[start : start + count], *self.generated[: max(0, start + count - size)]]

    def push(self, token: int) -> None:
        """Add one generated token; finish at an end token, a stop word, the limit, or when the future is cancelled."""
        if self.finished or self.future.cancelled():
            self.finished = True
            return
        self.generated.append(token)
        if self.sampler and self.sampler.matcher:
            self.sampler.matcher.accept(token)
        if self.generation.logprobs is not None and token not in self.eos:
            values, ids = self.distribution.topk(self.generation.logprobs)
            top = list(zip(ids.tolist(), values.tolist(), strict=True))
            self.future.logprobs.append(TokenLogprob(token, self.distribution[token].item(), top))
        if token in self.eos or self.stream.push(token):
            self._complete("stop")
        elif self.remaining_tokens <= 0:
            self._complete("length")

    def _complete(self, reason: Literal["stop", "length"]) -> None:
        self.finished = True
        logprobs = self.future.logprobs
        answer = self.stream.close(), self.generated, len(self.prompt), reason, self.cached_tokens, logprobs
        with suppress(InvalidStateError):  # cancelled in the meantime
            self.future.set_result(Completion(*answer))

    def fail(self, error: BaseException) -> None:
        self.finished = True
        with suppress(InvalidStateError):
            self.future.set_exception(error)


class RequestQueue:
    """Requests that wait for a place in the batch. Any thread puts requests in; the engine's thread takes them out."""

    def __init__(self, max_batch_size: int):
        self.max_batch_size = max_batch_size
        self.closed = False
        self._waiting: list[Request] = []
        self._placed_count = 0
        self._changed = threading.Condition()
        self._is_idle = threading.Event()

    def put(self, *requests: Request) -> None:
        with self._changed:
            if self.closed:
                raise MartletError("the engine is closed")
            self._waiting += requests
            self._is_idle.clear()
            self._changed.notify()

    def take(self, placed: list[Request], fits: Callable[[list[Request]], bool] = lambda _: True) -> list[Request]:
        """Return the waiting requests that join those that have a place; block while there is none of either.

        Sources take turns: the first request of each, then the second of each, … The first that does not `fit`, with
        `placed` and those before it, ends the list.
        """
        with self._changed:
            self._placed_count = len(placed)
            while not (placed or self._waiting or self.closed):
                self._is_idle.set()
                self._changed.wait()
            self._waiting = [request for request in self._waiting if not request.future.cancelled()]
            places = Counter(request.source for request in placed)
            turns: list[tuple[int, Request]] = []
            for request in self._waiting:
                turns.append((places[request.source], request))
                places[request.source] += 1
            batch = list(placed)
            for _, request in sorted(turns, key=lambda turn: turn[0]):
                if len(batch) == self.max_batch_size or not fits([*batch, request]):
                    break
                batch.append(request)
            joining = batch[len(placed) :]
            self._placed_count = len(batch)
            self._waiting = [request for request in self._waiting if request not in joining]
            return joining

    def wait_idle(self) -> None:
        """Wait until nothing is computed and nothing waits."""
        self._is_idle.wait()

    def has_waited(self, sources: Container[object]) -> bool:
        """Return whether a request of none of `sources` has waited for WAITING_S."""
        latest = time.perf_counter() - WAITING_S
        with self._changed:
            return any(r.queued_at < latest and r.source not in sources for r in self._waiting)

    def load(self) -> tuple[int, int]:
        """Return how many requests had a place when the last were taken, and how many wait."""
        return self._placed_count, len(self._waiting)

    def put_back(self, unfinished: list[Request]) -> None:
        """Let requests wait again, behind those that wait already."""
        with self._changed:
            for request in unfinished:
                request.queued_at = time.perf_counter()
            self._waiting += unfinished
            if self.closed:
                self._cancel_all()

    def close(self) -> None:
        """Refuse further requests and cancel the waiting ones."""
        with self._changed:
            self.closed = True
            self._cancel_all()
            self._changed.notify()

    def fail(self, error: Exception) -> None:
        """Refuse further requests, and let the waiting ones fail with `error`."""
        with self._changed:
            self.closed = True
            for request in self._waiting:
                request.fail(error)
            self._waiting.clear()

    def _cancel_all(self) -> None:
        for request in self._waiting:
            request.future.cancel()
        self._waiting.clear()
