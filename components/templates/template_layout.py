"""The layout of a template for conversations of given shapes, learned once from a rendering with placeholders.

Placeholders (private-use characters) stand for the texts, so that the rendering splits into the template's own pieces
and the slots of a row's texts. A row is then rendered once: if the layout filled with the row's texts is that rendering
to the last character, every answer's place in the rendering is proved, and otherwise nothing is.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

from components.rows import Message
from components.templates.answers import Answer, AnswerReader
from components.templates.message_shape import Shape, message_of
from components.templates.refused import Refused
from components.templates.renderer import Render, render_or_none
from components.templates.thoughts import THOUGHT_TAG

PLACEHOLDER = re.compile("\ue002([0-9]+)\ue003")
LEFT_PADDING, RIGHT_PADDING = "\n\v", "\f\n"
"""Whitespace round the placeholders in a second rendering: what is left of it tells how the template trims."""


class Trim(NamedTuple):
    """What the template strips from the sides of a text: nothing (""), these characters, or all whitespace (None)."""

    left: str | None = ""
    right: str | None = ""

    def __call__(self, text: str) -> str:
        return text.lstrip(self.left).rstrip(self.right)


class AnswerSlots(NamedTuple):
    """Where an answer is in a layout.

    Attributes:
        first: the slot of its first text.
        last: the slot of its last text.
        lead: learned characters before the first text.
        tail: learned characters behind the last text, the end tag among them.
        tag: characters of the end tag.
    """

    first: int
    last: int
    lead: int
    tail: int
    tag: int


@dataclass(frozen=True)
class TemplateLayout:
    """The template's text before, between and behind the texts of a conversation that ends with an answer.

    Attributes:
        pieces: the template's own texts.
        order: the slot whose text follows each piece but the last.
        trims: by slot; None where nothing is trimmed.
        answers: by message, the answers that look here as they do when they are the last message, the last one among
            them.
        suffix: as `Answer.suffix`.
        has_thoughts: the template has a place for thoughts, so that an answer with a thought has another layout.
    """

    pieces: list[str]
    order: list[int]
    trims: list[Trim] | None
    answers: dict[int, AnswerSlots]
    suffix: str
    has_thoughts: bool

    def trimmed(self, texts: list[str]) -> list[str]:
        """Return the texts as the template trims them."""
        return texts if self.trims is None else [trim(text) for trim, text in zip(self.trims, texts, strict=True)]

    def filled(self, texts: list[str]) -> str:
        """Return the rendering that the layout predicts for trimmed texts."""
        parts = [self.pieces[0]]
        for slot, piece in zip(self.order, self.pieces[1:], strict=True):
            parts += (texts[slot], piece)
        return "".join(parts)

    def place(self, texts: list[str], text: str) -> dict[int, Answer]:
        """Return the answers in `text`, the layout filled with trimmed texts, by message."""
        spans, position = {}, len(self.pieces[0])
        for slot, piece in zip(self.order, self.pieces[1:], strict=True):
            end = position + len(texts[slot])
            spans.setdefault(slot, (position, end))  # what a later turn quotes is no answer
            position = end + len(piece)
        answers = {}
        for i, slots in self.answers.items():
            end = spans[slots.last][1] + slots.tail
            answers[i] = Answer(text, spans[slots.first][0] - slots.lead, end - slots.tag, end, self.suffix)
        return answers


def read_layout(reader: AnswerReader, shapes: Sequence[Shape]) -> TemplateLayout:
    """Return the layout of conversations of `shapes`, the last of which is an assistant's.

    Raises:
        Refused: the last answer cannot be learned, or a message is not in the rendering.
    """
    messages, slots = _probe(shapes)
    last = reader.read(messages)
    if last.follows_prompt:
        raise Refused("the template shows the turns before an answer otherwise once it is there")
    parts = PLACEHOLDER.split(last.text)
    pieces, order = parts[::2], [int(slot) for slot in parts[1::2]]
    for shape, (_, last_slot) in zip(shapes, slots, strict=True):
        if last_slot not in order:  # an earlier thought may well be missing
            raise Refused("the template leaves out a message's text", f"the {shape[0]}'s")
    answers = {}
    for i, (first_slot, last_slot) in enumerate(slots):
        if shapes[i][0] == "assistant" and (answer := _same_answer(reader, messages[: i + 1], last)):
            first, end = _place(first_slot, answer.text)[0], _place(last_slot, answer.text)[1]
            sizes = (first - answer.start, answer.end - end, answer.end - answer.tag)
            answers[i] = AnswerSlots(first_slot, last_slot, *sizes)
    prompt = render_or_none(reader.render, messages[:-1], add_generation_prompt=True) or ""
    has_thoughts = THOUGHT_TAG.search(last.text + prompt) is not None
    written = [*pieces[:-1], pieces[-1].removesuffix(last.suffix)]
    return TemplateLayout(
        pieces, order, _trims(reader.render, shapes, written, order), answers, last.suffix, has_thoughts
    )


def probe(roles: Sequence[str]) -> list[Message]:
    """Return a conversation of `roles` with placeholders for contents."""
    return _probe([(role,) for role in roles])[0]


def _probe(shapes: Sequence[Shape], left: str = "", right: str = "") -> tuple[list[Message], list[tuple[int, int]]]:
    """Return messages with placeholders for texts, and the first and last slot of each message.

    Args:
        shapes: of the messages.
        left: what stands before each placeholder.
        right: what stands behind.
    """
    messages, slots, slot = [], [], 0
    for shape in shapes:
        count = 1 if len(shape) == 1 else 2
        messages.append(message_of(shape, [f"{left}{_placeholder(n)}{right}" for n in range(slot, slot + count)]))
        slots.append((slot, slot + count - 1))
        slot += count
    return messages, slots


def _placeholder(slot: int) -> str:
    return f"\ue002{slot}\ue003"


def _place(slot: int, text: str) -> tuple[int, int]:
    """Return the characters [start, end) of a slot's first placeholder in a text."""
    start = text.index(_placeholder(slot))
    return start, start + len(_placeholder(slot))


def _same_answer(reader: AnswerReader, messages: list[Message], last: Answer) -> Answer | None:
    """Return the last answer of `messages`, or None if it looks otherwise in the text of `last`, a later answer."""
    try:
        answer = reader.read(messages)
    except Refused:
        return None
    return answer if last.text.startswith(answer.text[: answer.end]) else None


def _trims(render: Render, shapes: Sequence[Shape], pieces: list[str], order: list[int]) -> list[Trim] | None:
    """Return by slot how the template trims, or None if it trims nothing."""
    messages, slots = _probe(shapes, LEFT_PADDING, RIGHT_PADDING)
    parts = PLACEHOLDER.split(render_or_none(render, messages) or "")
    if [int(slot) for slot in parts[1::2]] != order:
        return None
    lefts = {LEFT_PADDING: "", LEFT_PADDING[1:]: "\n", "": None}
    rights = {RIGHT_PADDING: "", RIGHT_PADDING[:-1]: "\n", "": None}
    sides: list[list[str | None]] = [["", ""] for _ in range(slots[-1][1] + 1)]
    for n, (piece, part) in enumerate(zip(pieces, parts[::2], strict=True)):
        padding = [(right, left) for right in rights for left in lefts if part == right + piece + left]
        if n > 0:
            sides[order[n - 1]][1] = rights[padding[0][0]] if padding else ""
        if n < len(order):
            sides[order[n]][0] = lefts[padding[0][1]] if padding else ""
    trims = [Trim(*side) for side in sides]
    return None if all(trim == Trim() for trim in trims) else trims
