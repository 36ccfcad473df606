"""Batch inference: the answers to a dataset."""

import itertools
from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Future
from typing import Any, NamedTuple

from components.inference.api import GenerationConfig, LocalEngine, Message, RequestError

MAX_QUEUED_REQUESTS = 64
"""Enough for several batches; memory does not grow with the dataset."""


class _Queued(NamedTuple):
    prompt: list[Message]
    labels: Any
    completion: Future


def infer_dataset(
    engine: LocalEngine,
    conversations: Iterable[list[Message]],
    generation: GenerationConfig | None = None,
    **template_kwargs: Any,
) -> Iterator[dict[str, Any]]:
    """Yield one result per conversation, in order: `messages` (answer included), `response`, `labels`.

    A last assistant message is the reference: the model does not see it, and `labels` holds it (else None).

    Raises:
        RequestError: a conversation cannot be answered; the message names its number, from 0.
    """
    generation = generation or GenerationConfig()
    numbered = enumerate(conversations)
    queued: deque[_Queued] = deque()
    try:
        while True:
            for number, messages in itertools.islice(numbered, MAX_QUEUED_REQUESTS - len(queued)):
                queued.append(_submit(engine, number, messages, generation, template_kwargs))
            if not queued:
                return
            prompt, labels, completion = queued.popleft()
            response = completion.result().text
            answer = {"role": "assistant", "content": response}
            yield {"messages": [*prompt, answer], "response": response, "labels": labels}
    finally:
        for request in queued:
            request.completion.cancel()


def _submit(
    engine: LocalEngine,
    number: int,
    messages: list[Message],
    generation: GenerationConfig,
    template_kwargs: dict[str, Any],
) -> _Queued:
    labels = None
    if messages and messages[-1]["role"] == "assistant":
        *messages, reference = messages
        labels = reference.get("content")
    try:
        prompt_ids = engine.encode_chat(messages, **template_kwargs)
        return _Queued(messages, labels, engine.submit(prompt_ids, generation))
    except RequestError as error:
        raise RequestError(f"row {number}: {error}", error.code) from error
