"""What a row must hold to be learned from. A check is one function and its `validation.on_<name>`.

A check sees all rows that the checks before it left, and yields the index of each row that fails with the reason.
"""

import hashlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass

from components.config.groups.validation import Validation
from components.data.sources import where
from components.data.turns import Message

Failure = tuple[int, str]


@dataclass(slots=True)
class Row:
    """One row under inspection; `messages` is empty and `unreadable` says why when no format could read it."""

    split: str
    source: str
    row: int
    raw: str
    messages: list[Message]
    unreadable: str = ""

    @property
    def where(self) -> str:
        """How a person finds the row: `train.jsonl:17`."""
        return where(self.source, self.row)


@dataclass(frozen=True)
class Context:
    """What checks compare rows with: the parameters, and the queries of each question set."""

    validation: Validation
    questions: Mapping[str, list[str]]


def schema(rows: list[Row], _: Context) -> Iterator[Failure]:
    """The row is in a known format and its values have the right types."""
    return ((i, row.unreadable) for i, row in enumerate(rows) if row.unreadable)


def roles(rows: list[Row], _: Context) -> Iterator[Failure]:
    """A system message first if any, then user and assistant in turn, an assistant's answer last."""
    for i, row in enumerate(rows):
        found = tuple(message["role"] for message in row.messages)
        if problem := _turns_problem(found[found[:1] == ("system",) :]):
            yield i, problem


def _turns_problem(turns: tuple[str, ...]) -> str:
    if not turns:
        return "has no question and no answer"
    for number, role in enumerate(turns):
        expected = ("user", "assistant")[number % 2]
        if role == expected:
            continue
        if role == "system":
            return "a system message stands after the first message"
        if role not in ("user", "assistant"):
            return f"turn {number + 1} has the role '{role}', not {expected}"
        return f"turn {number + 1} is by the {role}, not the {expected}: turns must alternate, the user first"
    return "" if turns[-1] == "assistant" else "ends without an answer: the last turn must be the assistant's"


def empty(rows: list[Row], _: Context) -> Iterator[Failure]:
    """No question and no answer is blank."""
    names = {"user": "question", "assistant": "answer"}
    for i, row in enumerate(rows):
        blank = next((m["role"] for m in row.messages if m["role"] in names and not m["content"].strip()), None)
        if blank:
            yield i, f"the {names[blank]} is empty"


def duplicate(rows: list[Row], _: Context) -> Iterator[Failure]:
    """The conversation, runs of white space aside, is not one that stood earlier in the same split.

    A row that `#n` repeats because more were asked for than there are is no duplicate of itself.
    """
    first: dict[bytes, Row] = {}
    for i, row in enumerate(rows):
        earlier = first.setdefault(_fingerprint(row), row)
        if (earlier.source, earlier.row) != (row.source, row.row):
            yield i, f"the same as {earlier.where}"


def leak(rows: list[Row], context: Context) -> Iterator[Failure]:
    """No prompt that is learned is one that the model is later measured on.

    A prompt is the conversation up to an answer, system messages and runs of white space aside. Measured on are the
    questions in the sets, and for training rows the last prompt of every validation row.
    """
    asked: dict[tuple[str, ...], str] = {
        (_normal(query),): f"question set {name}" for name, texts in context.questions.items() for query in texts
    }
    held = {_prompt(row): f"validation row {row.where}" for row in rows if row.split == "val"}
    measured = {"train": held | asked, "val": asked}
    for i, row in enumerate(rows):
        places = measured[row.split]
        whole = _prompt(row) if places else ()
        prompts = (whole[:end] for end in range(1, len(whole) + 1, 2))
        place = next((places[prompt] for prompt in prompts if prompt in places), None)
        if place:
            yield i, f"its prompt also stands in {place}"


def long(rows: list[Row], context: Context) -> Iterator[Failure]:
    """The row has at most max_chars characters."""
    limit = context.validation.max_chars
    for i, row in enumerate(rows):
        size = sum(len(message["content"]) for message in row.messages)
        if size > limit:
            yield i, f"{size:,} characters, more than {limit:,}"


def _normal(text: str) -> str:
    return " ".join(text.split())


def _fingerprint(row: Row) -> bytes:
    turns = (f"{message['role']}\n{_normal(message['content'])}" for message in row.messages)
    return hashlib.blake2b("\0".join((row.split, *turns)).encode(), digest_size=16).digest()


def _prompt(row: Row) -> tuple[str, ...]:
    """The conversation up to its last message."""
    return tuple(_normal(message["content"]) for message in row.messages[:-1] if message["role"] != "system")


CHECKS: dict[str, Callable[[list[Row], Context], Iterable[Failure]]] = {
    check.__name__: check for check in (schema, roles, empty, duplicate, leak, long)
}
"""In the order in which they run: a row is named by the first that leaves it out."""
