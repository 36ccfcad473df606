"""The requests of a running batch, and what happens to them at every step of `generate`."""

import time
from concurrent.futures import Future, InvalidStateError
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from transformers import StoppingCriteria

from components.inference.detokenize import TextStream
from components.inference.engine import Completion, GenerationConfig
from components.inference.sampling import Sampler

if TYPE_CHECKING:
    from components.inference.transformers_engine import TransformersEngine

# With 16 clients and one long answer in 25, the slowest short answers wait half as long as with whole batches, and with
# 4 clients a quarter; a queue of equal answers takes up to a fifth longer. 1 costs more there, 4 and 8 win less here.
REJOIN = 2


@dataclass(eq=False)
class Row:
    """One request on its way: the prompt, what was generated so far, and who waits for it."""

    prompt: list[int]
    generation: GenerationConfig
    stream: TextStream
    sampler: Sampler | None
    eos: frozenset[int]
    future: Future
    finished: bool = False

    def __post_init__(self) -> None:
        self.generated: list[int] = []

    @property
    def left(self) -> int:
        return (self.generation.max_new_tokens or 0) - len(self.generated)

    def push(self, token: int) -> None:
        """Take one new token; finish the row when it is the last one, or nobody waits for it any more."""
        if self.future.cancelled():
            self.finished = True
            return
        self.generated.append(token)
        if token in self.eos or self.stream.push(token):
            self.finish("stop")
        elif self.left <= 0:
            self.finish("length")

    def finish(self, reason: Any) -> None:
        self.finished = True
        text = self.stream.close()
        with suppress(InvalidStateError):  # cancelled meanwhile
            self.future.set_result(Completion(text, self.generated, len(self.prompt), reason))

    def fail(self, error: BaseException) -> None:
        self.finished = True
        with suppress(InvalidStateError):
            self.future.set_exception(error)


class EachToken(StoppingCriteria):
    """Called by `generate` after every step: hands out the new tokens and says when to end the call.

    The call ends when all rows are finished, or when taking waiting requests in pays: the time that they have lost
    waiting for free places has reached REJOIN times what the unfinished rows will lose by being prefilled again.
    """

    def __init__(self, engine: "TransformersEngine", rows: list[Row]):
        self.engine, self.rows = engine, rows
        self.last = time.perf_counter()
        self.prefill = 0.0  # seconds
        self.lost = 0.0  # seconds × requests

    def __call__(self, input_ids: Any, scores: Any, **_: Any) -> Any:  # noqa: ARG002
        for row, token in zip(self.rows, input_ids[:, -1].tolist(), strict=True):
            if not row.finished:
                row.push(token)
        active = sum(not row.finished for row in self.rows)
        stop = active == 0 or self.engine.closed or self._worth_a_new_batch(active)
        return torch.full((len(self.rows),), stop, device=input_ids.device)

    def _worth_a_new_batch(self, active: int) -> bool:
        now = time.perf_counter()
        step, self.last = now - self.last, now
        self.prefill = self.prefill or step
        self.lost += step * min(len(self.engine.waiting), self.engine.max_batch_size - active)
        return self.lost > REJOIN * active * self.prefill
