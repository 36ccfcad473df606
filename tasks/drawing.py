"""Many answers to each prompt, kept in a file as they come: what an interrupted command has left is gone on with."""

from collections.abc import Callable, Generator, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import Any

from components.files import sha256_of
from components.inference import (
    GenerationConfig,
    LocalEngine,
    Question,
    RequestError,
    hides_calls,
    read_answer,
    replies,
)
from components.media import in_parts, media_of
from components.sampling import Drawn, Prompt

OnProgress = Callable[[int, int], None]


def answers_there(part: Path, header: bytes) -> int:
    """Return how many answers an interrupted command with the same `header` has left in a file, and cut off what
    follows them; with another header the file begins anew."""
    part.parent.mkdir(parents=True, exist_ok=True)
    part.touch()
    with part.open("r+b") as stream:
        if stream.readline() != header:
            stream.seek(0)
            stream.truncate()
            stream.write(header)
            return 0
        count, end = 0, len(header)
        for line in stream:
            if line.endswith(b"\n"):
                count, end = count + 1, end + len(line)
        stream.truncate(end)
    return count


def questions(
    engine: LocalEngine, prompts: Iterable[Prompt], generation: GenerationConfig, draws: int, seed: int
) -> Iterator[Question]:
    """Yield the requests, prompt by prompt, draw by draw. The seed of each depends on the prompt and the number of the
    draw, not on the other prompts."""
    for messages, _, beside in prompts:
        tools, variables = beside.get("tools"), beside.get("chat_template_kwargs", {})
        settings = replace(generation, skip_special_tokens=not hides_calls(engine, tools))
        key = sha256_of([seed, messages, tools, variables, *([medium.sha256] for medium in media_of(beside))])
        messages = in_parts({"messages": messages, **beside})
        for number in range(draws):
            own = int(sha256_of([key, number])[:8], 16) >> 1
            yield Question(messages, tools, variables, replace(settings, seed=own))


def draw(engine: LocalEngine, requests: Iterable[Question], part: Path, on_answer: Callable[[int], None]) -> None:
    """Append the answers to a file, a line each; `on_answer` gets their number so far."""
    import orjson

    with part.open("ab") as stream:
        for number, (question, prompt_ids, completion) in enumerate(replies(engine, requests), 1):
            if isinstance(completion, RequestError):
                line: dict[str, Any] = {"error": str(completion)}
            else:
                message = read_answer(engine, prompt_ids, question.tools, completion.text)
                is_truncated = completion.finish_reason == "length"
                line = Drawn(completion.text, message, len(completion.token_ids), is_truncated)._asdict()
            stream.write(orjson.dumps(line) + b"\n")
            stream.flush()
            on_answer(number)


@contextmanager
def answers_by_prompt(part: Path, draws: int) -> Generator[Iterator[list[dict[str, Any]]]]:
    """Enter with the answers of a file, a list for each prompt."""
    import orjson

    with part.open("rb") as stream:
        stream.readline()
        yield iter(lambda: [orjson.loads(line) for line in islice(stream, draws)], [])
