"""How a template lays out plain conversations of given roles, learned once by rendering marks in place of the texts.

Private-use characters stand for each message's content, so that the rendering splits into the template's own text
and the places of the contents. A real row is then rendered once: when the layout, filled with the row's contents,
is that rendering to the last character, every assistant's span in it is known exactly, and otherwise nothing is.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

from components.rows import Message
from components.templates.answers import Answer, Reader, attempt
from components.templates.marks import THOUGHT_TAG
from components.templates.refused import Refused
from components.templates.render import Render
from components.templates.render import Span as Span

MARK = re.compile("\ue002([0-9]+)\ue003")
LEFT, RIGHT = "\n\v", "\f\n"
"""Whitespace round the marks in a second rendering: what is left of it tells how the template trims."""


class Trim(NamedTuple):
    """What the template strips from a content's sides: nothing (""), these characters, or all whitespace (None)."""

    left: str | None = ""
    right: str | None = ""

    def __call__(self, text: str) -> str:
        return text.lstrip(self.left).rstrip(self.right)


class Turn(NamedTuple):
    """What is learned round an assistant's text: so many characters before it, after it, and of these its end tag."""

    lead: int
    tail: int
    tag: int


@dataclass(frozen=True)
class Layout:
    """The template's text before, between and after the contents of a conversation that ends with an answer."""

    pieces: list[str]
    order: list[int]
    """Which message's content follows each piece but the last."""
    trims: list[Trim] | None
    """By message; None where nothing is trimmed."""
    turns: dict[int, Turn]
    """The answers that stand here as when they were the last message, the last one among them."""
    suffix: str
    thinks: bool
    """The template has a place for thoughts: an answer with one has a layout of its own."""

    def contents(self, messages: Sequence[Message]) -> list[str]:
        """The contents as the template trims them."""
        if self.trims is None:
            return [message["content"] for message in messages]
        return [trim(message["content"]) for trim, message in zip(self.trims, messages, strict=True)]

    def fill(self, contents: list[str]) -> str:
        """The rendering that this layout foretells."""
        parts = [self.pieces[0]]
        for i, piece in zip(self.order, self.pieces[1:], strict=True):
            parts += (contents[i], piece)
        return "".join(parts)

    def answers(self, contents: list[str], text: str) -> dict[int, Answer]:
        """The answers in the filled layout, by message."""
        found, position = {}, len(self.pieces[0])
        for i, piece in zip(self.order, self.pieces[1:], strict=True):
            end = position + len(contents[i])
            if turn := self.turns.get(i):
                stop = end + turn.tail
                found[i] = Answer(text, position - turn.lead, stop - turn.tag, stop, self.suffix)
            position = end + len(piece)
        return found


def read_layout(reader: Reader, roles: Sequence[str]) -> Layout:
    """Learn the layout of a conversation of `roles`, the last of which is an assistant's.

    Raises:
        Refused: the last answer cannot be learned, or a message is not there.
    """
    probe = mark(roles)
    last = reader.read(probe)
    parts = MARK.split(last.text)
    pieces, order = parts[::2], [int(i) for i in parts[1::2]]
    if missing := set(range(len(roles))) - set(order):
        raise Refused("the template leaves out a message's text", f"the {roles[min(missing)]}'s")
    turns = {}
    for i, role in enumerate(roles):
        if role == "assistant" and (answer := _stable(reader, probe[: i + 1], last)):
            at = answer.text.index(probe[i]["content"])
            end = at + len(probe[i]["content"])
            turns[i] = Turn(at - answer.start, answer.end - end, answer.end - answer.tag)
    asked = attempt(reader.render, probe[:-1], add_generation_prompt=True) or ""
    thinks = THOUGHT_TAG.search(last.text + asked) is not None
    return Layout(pieces, order, _trims(reader.render, probe, order), turns, last.suffix, thinks)


def mark(roles: Sequence[str]) -> list[Message]:
    """A conversation of `roles` with marks for contents."""
    return [{"role": role, "content": f"\ue002{i}\ue003"} for i, role in enumerate(roles)]


def _stable(reader: Reader, messages: list[Message], last: Answer) -> Answer | None:
    try:
        answer = reader.read(messages)
    except Refused:
        return None
    return answer if last.text.startswith(answer.text[: answer.end]) else None


def _trims(render: Render, probe: list[Message], order: list[int]) -> list[Trim] | None:
    padded = [{**message, "content": f"{LEFT}{message['content']}{RIGHT}"} for message in probe]
    parts = MARK.split(attempt(render, padded) or "")
    if [int(i) for i in parts[1::2]] != order:
        return None
    left = {LEFT: "", LEFT[1:]: "\n", "": None}
    right = {RIGHT: "", RIGHT[:-1]: "\n", "": None}
    trims = [Trim()] * len(probe)
    for n, i in enumerate(order):
        before, after = parts[2 * n], parts[2 * n + 2]
        trims[i] = Trim(
            next(chars for kept, chars in left.items() if before.endswith(kept)),
            next(chars for kept, chars in right.items() if after.startswith(kept)),
        )
    return None if trims == [Trim()] * len(probe) else trims
