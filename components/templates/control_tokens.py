"""Control tokens: added tokens that a row's own texts must not hold, because with them a text could forge a turn."""

import re
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from components.rows import Message
from components.templates.answers import AnswerReader
from components.templates.patterns import any_of
from components.templates.refused import Refused
from components.templates.renderer import render_or_none
from components.templates.template_layout import probe
from components.templates.thoughts import THOUGHT_TAGS

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

DIALOGUE = ["user", "assistant", "user", "assistant"]
"""Roles of the conversations whose renderings show which added tokens a template writes."""


def control_tokens(tokenizer: "PreTrainedTokenizerBase", reader: AnswerReader, has_results: bool) -> re.Pattern[str]:
    """Return a pattern for the special tokens, and for the other added tokens that the template writes round turns.

    The tags of thoughts are not among them: a text may well hold these.

    Args:
        tokenizer: with the added tokens.
        reader: of its template.
        has_results: a turn of the role `tool` is a turn, too.
    """
    renderings = []
    for roles in (["system", *DIALOGUE], DIALOGUE, *([[*DIALOGUE, "tool"]] if has_results else [])):
        messages = probe(roles)
        text = render_or_none(reader.render, messages) or ""
        try:  # what the model itself writes round its answer is no control token, except for the end tag
            answer = reader.read(messages[:-1] if roles[-1] == "tool" else messages)
            text = text.replace(answer.text[answer.start : answer.tag], "")
        except Refused:
            pass
        renderings.append(text)
    text = "\0".join(renderings)
    tokens = tokenizer.added_tokens_decoder.values()
    thoughts = {tag for pair in THOUGHT_TAGS for tag in pair}
    return any_of(t.content for t in tokens if (t.special or t.content in text) and t.content not in thoughts)


def refuse_control_tokens(pattern: re.Pattern[str], messages: list[Message], *beside: Any) -> None:
    """Raise Refused if a text of the messages, or of the values `beside` them, holds a control token."""
    for n, value in enumerate((*messages, *beside), 1):
        for text in _texts(value):
            if token := pattern.search(text):
                where = f"in message {n}" if n <= len(messages) else "beside the messages"
                raise Refused("a text holds a control token of the tokenizer", f"{token.group()!r} {where}")


def _texts(value: Any) -> Iterator[str]:
    """Yield every text in a value of JSON, keys included."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for key, inner in value.items():
            yield key
            yield from _texts(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from _texts(inner)
