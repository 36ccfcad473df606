"""Batch inference: the answers to a dataset."""

import itertools
from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Future
from typing import Any, NamedTuple

from components.inference.api import Completion, GenerationConfig, LocalEngine, Message, RequestError
from components.media import COLUMNS, MediaPrompt, in_parts

MAX_QUEUED_REQUESTS = 512
"""Several batches: results are in order, and the first may end last. Memory does not grow with the dataset."""
MAX_QUEUED_BYTES = 2**30
"""Bytes of media in those requests."""


class Question(NamedTuple):
    """One request: messages that ask for an answer, what the template is told beside them, and the settings."""

    messages: list[Message]
    tools: list[dict[str, Any]] | None
    variables: dict[str, Any]
    generation: GenerationConfig


class Reply(NamedTuple):
    """A question with the token ids of its prompt, and its answer or why there is none."""

    question: Question
    prompt_ids: list[int]
    completion: Completion | RequestError


def replies(engine: LocalEngine, questions: Iterable[Question]) -> Iterator[Reply]:
    """Yield one reply per question, in order."""
    remaining = iter(questions)
    queued: deque[tuple[Question, list[int], Future[Any]]] = deque()
    try:
        while True:
            while len(queued) < MAX_QUEUED_REQUESTS and _media_bytes(queued) < MAX_QUEUED_BYTES:
                if (question := next(remaining, None)) is None:
                    break
                queued.append((question, *_submit(engine, question)))
            if not queued:
                return
            question, prompt_ids, future = queued.popleft()
            try:
                completion = future.result()
            except RequestError as error:
                completion = error
            yield Reply(question, prompt_ids, completion)
    finally:
        for _, _, future in queued:
            future.cancel()


def _media_bytes(queued: Iterable[tuple[Question, list[int], Future[Any]]]) -> int:
    prompts = [prompt for _, prompt, _ in queued if isinstance(prompt, MediaPrompt)]
    return sum(feature.nbytes for prompt in prompts for feature in prompt.features.values())


def _submit(engine: LocalEngine, question: Question) -> tuple[list[int], Future[Any]]:
    prompt_ids: list[int] = []
    try:
        prompt_ids = engine.encode_chat(question.messages, question.tools, **question.variables)
        return prompt_ids, engine.submit(prompt_ids, question.generation)
    except RequestError as error:
        failed = Future[Any]()
        failed.set_exception(error)
        return prompt_ids, failed


def without_reference(messages: list[Message]) -> tuple[list[Message], Message | None]:
    """Return messages up to the question, and the answer that follows there, or None."""
    if messages and messages[-1]["role"] == "assistant":
        return messages[:-1], messages[-1]
    return messages, None


def infer_dataset(
    engine: LocalEngine,
    rows: Iterable[dict[str, Any]],
    generation: GenerationConfig | None = None,
) -> Iterator[dict[str, Any]]:
    """Yield one result per row, in order: `messages` (answer included), `response`, `labels`.

    A row has `messages`, and optionally `tools`, `chat_template_kwargs`, and the paths of media in `images`, `videos`
    and `audios`, which its result has, too. A last assistant message is the reference:
    the model does not see it, and `labels` holds it (else None). The result of a row that cannot be answered has the
    `response` None and says why in `error`.
    """
    settings = generation or GenerationConfig()
    rows, copies = itertools.tee(rows)
    questions = (
        Question(without_reference(in_parts(r))[0], r.get("tools"), r.get("chat_template_kwargs", {}), settings)
        for r in copies
    )
    for row, (_, _, completion) in zip(rows, replies(engine, questions), strict=True):
        messages, reference = without_reference(row["messages"])
        result = {"messages": messages, "response": None, "labels": reference and reference.get("content")}
        result |= {name: row[name] for name in COLUMNS.values() if row.get(name)}
        if isinstance(completion, RequestError):
            yield result | {"error": str(completion)}
            continue
        answer = {"role": "assistant", "content": completion.text}
        yield result | {"messages": [*messages, answer], "response": completion.text}
