"""Tokens that a row's own texts must not hold: with them a text could forge a turn."""

import re
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any

from components.rows import Message
from components.templates.answers import Reader, attempt
from components.templates.layout import mark
from components.templates.marks import THOUGHT_TAGS
from components.templates.refused import Refused

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

PROBES = (["system", "user", "assistant", "user", "assistant"], ["user", "assistant", "user", "assistant"])


def control_pattern(tokenizer: "PreTrainedTokenizerBase", reader: Reader, roles: Iterable[str] = ()) -> re.Pattern[str]:
    """Matches special tokens, and of the other added ones those that shape turns: thoughts, say, a text may well hold.

    Args:
        tokenizer: whose added tokens they are.
        reader: of its template.
        roles: further roles that a row has (`tool`).
    """
    shape = []
    for probe in (*PROBES, *([*PROBES[1], role] for role in roles)):
        messages = mark(probe)
        shape.append(attempt(reader.render, messages) or "")
        try:  # what an answer is wrapped in is no control token: but for its end, the model's own
            answer = reader.read(messages[: len(messages) if probe[-1] == "assistant" else -1])
            shape[-1] = shape[-1].replace(answer.text[answer.start : answer.tag], "")
        except Refused:
            pass
    text = "\0".join(shape)
    tokens = tokenizer.added_tokens_decoder.values()
    thoughts = {tag for pair in THOUGHT_TAGS for tag in pair}
    return any_of(t.content for t in tokens if (t.special or t.content in text) and t.content not in thoughts)


def any_of(words: Iterable[str]) -> re.Pattern[str]:
    """A pattern for any of `words`, the longest first; for no words, one that matches nothing."""
    return re.compile("|".join(re.escape(word) for word in sorted(set(words), key=len, reverse=True)) or "(?!)")


def refuse_control(pattern: re.Pattern[str], messages: list[Message], *beside: Any) -> None:
    """Raises Refused when a text of the messages, or of the values `beside` them, holds a control token."""
    for n, value in enumerate((*messages, *beside), 1):
        for text in _texts(value):
            if found := pattern.search(text):
                where = f"in message {n}" if n <= len(messages) else "beside the messages"
                raise Refused("a text holds a control token of the tokenizer", f"{found.group()!r} {where}")


def _texts(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for key, inner in value.items():
            yield key
            yield from _texts(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from _texts(inner)
