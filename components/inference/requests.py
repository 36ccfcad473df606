"""Requests of the built-in engine, and the queue in front of the batch."""

import threading
import time
from collections import Counter
from concurrent.futures import Future, InvalidStateError
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Literal

from components.errors import MartletError
from components.inference.api import Completion, GenerationConfig
from components.inference.detokenize import TextStream
from components.inference.sampling import Sampler

MAX_BATCH_TOKENS = 8192
"""Tokens, padding included, with which a batch of several requests begins: bounds the memory and time of a prefill."""
ASIDE_AFTER_S = 0.2
"""How long a request waits for a place before it is answered aside."""


@dataclass(eq=False)
class Request:
    """One request: the prompt, the tokens generated so far, the future of its completion, and who asked."""

    prompt: list[int]
    generation: GenerationConfig
    stream: TextStream
    sampler: Sampler | None
    eos: frozenset[int]
    future: Future
    source: object
    queued_at: float = field(default_factory=time.perf_counter)
    generated: list[int] = field(default_factory=list)
    finished: bool = False

    def __len__(self) -> int:
        return len(self.prompt) + len(self.generated)

    @property
    def remaining_tokens(self) -> int:
        return (self.generation.max_new_tokens or 0) - len(self.generated)

    def push(self, token: int) -> None:
        """Add one generated token; finish at an end token, a stop word, the limit, or when the future is cancelled."""
        if self.future.cancelled():
            self.finished = True
            return
        self.generated.append(token)
        if token in self.eos or self.stream.push(token):
            self._complete("stop")
        elif self.remaining_tokens <= 0:
            self._complete("length")

    def _complete(self, reason: Literal["stop", "length"]) -> None:
        self.finished = True
        text = self.stream.close()
        with suppress(InvalidStateError):  # cancelled in the meantime
            self.future.set_result(Completion(text, self.generated, len(self.prompt), reason))

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
        self._changed = threading.Condition()

    def put(self, request: Request) -> None:
        with self._changed:
            if self.closed:
                raise MartletError("the engine is closed")
            self._waiting.append(request)
            self._changed.notify()

    def next_batch(self, unfinished: list[Request]) -> list[Request]:
        """Return the unfinished and as many waiting requests as a batch holds; block while there is none of either."""
        with self._changed:
            while not (unfinished or self._waiting or self.closed):
                self._changed.wait()
            return self._take([request for request in unfinished if not request.future.cancelled()], self._waiting)

    def unserved(self, active: list[Request], longest: float) -> list[Request]:
        """Return the requests of up to `longest` tokens that have waited for ASIDE_AFTER_S while their source has no
        place among `active`."""
        served, latest = {request.source for request in active}, time.perf_counter() - ASIDE_AFTER_S
        with self._changed:
            late = [r for r in self._waiting if r.queued_at < latest and r.source not in served and len(r) <= longest]
            return self._take([], late)

    def admissible(self, active: list[Request]) -> int:
        """Return how many of the waiting requests a new batch with the `active` ones would take."""
        free = self.max_batch_size - len(active)
        return min(len(self._waiting), free) if free and _fits(active, 1) else 0

    def _take(self, batch: list[Request], waiting: list[Request]) -> list[Request]:
        """Move requests from `waiting` to the batch while there is room. Sources take turns: the first request of each,
        then the second of each, …"""
        places = Counter(request.source for request in batch)
        turns: list[tuple[int, Request]] = []
        for request in waiting:
            if not request.future.cancelled():
                turns.append((places[request.source], request))
                places[request.source] += 1
        for _, request in sorted(turns, key=lambda turn: turn[0]):
            if len(batch) == self.max_batch_size or not _fits([*batch, request]):
                break
            batch.append(request)
        taken = {id(request) for request in batch}
        self._waiting = [r for r in self._waiting if id(r) not in taken and not r.future.cancelled()]
        return batch

    def put_back(self, unfinished: list[Request]) -> None:
        """Let requests wait again, behind those that wait already."""
        with self._changed:
            self._waiting += unfinished
            if self.closed:
                self._cancel_all()

    def close(self) -> None:
        """Refuse further requests and cancel the waiting ones."""
        with self._changed:
            self.closed = True
            self._cancel_all()
            self._changed.notify()

    def _cancel_all(self) -> None:
        for request in self._waiting:
            request.future.cancel()
        self._waiting.clear()


def _fits(batch: list[Request], more: int = 0) -> bool:
    """Return whether a batch, with `more` requests of no greater length, may be begun; a single request always may."""
    count = len(batch) + more
    return count == 1 or count * max(map(len, batch)) <= MAX_BATCH_TOKENS
