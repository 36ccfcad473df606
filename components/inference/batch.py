"""Answers to a whole data set."""

import itertools
from collections import deque
from collections.abc import Iterable, Iterator
from typing import Any

from components.inference.engine import Engine, GenerationConfig, Message, RequestError

AHEAD = 64  # requests in the engine's queue: enough for several batches, and memory stays flat over any data set


def infer_dataset(
    engine: Engine, rows: Iterable[list[Message]], generation: GenerationConfig | None = None, **template_kwargs: Any
) -> Iterator[dict[str, Any]]:
    """Yield one result per conversation, in order: `messages` (answer included), `response`, `labels`.

    A last assistant message is the reference: it is not shown to the model and comes back as `labels` (else None).
    Raises RequestError, with the row's number from 0, for a conversation that cannot be answered.
    """
    generation = generation or GenerationConfig()
    numbered = enumerate(rows)
    ahead: deque[tuple[list[Message], Any, Any]] = deque()
    try:
        while True:
            for number, messages in itertools.islice(numbered, AHEAD - len(ahead)):
                ahead.append(_submit(engine, number, messages, generation, template_kwargs))
            if not ahead:
                return
            prompt, labels, future = ahead.popleft()
            response = future.result().text
            answer = {"role": "assistant", "content": response}
            yield {"messages": [*prompt, answer], "response": response, "labels": labels}
    finally:
        for *_, future in ahead:
            future.cancel()


def _submit(
    engine: Engine, number: int, messages: list[Message], generation: GenerationConfig, template_kwargs: dict[str, Any]
) -> tuple[list[Message], Any, Any]:
    labels = None
    if messages and messages[-1]["role"] == "assistant":
        *messages, last = messages
        labels = last.get("content")
    try:
        return messages, labels, engine.submit(engine.encode_chat(messages, **template_kwargs), generation)
    except RequestError as error:
        raise RequestError(f"row {number}: {error}", error.code) from error
