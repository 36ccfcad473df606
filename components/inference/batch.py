"""Batch inference: the answers to a dataset."""

import itertools
from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Future
from typing import Any, NamedTuple

from components.inference.api import GenerationConfig, LocalEngine, Message, RequestError

MAX_QUEUED_REQUESTS = 512
"""Several batches: results are in order, and the first may end last. Memory does not grow with the dataset."""


class _Queued(NamedTuple):
    prompt: list[Message]
    labels: Any
    completion: Future


def infer_dataset(
    engine: LocalEngine,
    rows: Iterable[dict[str, Any]],
    generation: GenerationConfig | None = None,
) -> Iterator[dict[str, Any]]:
    """Yield one result per row, in order: `messages` (answer included), `response`, `labels`.

    A row has `messages`, and optionally `tools` and `chat_template_kwargs`. A last assistant message is the reference:
    the model does not see it, and `labels` holds it (else None). The result of a row that cannot be answered has the
    `response` None and says why in `error`.
    """
    generation = generation or GenerationConfig()
    remaining = iter(rows)
    queued: deque[_Queued] = deque()
    try:
        while True:
            for row in itertools.islice(remaining, MAX_QUEUED_REQUESTS - len(queued)):
                queued.append(_submit(engine, row, generation))
            if not queued:
                return
            prompt, labels, completion = queued.popleft()
            try:
                response = completion.result().text
            except RequestError as error:
                yield {"messages": prompt, "response": None, "labels": labels, "error": str(error)}
                continue
            answer = {"role": "assistant", "content": response}
            yield {"messages": [*prompt, answer], "response": response, "labels": labels}
    finally:
        for request in queued:
            request.completion.cancel()


def _submit(engine: LocalEngine, row: dict[str, Any], generation: GenerationConfig) -> _Queued:
    messages, labels = row["messages"], None
    if messages and messages[-1]["role"] == "assistant":
        *messages, reference = messages
        labels = reference.get("content")
    try:
        prompt_ids = engine.encode_chat(messages, row.get("tools"), **row.get("chat_template_kwargs", {}))
        completion = engine.submit(prompt_ids, generation)
    except RequestError as error:
        completion = Future()
        completion.set_exception(error)
    return _Queued(messages, labels, completion)
