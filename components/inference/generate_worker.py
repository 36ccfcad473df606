"""The scheduler of the built-in engine for models that see or hear, and for every other architecture: transformers'
`generate` in batches.

A stopping criterion sees every new token of every request: it streams tokens, finishes requests one by one, and ends
the call when enough work waits for the free places. Unfinished requests go on in the next batch from all their tokens,
what vLLM calls preemption by recomputation. So every architecture that `generate` knows is batched continuously.
"""

import time
from contextlib import suppress
from inspect import signature
from typing import Any

import torch
from transformers import LogitsProcessor, LogitsProcessorList, StoppingCriteria, StoppingCriteriaList

from components.inference.api import RequestError
from components.inference.requests import Request, RequestQueue
from components.media import MediaPrompt, joined
from components.towers import media_tokens

REBATCH_RATIO = 2
"""Waiting time over prefill time from which a new batch pays."""
MAX_BATCH_TOKENS = 8192
"""Tokens, padding included, with which a batch of several requests begins: bounds the memory and time of a prefill."""


class AbandonedError(Exception):
    """Nobody waits for the answers of a batch any more."""


class GenerateWorker:
    """Advances the requests of a queue, in the thread that calls `run`.

    Args:
        queue: the waiting requests.
        pad: token id that fills a row of the input.
    """

    def __init__(self, queue: RequestQueue, pad: int):
        self.queue, self.pad = queue, pad

    def run(self) -> None:
        """Work until the queue is closed; requests that are not finished then are cancelled."""
        unfinished: list[Request] = []
        while not self.queue.closed:
            unfinished = [request for request in unfinished if not request.future.cancelled()]
            unfinished = self._advance([*unfinished, *self.queue.take(unfinished, _fits)])
        for request in unfinished:
            request.future.cancel()

    def _advance(self, batch: list[Request]) -> list[Request]:
        """Generate for a batch and return its unfinished requests. An error belongs to the requests of the batch."""
        model = batch[0].model if batch else None
        batch, others = ([r for r in batch if (r.model is model) == wanted] for wanted in (True, False))
        try:
            with suppress(AbandonedError):
                self._generate(batch)
        except Exception as error:
            for request in batch:
                request.fail(error)
        return others + [request for request in batch if not request.finished]

    def _generate(self, batch: list[Request]) -> None:
        """Run `generate` on the tokens of a batch until BatchSteps ends the call."""
        ids = [request.tokens_from(0, len(request)) for request in batch]
        width = max(map(len, ids), default=0)
        if not width:
            return
        padding = [width - len(row) for row in ids]
        input_ids = torch.tensor([[self.pad] * pad + row for pad, row in zip(padding, ids, strict=True)])
        mask = torch.tensor([[0] * pad + [1] * (width - pad) for pad in padding])
        steps, model = BatchSteps(batch, self.queue), batch[0].model
        base = getattr(model, "get_base_model", lambda: model)()
        hook = base.register_forward_pre_hook(lambda *_: steps.require_clients())
        any_sampled = any(request.sampler or request.generation.logprobs is not None for request in batch)
        try:
            model.generate(
                input_ids=input_ids.to(model.device),
                attention_mask=mask.to(model.device),
                **_media_inputs(batch, width, base),
                logits_processor=LogitsProcessorList([BatchSampler(batch, padding)] if any_sampled else []),
                stopping_criteria=StoppingCriteriaList([steps]),
                max_new_tokens=max(request.remaining_tokens for request in batch),
                suppress_tokens=media_tokens(base) or None,  # one without its medium would fail the next batch
            )
        finally:
            hook.remove()


def _media_inputs(batch: list[Request], width: int, model: Any) -> dict[str, torch.Tensor]:
    """Return the features of all media of a batch, and what a processor says of each token, 0 for padding, answers and
    prompts without media."""
    prompts = [request.prompt for request in batch if isinstance(request.prompt, MediaPrompt)]
    inputs = joined([prompt.features for prompt in prompts], prompts[0].processor if prompts else "")
    for name in {name for prompt in prompts for name in prompt.types} & signature(model.forward).parameters.keys():
        inputs[name] = torch.tensor([_types(request, name, width) for request in batch])
    return {
        name: value.to(model.device, model.dtype if value.is_floating_point() else None)
        for name, value in inputs.items()
    }


def _types(request: Request, name: str, width: int) -> list[int]:
    types = request.prompt.types.get(name, []) if isinstance(request.prompt, MediaPrompt) else []
    return [0] * (width - len(request)) + [*types, *[0] * (len(request) - len(types))]


class BatchSampler(LogitsProcessor):
    """Applies each request's sampler to its row of the batch; greedy and finished requests are left alone."""

    def __init__(self, batch: list[Request], padding: list[int]):
        self.batch, self.padding = batch, padding

    def __call__(self, input_ids: Any, scores: Any) -> torch.Tensor:
        for i, (request, pad) in enumerate(zip(self.batch, self.padding, strict=True)):
            if request.generation.logprobs is not None:
                request.distribution = scores[i].float().log_softmax(-1)
            if request.sampler and not request.finished:
                try:
                    scores[i : i + 1] = request.sampler(input_ids[i : i + 1, pad:], scores[i : i + 1])
                except RequestError as error:  # of this request's grammar
                    request.fail(error)
        return scores


class BatchSteps(StoppingCriteria):
    """Hands the new tokens to the requests after every step of `generate`, and ends the call.

    The call ends when all requests are finished, or when a new batch with waiting requests pays: the time they have
    lost waiting for free places has reached REBATCH_RATIO times the time it takes to prefill the unfinished again.
    """

    def __init__(self, batch: list[Request], queue: RequestQueue):
        self.batch, self.queue = batch, queue
        self.last_step = time.perf_counter()
        self.prefill_s = self.lost_s = 0.0  # lost: summed over the waiting requests

    def active(self) -> list[Request]:
        """Return the requests of the batch that somebody waits for."""
        return [request for request in self.batch if not (request.finished or request.future.cancelled())]

    def require_clients(self) -> None:
        """Raise AbandonedError if nobody waits for this batch."""
        if self.queue.closed or not self.active():
            raise AbandonedError

    def __call__(self, input_ids: Any, scores: Any, **_: Any) -> Any:  # noqa: ARG002
        for request, token in zip(self.batch, input_ids[:, -1].tolist(), strict=True):
            if not request.finished:
                request.push(token)
        active = self.active()
        stop = not active or self.queue.closed or self._new_batch_pays(active)
        return torch.full((len(self.batch),), stop, device=input_ids.device)

    def _new_batch_pays(self, active: list[Request]) -> bool:
        now = time.perf_counter()
        step_s, self.last_step = now - self.last_step, now
        self.prefill_s = self.prefill_s or step_s
        places = self.queue.max_batch_size - len(active) if _fits([*active, *active[:1]]) else 0
        self.lost_s += step_s * min(self.queue.load()[1], places)
        return self.lost_s > REBATCH_RATIO * len(active) * self.prefill_s


def _fits(batch: list[Request]) -> bool:
    """Return whether a batch may be begun; a single request always may."""
    return len(batch) == 1 or len(batch) * max(map(len, batch)) <= MAX_BATCH_TOKENS
