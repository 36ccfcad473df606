"""The steps of a batch of the built-in engine: what is done before each forward pass, with its logits, and after it."""

import math
import time
from collections.abc import Callable
from typing import Any

import torch
from transformers import LogitsProcessor, StoppingCriteria

from components.inference.requests import Request, RequestQueue

REBATCH_RATIO = 2
"""Waiting time over prefill time from which a new batch pays.

With 16 clients and one long answer in 25, the slowest short answers wait half as long as with whole batches, and with 4
clients a quarter; a queue of equal answers takes up to a fifth longer. 1 costs more there, 4 and 8 win less here.
"""
ASIDE_S = 0.5
"""How long requests are answered aside at least, if they take so long."""

RunAside = Callable[[list[Request]], None]


class AbandonedError(Exception):
    """Nobody waits for the answers of a batch any more."""


class BatchSampler(LogitsProcessor):
    """Applies each request's sampler to its row of the batch; greedy and finished requests are left alone."""

    def __init__(self, batch: list[Request], padding: list[int]):
        self.batch, self.padding = batch, padding

    def __call__(self, input_ids: Any, scores: Any) -> torch.Tensor:
        for i, (request, pad) in enumerate(zip(self.batch, self.padding, strict=True)):
            if request.sampler and not request.finished:
                scores[i : i + 1] = request.sampler(input_ids[i : i + 1, pad:], scores[i : i + 1])
        return scores


class BatchSteps(StoppingCriteria):
    """Hands the new tokens to the requests after every step of `generate`, and ends the call.

    The call ends when all requests are finished, or when a new batch with waiting requests pays: the time they have
    lost waiting for free places has reached REBATCH_RATIO times the time it takes to prefill the unfinished again.

    Until then, requests of a source that has no place are answered aside: before a forward pass, which is a step or a
    chunk of the prompts, `run_aside` generates for them, and takes at most half of the time. A batch that runs aside
    ends after ASIDE_S; while it reads in a long prompt, requests of up to one chunk are answered aside in turn.

    Args:
        batch: the requests of the rows.
        waiting: the queue.
        run_aside: generates for a batch, and lets its unfinished requests wait again.
        chunk_tokens: the most tokens of prompts that one forward pass reads in.
        outer: the steps of the batch that waits while this one runs aside.
    """

    def __init__(
        self,
        batch: list[Request],
        waiting: RequestQueue,
        run_aside: RunAside,
        chunk_tokens: float,
        outer: "BatchSteps | None",
    ):
        self.batch, self.waiting, self.run_aside, self.outer = batch, waiting, run_aside, outer
        self.longest_aside = chunk_tokens if outer else math.inf
        self.serves_aside = not outer or any(len(request) > chunk_tokens for request in batch)
        self.started = self.last_step = self.aside_ended = time.perf_counter()
        self.prefill_s = self.aside_s = 0.0
        self.lost_s = 0.0  # summed over the waiting requests

    def active(self) -> list[Request]:
        """Return the requests of the batch that somebody waits for."""
        return [request for request in self.batch if not (request.finished or request.future.cancelled())]

    def before_pass(self) -> None:
        """Answer others aside, if it is their turn.

        Raises:
            AbandonedError: nobody waits for this batch.
        """
        if self.waiting.closed or not self.active():
            raise AbandonedError
        begun = time.perf_counter()
        if not self.serves_aside or begun - self.aside_ended < self.aside_s:
            return
        if batch := self.waiting.unserved(self._with_outer(), self.longest_aside):
            self.run_aside(batch)
            self.aside_ended = time.perf_counter()
            self.aside_s = self.aside_ended - begun
            self.started, self.last_step = self.started + self.aside_s, self.last_step + self.aside_s

    def __call__(self, input_ids: Any, scores: Any, **_: Any) -> Any:  # noqa: ARG002
        for request, token in zip(self.batch, input_ids[:, -1].tolist(), strict=True):
            if not request.finished:
                request.push(token)
        active = self.active()
        stop = not active or self.waiting.closed or self._new_batch_pays(active)
        return torch.full((len(self.batch),), stop, device=input_ids.device)

    def _new_batch_pays(self, active: list[Request]) -> bool:
        now = time.perf_counter()
        step_s, self.last_step = now - self.last_step, now
        self.prefill_s = self.prefill_s or step_s
        if self.outer:
            return now - self.started > max(ASIDE_S, REBATCH_RATIO * self.prefill_s)
        self.lost_s += step_s * self.waiting.admissible(active)
        return self.lost_s > REBATCH_RATIO * len(active) * self.prefill_s

    def _with_outer(self) -> list[Request]:
        return self.active() + (self.outer._with_outer() if self.outer else [])
