"""Requests of the built-in engine: the queue in front of the batch, their sampling, and the work after each step."""

import threading
import time
from collections import deque
from concurrent.futures import Future, InvalidStateError
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, Literal

import torch
from transformers import LogitsProcessor, StoppingCriteria

from components.errors import MartletError
from components.inference.api import Completion, GenerationConfig
from components.inference.detokenize import TextStream
from components.inference.sampling import Sampler

REBATCH_RATIO = 2
"""Waiting time over prefill time from which a new batch pays.

With 16 clients and one long answer in 25, the slowest short answers wait half as long as with whole batches, and with 4
clients a quarter; a queue of equal answers takes up to a fifth longer. 1 costs more there, 4 and 8 win less here.
"""


@dataclass(eq=False)
class Request:
    """One request: the prompt, the tokens generated so far, and the future of its completion."""

    prompt: list[int]
    generation: GenerationConfig
    stream: TextStream
    sampler: Sampler | None
    eos: frozenset[int]
    future: Future
    generated: list[int] = field(default_factory=list)
    finished: bool = False

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
        self._waiting: deque[Request] = deque()
        self._changed = threading.Condition()

    def __len__(self) -> int:
        return len(self._waiting)

    def put(self, request: Request) -> None:
        with self._changed:
            if self.closed:
                raise MartletError("the engine is closed")
            self._waiting.append(request)
            self._changed.notify()

    def next_batch(self, unfinished: list[Request]) -> list[Request]:
        """Return the unfinished and as many waiting requests as a batch holds; block while there is none of either."""
        batch = list(unfinished)
        with self._changed:
            while not (batch or self._waiting or self.closed):
                self._changed.wait()
            while self._waiting and len(batch) < self.max_batch_size:
                batch.append(self._waiting.popleft())
        return [request for request in batch if not request.future.cancelled()]

    def close(self) -> None:
        """Refuse further requests and cancel the waiting ones."""
        with self._changed:
            self.closed = True
            for request in self._waiting:
                request.future.cancel()
            self._waiting.clear()
            self._changed.notify()


class BatchSampler(LogitsProcessor):
    """Applies each request's sampler to its row of the batch; greedy and finished requests are left alone."""

    def __init__(self, batch: list[Request], padding: list[int]):
        self.batch, self.padding = batch, padding

    def __call__(self, input_ids: Any, scores: Any) -> torch.Tensor:
        for i, (request, pad) in enumerate(zip(self.batch, self.padding, strict=True)):
            if request.sampler and not request.finished:
                scores[i : i + 1] = request.sampler(input_ids[i : i + 1, pad:], scores[i : i + 1])
        return scores


class AfterEachStep(StoppingCriteria):
    """Hands the new tokens to the requests after every step of `generate`, and ends the call.

    The call ends when all requests are finished, or when a new batch with waiting requests pays: the time they have
    lost waiting for free places has reached REBATCH_RATIO times the time it takes to prefill the unfinished again.
    """

    def __init__(self, batch: list[Request], waiting: RequestQueue):
        self.batch, self.waiting = batch, waiting
        self.last_step = time.perf_counter()
        self.prefill_s = 0.0
        self.lost_s = 0.0  # summed over the waiting requests

    def __call__(self, input_ids: Any, scores: Any, **_: Any) -> Any:  # noqa: ARG002
        for request, token in zip(self.batch, input_ids[:, -1].tolist(), strict=True):
            if not request.finished:
                request.push(token)
        active = sum(not request.finished for request in self.batch)
        stop = active == 0 or self.waiting.closed or self._new_batch_pays(active)
        return torch.full((len(self.batch),), stop, device=input_ids.device)

    def _new_batch_pays(self, active: int) -> bool:
        now = time.perf_counter()
        step_s, self.last_step = now - self.last_step, now
        self.prefill_s = self.prefill_s or step_s
        self.lost_s += step_s * min(len(self.waiting), self.waiting.max_batch_size - active)
        return self.lost_s > REBATCH_RATIO * active * self.prefill_s
