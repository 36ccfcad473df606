"""The scheduler of the built-in engine for models whose layers are all attention: one forward pass computes the next
token of every active sequence, and prompts are read in between two of these passes.

Each round takes waiting requests into free slots, reads in one part of their prompts, and computes one token for every
active sequence. What a slot holds already of a prompt is not computed again: the system prompt that many requests begin
with, the earlier turns of a conversation, a request that had to give its place up for a while.
"""

import itertools
import time
from collections import Counter
from typing import Any

import torch

from components.inference.api import RequestError
from components.inference.requests import Request, RequestQueue
from components.inference.slots import MIN_REUSED_TOKENS, Slot, SlotModel, rounded, shared_length

TURN_S = 0.5
"""How long a request keeps its place at least while others wait for one."""


class SlotWorker:
    """Advances the requests of a queue, in the thread that calls `run`.

    Args:
        model: what computes the tokens.
        queue: the waiting requests.
        chunk_tokens: most tokens of prompts, padding included, that are read in between two tokens of the active.
    """

    def __init__(self, model: SlotModel, queue: RequestQueue, chunk_tokens: int):
        self.model, self.queue, self.chunk_tokens = model, queue, chunk_tokens
        self.slots: list[Slot] = []
        self.active: list[Request] = []  # the owners of the first slots, in order
        self.reading: list[Request] = []
        self._rounds = itertools.count(1)

    @torch.inference_mode()
    def run(self) -> None:
        """Work until the queue is closed; requests that are not finished then are cancelled."""
        try:
            while not self.queue.closed:
                self.round()
        finally:
            for request in (*self.active, *self.reading):
                request.future.cancel()

    def round(self) -> None:
        """Compute one token for every active request, after one part of the prompts that are being read in."""
        for request in [r for r in (*self.active, *self.reading) if r.future.cancelled()]:
            self._release(request)
        self._rotate()
        for request in self.queue.take([*self.active, *self.reading], self._fits):
            self._place(request)
        self._keep_to_budget()
        if self.reading:
            self._compute(self._part())
        for model in {id(request.model): request.model for request in self.active}.values():
            self._compute([request for request in self.active if request.model is model])

    def _part(self) -> list[Request]:
        """Return the requests whose prompts are read in next: the first in line, and others of its model that fit
        beside it. The first goes to the end of the line, so that a long prompt does not hold up short ones."""
        first, *others = self.reading
        self.reading = [*others, first]
        part, longest = [first], min(self._remaining(first), self.chunk_tokens)
        for request in others:
            longest = max(longest, self._remaining(request))
            if request.model is first.model and longest * (len(part) + 1) <= self.chunk_tokens:
                part.append(request)
            else:
                longest = max(min(self._remaining(r), self.chunk_tokens) for r in part)
        return part

    def _remaining(self, request: Request) -> int:
        return len(request) - len(self.slots[request.slot].tokens)

    def _compute(self, requests: list[Request]) -> None:
        """Compute the next part of each request, and its next token where its last token is among that part."""
        requests = sorted(requests, key=lambda request: request.slot)
        slots = [self.slots[request.slot] for request in requests]
        starts = [len(slot.tokens) for slot in slots]
        parts = [r.tokens_from(start, self.chunk_tokens) for r, start in zip(requests, starts, strict=True)]
        try:
            logits = self.model.logits(requests[0].model, [request.slot for request in requests], parts, starts)
            for slot, part in zip(slots, parts, strict=True):
                slot.tokens += part
            rows = [i for i, request in enumerate(requests) if not self._remaining(request)]
            tokens = next_tokens(logits if len(rows) == len(requests) else logits[rows], [requests[i] for i in rows])
        except Exception as error:
            for request in requests:
                request.fail(error)
                self._release(request, is_stored=False)
            return
        for i, token in zip(rows, tokens, strict=True):
            requests[i].push(token)
        for request in (requests[i] for i in rows):
            if request.finished:
                self._release(request)
            elif request in self.reading:
                self._start(request)

    def _place(self, request: Request) -> None:
        """Give a request a slot that begins as its tokens do, or one into which such a beginning is copied."""
        tokens = request.tokens_from(0, len(request))
        target = self._free_slot(request.model, tokens)
        shared = [shared_length(s.tokens, tokens) if s.model is request.model else 0 for s in self.slots]
        donor = max(range(len(shared)), key=shared.__getitem__)
        reused = min(shared[target], len(tokens) - 1)
        if shared[donor] >= shared[target] + MIN_REUSED_TOKENS:
            reused = min(shared[donor], len(tokens) - 1)
            self.model.cache.reserve(len(self.slots), reused)
            self.model.cache.copy(donor, target, reused)
        self.slots[target] = Slot(tokens[:reused], request.model, request, next(self._rounds))
        if not request.generated:
            request.cached_tokens = reused
        request.slot, request.placed_at = target, time.perf_counter()
        self.reading.append(request)

    def _free_slot(self, model: Any, tokens: list[int]) -> int:
        """Return the free slot whose tokens go on with `tokens`, a new one, or the one that was taken longest ago."""
        free = [i for i, slot in enumerate(self.slots) if slot.owner is None]
        continued = [i for i in free if self.slots[i].model is model and _begins(self.slots[i].tokens, tokens)]
        if continued:
            return max(continued, key=lambda i: len(self.slots[i].tokens))
        if not free or len(self.slots) < min(2 * self.queue.max_batch_size, self._affordable()):
            self.slots.append(Slot())
            return len(self.slots) - 1
        return min(free, key=lambda i: self.slots[i].used)

    def _fits(self, requests: list[Request]) -> bool:
        """Return whether the memory for the cache holds the next step of these requests; a single one always may."""
        return len(requests) <= 1 or len(requests) * _capacity(requests) <= self.model.cache.budget

    def _affordable(self) -> int:
        """Return how many slots of the present capacity the memory for the cache holds."""
        return self.model.cache.budget // max(1, self.model.cache.capacity)

    def _keep_to_budget(self) -> None:
        """Let the newest requests wait again while all that have a place need more memory than the cache may take; drop
        what free slots hold where that makes room."""
        cache, owners = self.model.cache, [*self.active, *self.reading]
        owners.sort(key=lambda request: request.placed_at)
        while not self._fits(owners):
            newest = owners.pop()
            self._release(newest, is_stored=False)
            self.queue.put_back([newest])
        needed = _capacity(owners)
        is_cheap = cache.capacity >= needed and len(self.slots) <= self._affordable()
        if is_cheap or (len(owners) == 1 and cache.size == 1):
            return
        capacity = cache.capacity if needed <= cache.capacity <= cache.budget // max(1, len(owners)) else needed
        slot_limit = max(1, len(owners), cache.budget // max(1, capacity))
        if max(len(self.slots), cache.size) <= slot_limit and capacity >= cache.capacity:
            return  # the cache grows where it is written
        for request in self.reading:
            free = (i for i, slot in enumerate(self.slots) if slot.owner is None)
            if (index := next(free, request.slot)) < request.slot:
                self._exchange(request.slot, index)
        del self.slots[slot_limit:]
        for slot in self.slots:
            slot.tokens = slot.tokens[:capacity]
        cache.resize(min(cache.size, slot_limit), capacity)

    def _start(self, request: Request) -> None:
        """Move a request that has its first token behind the active ones."""
        self.reading.remove(request)
        self._exchange(request.slot, len(self.active))
        self.active.append(request)

    def _release(self, request: Request, is_stored: bool = True) -> None:
        """Take a request out of its slot, which keeps its tokens if `is_stored`."""
        if request in self.reading:
            self.reading.remove(request)
            slot = self.slots[request.slot]
        else:
            last = len(self.active) - 1
            position = request.slot
            self._exchange(position, last)
            self.active[position] = self.active[last]
            self.active.pop()
            slot = self.slots[last]
        slot.owner = None
        if not is_stored:
            slot.tokens = []

    def _exchange(self, first: int, second: int) -> None:
        if first == second:
            return
        a, b = self.slots[first], self.slots[second]
        if tokens := max(len(a.tokens), len(b.tokens)):
            self.model.cache.reserve(max(first, second) + 1, tokens)
            self.model.cache.swap(first, second, tokens)
        self.slots[first], self.slots[second] = b, a
        for index in (first, second):
            if owner := self.slots[index].owner:
                owner.slot = index

    def _rotate(self) -> None:
        """Where all places are taken and a client without a place waits, let the client with most places wait with the
        request that has held its place longest."""
        placed = [*self.active, *self.reading]
        places = Counter(request.source for request in placed)
        if len(placed) < self.queue.max_batch_size or not self.queue.has_waited(places):
            return
        longest = max(placed, key=lambda r: (places[r.source], -r.placed_at))
        if time.perf_counter() - longest.placed_at >= TURN_S or places[longest.source] > 1:
            self._release(longest)
            self.queue.put_back([longest])


def next_tokens(logits: torch.Tensor, requests: list[Request]) -> list[int]:
    """Return the next token of each request, by its own settings, from logits [requests, vocabulary]."""
    if not requests:
        return []
    if any(request.sampler for request in requests):
        logits = logits.float()
    for i, request in enumerate(requests):
        if request.generation.logprobs is not None:
            request.distribution = logits[i].float().log_softmax(-1)
        if request.sampler:
            ids: Any = torch.tensor([request.tokens_from(0, len(request))], device=logits.device)
            try:
                logits[i : i + 1] = request.sampler(ids, logits[i : i + 1])
            except RequestError as error:  # of this request's grammar
                request.fail(error)
    return logits.argmax(-1).tolist()


def _begins(beginning: list[int], tokens: list[int]) -> bool:
    return bool(beginning) and tokens[: len(beginning)] == beginning


def _capacity(requests: list[Request]) -> int:
    """Return the tokens that each slot must hold for the next step of these requests."""
    return rounded(max(map(len, requests), default=0) + 1)
